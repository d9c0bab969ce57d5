"""Somebody's script as a workload: run as ``python SCRIPT ARGS`` would, recorded throughout."""

import argparse
import re
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from profiling.common.cli import Adder
from profiling.common.errors import LaunchError, UsageError
from profiling.common.workload import Workload

if TYPE_CHECKING:
    from profiling.recorders.recorded_steps import RecordedProcess

NAMELESS: Final = "script"
"""What a report is called whose script's name has no letter or digit."""


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

    @classmethod
    def add_to(cls, parser: Adder) -> None:
        """Add the script and its arguments."""
        parser.add_argument("--script", metavar="FILE", help="what to record")
        parser.add_argument("arguments", nargs="*", metavar="ARGS", help="of the script, after --")

    @classmethod
    def read(cls, arguments: argparse.Namespace, device: str) -> Self:
        """Return the script that is asked for."""
        typed = cls._typed(arguments)
        own = arguments.arguments if arguments.script else arguments.arguments[1:]
        path = Path(typed)
        if not path.is_file():
            raise LaunchError(f"{typed}: no such file; give the script to record")
        return cls(script=str(path.resolve()), typed=typed, arguments=tuple(own), device=device)

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
        """Return the script as it was typed."""
        return self.typed

    def facts(self, rank: int = 0) -> dict[str, str]:
        """Return the name of the script."""
        return {"script": Path(self.script).name}

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
    with process.record() as ranges, forgotten("analysis"):
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as stop:
            if stop.code not in (None, 0):
                raise
    return range_facts(ranges)


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
