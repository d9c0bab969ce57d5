"""Some steps of a job recorded from inside it: whoever started it, and however long it runs.

Torch, and all of ours that needs it, is imported when a recording is entered.
"""

import ctypes
import os
import shlex
import sys
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from analysis.show.called import called
from analysis.show.errors import first_line
from analysis.show.render import plural
from analysis.show.sheet import say
from profiling import names
from profiling.common import host, machine
from profiling.common.cli import relative_to_here, typed
from profiling.common.errors import LaunchError, UsageError
from profiling.common.named import named
from profiling.processes import running
from profiling.processes.failures import Subject
from profiling.recorders.recorder import RECORDERS, RECORDING, Recorder
from profiling.recorders.report_files import (
    REPORTS,
    Taken,
    check_free,
    files_of,
    publish_all,
)
from profiling.recorders.run_notes import RunNotes
from profiling.recorders.scratch import check_takes_reports, named_folder

_OTHER_NAME: Final = "give record() another name, or overwrite=True to replace it"
_OTHER_FOLDER: Final = "give record() a path in another folder"
_EMPTY: Final = "no torch operator ran and no span was opened; put steps inside record()"
_CONVERSION: Final = Subject(name="the conversion of the trace", remedy="record fewer steps")

_MAKES_REPORT: Final = "profiling.recorders.trace_report:make_report"

_entered: "JobRecording | None" = None


def record(
    report: str | Path,
    *,
    steps: range | None = None,
    overwrite: bool = False,
    device: str | None = None,
) -> "JobRecording":
    """Record what runs inside the ``with`` block, on all threads of this process, as a report.

        from profiling.recorders import record

        with record("warm"):                                # nsys_reports/warm.sqlite
            for batch in batches[:3]:
                train(batch)

    In a long job, some of its steps: what comes before the first and after the last costs nothing,
    and the report is there as soon as the last of them is over.

        with record("runs/long.sqlite", steps=range(100, 110)) as recording:
            for batch in batches:
                with recording.step():                      # a range ``step`` in the report
                    train(batch)

    Of a job of several ranks, as torchrun starts it, each records itself: ``long.rank0.sqlite`` and
    so on. No rank waits here for another. Under nsys (``nsys profile
    --capture-range=cudaProfilerApi``) no report is made: nsys is told when to begin and to stop.

    Where something inside raises, what was recorded until then is kept, and the exception goes on.
    Once inside, no error comes from here: the job is worth more than its report, and goes on;
    stderr says in a line why there is none.

    Args:
        report: its path, or a name for one in ``nsys_reports`` of the current folder.
        steps: which steps are recorded, as `JobRecording.step` counts them from 0; None records
            everything inside.
        overwrite: whether an earlier report is replaced.
        device: ``cpu``, ``cuda`` or ``cuda:N``; CUDA where there is one.

    Raises:
        UsageError: on entering: there is no such device, or no name, or no step is asked for.
        LaunchError: on entering: the name is taken, the folder takes no report, or something
            records this process already.
    """
    return JobRecording(report, steps=steps, overwrite=overwrite, device=device)


