"""Somebody's script as a workload: run as ``python SCRIPT ARGS`` would, recorded throughout.

On several ranks each runs it as torchrun would: with its variables, and printing line by line.
"""

import argparse
import atexit
import os
import re
import runpy
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, Self

from analysis.show.errors import CommandError
from profiling.common.cli import Adder, count, positive
from profiling.common.errors import LaunchError, UsageError
from profiling.common.machine import facts
from profiling.common.options import add_options, chosen, option
from profiling.common.workload import Ranks, Workload
from profiling.processes.failures import failure_note
from profiling.processes.notes import FAILURE_NAME, write_note

if TYPE_CHECKING:
    from profiling.recorders.recorded_steps import RecordedProcess

NAMELESS: Final = "script"
"""What a report is called whose script's name has no letter or digit."""


@dataclass(frozen=True, kw_only=True)
class ScriptRankOptions:
    """The options for how many ranks run a script, and for how long."""

    ranks: int | None = option(
        None, "run it on N ranks, as torchrun --nproc-per-node N would", read=count
    )
    timeout: float | None = option(
        None, "of ranks, in seconds (default: none)", read=positive, metavar="S"
    )

    def chosen(self) -> Ranks | None:
        """Return the ranks that are asked for, or nothing where there is one process.

        Raises:
            UsageError: an option of ranks was given where there are none.
        """
        if self.ranks is not None:
            return Ranks(count=self.ranks, timeout_s=self.timeout)
        if self.timeout is not None:
            raise UsageError("--timeout is of --ranks N; give that too, or leave it out")
        return None


@dataclass(frozen=True, kw_only=True)
class ScriptRun(Workload):
    """A script to record.

    Attributes:
        script: its path.
        typed: its path as it was typed.
        arguments: of its own.
    """

    run: ClassVar[str] = "profiling.launch.script:run"

    script: str
    typed: str
    arguments: tuple[str, ...]
    device: str
    ranks: Ranks | None = None

    @classmethod
    def add_to(cls, parser: Adder) -> None:
        """Add the script, its ranks and its arguments."""
        parser.add_argument("--script", metavar="FILE", help="what to record")
        add_options(parser, ScriptRankOptions)
        parser.add_argument("arguments", nargs="*", metavar="ARGS", help="of the script, after --")

    @classmethod
    def read(cls, arguments: argparse.Namespace, device: str) -> Self:
        """Return the script that is asked for."""
        typed = cls._typed(arguments)
        own = arguments.arguments if arguments.script else arguments.arguments[1:]
        path = Path(typed)
        if not path.is_file():
            raise LaunchError(f"{typed}: no such file; give the script to record")
        return cls(
            script=str(path.resolve()),
            typed=typed,
            arguments=tuple(own),
            device=device,
            ranks=chosen(ScriptRankOptions, arguments).chosen(),
        )

    @staticmethod
    def _typed(arguments: argparse.Namespace) -> str:
        if arguments.script or arguments.arguments:
            return str(arguments.script or arguments.arguments[0])
        raise UsageError("no script is named; give the script to record")

    @property
    def folder(self) -> Path:
        """The script's."""
        return Path(self.script).parent

    def describe(self) -> str:
        """Return the script as it was typed, and its ranks."""
        return f"{self.typed} {self.ranks.describe()}" if self.ranks else self.typed

    def facts(self, rank: int = 0) -> dict[str, str]:
        """Return the name of the script, and which rank ran it."""
        return {"script": Path(self.script).name} | (self.ranks.facts(rank) if self.ranks else {})

    @classmethod
    def report_name(cls, arguments: argparse.Namespace) -> str:
        """Return the script's name without its suffix, as a report can be called."""
        return (
            re.sub(r"^\W+|[^\w.+-]+", "-", Path(cls._typed(arguments)).stem).lstrip("-") or NAMELESS
        )


def run(asked: ScriptRun, process: "RecordedProcess") -> dict[str, Any]:
    """Run the script in the recorded process; return what was pushed."""
    from profiling.recorders.recorded_steps import range_facts  # here: it needs torch

    script = Path(asked.script)
    sys.argv = [asked.typed, *asked.arguments]
    sys.path.insert(0, str(script.parent))
    if asked.ranks:
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # Python's own
        _take_gpu_of_rank(asked.device)
    with process.record() as ranges, forgotten("analysis"):
        try:
            run_as_main(script)
        except Exception as error:
            # Now: the recorder may take longer to end here than on a rank that fails because of it.
            write_note(process.folder / FAILURE_NAME, failure_note(error))
            raise
        process.now(process.recorder.finishing)
    return range_facts(ranges) | _facts_of_rank(asked)


def _take_gpu_of_rank(device: str) -> None:
    """Make the GPU of this rank the current one, before a recorder takes memory on the first."""
    import torch

    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())


def _facts_of_rank(asked: ScriptRun) -> dict[str, Any]:
    """Return the facts of the GPU that the script chose for its rank, where it runs on one."""
    import torch

    if asked.ranks is None or asked.device != "cuda":
        return {}
    return {"facts": facts(f"cuda:{torch.cuda.current_device()}")}


def run_as_main(script: Path) -> None:
    """Run a script as ``python SCRIPT`` would; what it raises is shown as there, and raised again.

    A process that the script has forked, and that comes to the end of it, ends here: the recording
    around it is its parent's.
    """
    process = os.getpid()
    raised: BaseException | None = None
    try:
        runpy.run_path(str(script), run_name="__main__")
    except BaseException as error:
        raised = error
    if os.getpid() != process:
        _end_as_python_does(raised)
    if raised is None or (isinstance(raised, SystemExit) and raised.code in (None, 0)):
        return
    # Ours say in one line what to do; an interruption and an exit are no errors of the script.
    if isinstance(raised, Exception) and not isinstance(raised, CommandError):
        _show(raised)
    raise raised


def _show(error: BaseException) -> None:
    """Print an error of a script as Python does, or the script's own hook, without our calls."""
    whole = trace = error.__traceback__
    while trace and trace.tb_frame.f_globals.get("__name__") in (__name__, runpy.__name__):
        trace = trace.tb_next
    try:
        sys.excepthook(type(error), error.with_traceback(trace), trace)
    finally:
        error.__traceback__ = whole
        sys.stderr.flush()


def _end_as_python_does(raised: BaseException | None) -> NoReturn:
    """End this process with the status that a script has which runs alone and raises this."""
    status = 0
    try:
        if isinstance(raised, SystemExit):
            status = raised.code if isinstance(raised.code, int) else int(raised.code is not None)
            if status and not isinstance(raised.code, int):
                print(raised.code, file=sys.stderr)
        elif raised:
            status = 1
            _show(raised)
        threading._shutdown()  # type: ignore[attr-defined]  # its own threads are waited for
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        if isinstance(raised, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        os._exit(status & 0xFF)


@contextmanager
def forgotten(package: str) -> Iterator[None]:
    """Let a script import a package of this name of its own, though we have imported ours."""
    ours = {name: sys.modules[name] for name in sys.modules if name.partition(".")[0] == package}
    for name in ours:
        del sys.modules[name]
    try:
        yield
    finally:
        sys.modules.update(ours)
