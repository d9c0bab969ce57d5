"""The plan of a recording: what is recorded, by whom, and where the reports go."""

import re
from dataclasses import dataclass
from pathlib import Path

from analysis.show.errors import reason
from profiling.common.cli import typed
from profiling.common.errors import LaunchError
from profiling.common.workload import Workload
from profiling.recorders.recorder import Recorder
from profiling.recorders.report_files import SUFFIXES, files_of


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A recording that has been asked for.

    Attributes:
        name: of the report, or of the reports of all ranks.
        base: what a number follows where that is taken; None where the name is the user's own.
        reports: the folder that they go to.
        command: as it was typed.
        overwrite: whether earlier reports of the name are replaced.
        memory: whether what tensors hold is recorded too.
        shapes: whether operators' shapes are, by a recorder that does not always do so.
    """

    workload: Workload
    recorder: Recorder
    name: str
    base: str | None = None
    reports: Path
    command: str
    overwrite: bool = False
    memory: bool = False
    shapes: bool = False

    @property
    def device(self) -> str:
        """The device of the run."""
        return self.workload.device

    @property
    def stems(self) -> list[Path]:
        """Where the reports go, without suffix, in order of rank where there are several."""
        if self.workload.ranks is None:
            return [self.reports / self.name]
        ranks = range(self.workload.ranks.count)
        return [self.reports / f"{self.name}.rank{rank}" for rank in ranks]

    def places(self) -> str:
        """Return the reports, as one would type them."""
        return ", ".join(typed(report_of(stem)) for stem in self.stems)

    def earlier(self) -> list[Path]:
        """Return the files of an earlier recording of this name; it may have had more ranks."""
        return earlier(self.reports, self.name, of_ranks=self.workload.ranks is not None)


def earlier(reports: Path, name: str, *, of_ranks: bool) -> list[Path]:
    """Return the files of an earlier recording of a name, all ranks of it that there are.

    Raises:
        LaunchError: the folder cannot be read.
    """
    try:
        if not of_ranks:
            return [path for path in files_of(reports / name) if path.exists()]
        suffixes = "|".join(map(re.escape, SUFFIXES))
        pattern = re.compile(rf"{re.escape(name)}\.rank[0-9]+({suffixes})")
        if not reports.is_dir():
            return []
        return sorted(path for path in reports.iterdir() if pattern.fullmatch(path.name))
    except OSError as error:
        raise LaunchError(f"{reports}: cannot be read ({reason(error)})") from None


def report_of(stem: Path) -> Path:
    """Return the report that goes to a place without suffix."""
    return stem.with_name(f"{stem.name}.sqlite")


def is_finished(made: Path) -> bool:
    """Return whether this is a report, not a recording that waits to be completed."""
    return made.suffix == ".sqlite"