class JobRecording:
    """The recording of a job by itself; see `record`.

    Attributes:
        report: where the report goes; with the rank in its name where there are several.
    """

    def __init__(
        self, report: str | Path, *, steps: range | None, overwrite: bool, device: str | None
    ) -> None:
        self.report = self._given = Path(report)
        self._steps = steps
        self._overwrite = overwrite
        self._device = device or ""
        self._rank, self._ranks = 0, 1
        self._counted = 0
        self._kind: type[Recorder]
        self._going_on: ExitStack | None = None
        self._process = 0
        self._has_begun = False

    def __enter__(self) -> Self:
        global _entered
        if _entered is not None:
            raise LaunchError(f"record() is open already, for {typed(_entered.report)}; leave that")
        if not _are_in_a_row(self._steps):
            raise UsageError(f"steps={self._steps}: give record() steps in a row: range(100, 110)")
        _check_nothing_records()
        self._rank, self._ranks = rank_and_ranks()
        self.report = path_of_report(self._given, self._rank, self._ranks)
        self._device = machine.choose_device(self._device or None)
        self._kind = named(RECORDERS["nsys" if _is_injected() else "torch"])
        if not self._kind.talks:
            check_free(*self._files(), overwrite=self._overwrite, remedy=_OTHER_NAME)
            check_takes_reports(self.report.parent, _OTHER_FOLDER)
        self.report = self.report.absolute()  # the job may change the current folder
        self._counted, self._has_begun, self._process = 0, False, os.getpid()
        if self._steps is None:
            self._begin()
        _entered = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _entered
        _entered = None
        self._end()
        if self._steps is not None and not self._has_begun:
            first, last = self._steps[0], self._steps[-1]
            came = plural(self._counted, "step")
            say(f"note: nothing was recorded: {came} came, and steps {first} to {last} were to be")

    def step(self) -> AbstractContextManager[object]:
        """Return the context of one step, the next one: a range ``step`` where it is recorded."""
        number, self._counted = self._counted, self._counted + 1
        if self._steps is None or number in self._steps:
            return self._step(number)
        return _NOTHING

    @contextmanager
    def _step(self, number: int) -> Iterator[None]:
        from profiling.spans import span

        if self._steps is not None and number == self._steps[0]:
            self._begin_in_the_middle()
        try:
            with span(names.STEP):
                yield
        finally:
            if self._steps is not None and number == self._steps[-1]:
                self._end()

    def _begin_in_the_middle(self) -> None:
        """Begin where steps have run already: what prevents it is told, and the job goes on."""
        self._has_begun = True
        try:
            _check_nothing_records()
            self._begin()
        except Exception as error:
            self._tell_of(error)

    def _begin(self) -> None:
        with ExitStack() as stack:
            stack.enter_context(self._under_nsys() if self._kind.talks else self._by_profiler())
            self._going_on = stack.pop_all()

    def _end(self) -> None:
        """Stop recording, and make the report: what the job itself raised is no matter here."""
        going_on, self._going_on = self._going_on, None
        if going_on is None:
            return
        if os.getpid() != self._process:
            # A process that the job has forked: all of it is the parent's, to be ended there alone,
            # and kept here for good, for it would end as garbage too.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(going_on))
            return
        try:
            going_on.close()
        except Exception as error:
            self._tell_of(error)

    def _tell_of(self, error: Exception) -> None:
        why = first_line(error) or type(error).__name__
        say(f"error: no report {typed(self.report)}: {why}")

    @contextmanager
    def _under_nsys(self) -> Iterator[None]:
        if self._device.startswith("cuda"):
            what = "stand around what is recorded, for --capture-range=cudaProfilerApi"
            what = f"cudaProfilerStart and cudaProfilerStop {what}"
        else:
            what = "spans and operators of what is recorded are in its report"
        if self._rank == 0:
            say(f"note: nsys listens, so record() makes no report of its own; {what}")
        with self._kind.inside(self._device, self.report.parent):
            yield

    @contextmanager
    def _by_profiler(self) -> Iterator[None]:
        from profiling.recorders.recorded_steps import range_facts  # here: it needs torch

        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else it writes its own log to stderr
        with named_folder(self.report.parent, self._choose, _OTHER_FOLDER) as scratch:
            with self._kind.inside(self._device, scratch.folder) as ranges:
                yield
            result = {**range_facts(ranges), "facts": self._facts_of_machine()}
            self._make_report(scratch.folder, result)
            scratch.check_disk()
            made = scratch.folder / f"{RECORDING}.sqlite"
            publish_all({made: self.report}, overwrite=self._overwrite, remedy=_OTHER_NAME)
        for path in self._files() if self._overwrite else ():
            if path != self.report:  # of the report that was replaced
                path.unlink(missing_ok=True)
        if self._rank == 0:
            say("recorded: ", command=called("analysis", str(relative_to_here(self.report))))

    def _make_report(self, folder: Path, result: dict[str, Any]) -> None:
        """Make the report in a process of its own: the job's memory is its own."""
        command = shlex.join(sys.orig_argv)
        about = self._facts_of_job(result["pushed"])
        recorder = self._kind.find()
        assert recorder is not None, "the PyTorch profiler is wherever torch is"
        notes = RunNotes.of_run(recorder, about, result, command=command)
        call = running.Call(
            subject=_CONVERSION,
            function=_MAKES_REPORT,
            arguments={"folder": str(folder), "notes": asdict(notes), "empty": _EMPTY},
            folder=folder / "conversion",
            scratch=folder,
            quiet=False,
        )
        running.run([call])

    def _facts_of_job(self, pushed: dict[str, int]) -> dict[str, object]:
        known: dict[str, object] = {}
        script = Path(sys.argv[0]) if sys.argv and sys.argv[0] else None
        if script and script.is_file():
            known |= {"script": script.name, **host.commit(script.resolve().parent)}
        if self._ranks > 1:
            known |= {"rank": str(self._rank), "world_size": str(self._ranks)}
        if steps := pushed.get(names.STEP):
            known["steps"] = str(steps)
        return known

    def _facts_of_machine(self) -> dict[str, str]:
        import torch

        from profiling.recorders.cpu_peaks import measured_peaks

        if self._device == "cuda":
            return machine.facts(f"cuda:{torch.cuda.current_device()}")
        known = machine.facts(self._device)
        if self._device == "cpu" and self._ranks == 1:  # beside other ranks it would be less
            with torch.random.fork_rng(devices=[]):  # the job's numbers stay as they would be
                known |= measured_peaks()
        return known

    def _files(self) -> list[Path]:
        return files_of(self.report.with_suffix(""))

    def _choose(self, going_on: Collection[str]) -> str:
        if self.report.stem in going_on:
            raise Taken(self.report, _OTHER_NAME, "another run records it now")
        return self.report.stem


_NOTHING: Final = nullcontext()


def path_of_report(given: Path, rank: int, ranks: int) -> Path:
    """Return where the report of a rank goes.

    >>> path_of_report(Path("long"), 0, 1).as_posix()
    'nsys_reports/long.sqlite'
    >>> path_of_report(Path("runs/long.sqlite"), 1, 2).as_posix()
    'runs/long.rank1.sqlite'

    Raises:
        UsageError: it has no name.
    """
    name = given.name.removesuffix(".sqlite")
    if not name:
        raise UsageError("give record() a name, or the path of a report")
    folder = given.parent if len(given.parts) > 1 or given.suffix == ".sqlite" else REPORTS
    return folder / (f"{name}.rank{rank}.sqlite" if ranks > 1 else f"{name}.sqlite")


def _are_in_a_row(steps: object) -> bool:
    if steps is None:
        return True
    return isinstance(steps, range) and bool(steps) and steps.step == 1 and steps[0] >= 0


def rank_and_ranks() -> tuple[int, int]:
    """Return which rank this process is, of how many: by its process group, else by torchrun."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    rank, ranks = (os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE"))
    return (int(rank), int(ranks)) if rank.isdecimal() and ranks.isdecimal() else (0, 1)


def _is_injected() -> bool:
    from profiling.spans import forward

    return forward.is_injected()


def _check_nothing_records() -> None:
    """Refuse to record what something records already.

    Raises:
        LaunchError: something does.
    """
    import torch

    from profiling.spans import is_recording

    if is_recording() and not _is_injected():
        raise LaunchError(
            "this process is recorded already, by spanlight; run the script by itself, or take "
            "record() out of it"
        )
    if torch._C._autograd._profiler_enabled() or torch.autograd.profiler._is_profiler_enabled:
        raise LaunchError("a PyTorch profiler runs already; end it before record(), or use only it")
