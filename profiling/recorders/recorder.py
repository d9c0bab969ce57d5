"""Who records a run: one type, and the table that `--recorder` chooses from.

A recorder is found before the run, starts a process under it or is inside one, makes the report of
what was left, and says what it could not do. Nothing here imports torch; a recorder's module does
where it records.
"""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Self

from analysis.show.called import option
from analysis.source.trace.source import Progress
from profiling.common.errors import LaunchError, UsageError
from profiling.common.named import named

if TYPE_CHECKING:
    from profiling.spans.backends import RangeSink

AUTO: Final = "auto"
"""The choice of the first recorder in the table that is here and suits the device."""

RECORDERS: Final[dict[str, str]] = {
    "nsys": "profiling.recorders.nsys_recorder:NsysRecorder",
    "torch": "profiling.recorders.torch_recorder:EmbeddedRecorder",
}
"""Every recorder by its name, as ``module:class``; the one to prefer comes first."""

RECORDING: Final = "recording"
"""What a report, and what it is made of, are called in the folder of a run."""


class Recorder(ABC):
    """Who records a run.

    Attributes:
        name: in `RECORDERS`, and in the report.
        finishing: what it does in the recorded process, or around it, once all has run.
        making: what `report` does.
        talks: whether it is a process around that of the run, which says things of its own.
    """

    name: ClassVar[str]
    finishing: ClassVar[str] = "finishing"
    making: ClassVar[str] = "making the report"
    talks: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def find(cls) -> Self | None:
        """Return the recorder, or nothing where this machine has none.

        Raises:
            LaunchError: it is here and does not work.
        """

    @classmethod
    def missing(cls) -> str:
        """Return what is wrong where it was asked for and is not here, and what to do."""
        return "is not here"

    @classmethod
    def suits(cls, device: str) -> bool:
        """Return whether it is preferred, where nobody chose, for runs on a device."""
        return True

    @classmethod
    @abstractmethod
    def inside(
        cls, device: str, folder: Path, *, memory: bool = False, shapes: bool = False
    ) -> "AbstractContextManager[RangeSink]":
        """Record what runs inside the context, on all threads of this process.

        Args:
            device: ``cpu``, ``cuda`` or ``cuda:N``.
            folder: of the run; what the report is made of goes there.
            memory: whether what tensors hold is recorded too.
            shapes: whether the shapes of operators are, where that is not always so.

        Returns:
            A context that gives where spans are written to.
        """

    @abstractmethod
    def report(
        self, folder: Path, pushed: dict[str, int], progress: Progress | None = None
    ) -> Path:
        """Make the report of what was left in a run's folder; return it.

        A file of another suffix than ``.sqlite`` is a recording that waits to be completed.

        Args:
            folder: of the run.
            pushed: how often each range was pushed.
            progress: told how much is done of how much, where that is known.

        Raises:
            LaunchError: nothing was recorded, or no report can be made of it.
        """

    @abstractmethod
    def describe(self, device: str) -> str:
        """Return what records, and of what, in a few words."""

    def around(self, command: list[str], device: str, folder: Path) -> list[str]:
        """Return the command line that runs another under the recorder, for a run's folder."""
        return command

    def with_shapes(self) -> "Recorder":
        """Return the recorder as it is put around a process whose operators' shapes are wanted."""
        return self

    def with_stacks(self) -> "Recorder":
        """Return the recorder as it records what the host does besides launching, too.

        Raises:
            UsageError: it cannot.
        """
        raise UsageError(
            f"{option('--stacks')}: the recorder {self.name} cannot tell what the host does"
        )

    def lacks(self) -> list[str]:
        """Return what it was asked for and cannot record on this machine, a line each."""
        return []

    def limits(self, *, memory: bool) -> list[str]:
        """Return what it does not record of a process whose threads are not known, a line each."""
        return []

    def facts(self) -> dict[str, object]:
        """Return what a report must tell of its recorder."""
        return {"recorder": self.name}

    def range_name(self, name: str) -> str:
        """Return the name that a range has in the report."""
        return name

    def how_to_complete(self, recordings: list[Path]) -> str:
        """Return the line that says why recordings are no reports yet, and what makes them so."""
        raise NotImplementedError(f"{self.name} completes its reports itself")


def choose_recorder(asked: str, device: str) -> Recorder:
    """Return the recorder that is asked for, or the first that is here and suits the device.

    Args:
        asked: a name in `RECORDERS`, or `AUTO`.
        device: that the run is made on.

    Raises:
        LaunchError: it is not here, or does not work.
    """
    if asked != AUTO:
        kind: type[Recorder] = named(RECORDERS[asked])
        found = kind.find()
        if found is None:
            raise LaunchError(f"{asked} was asked for and {kind.missing()}")
        return found
    for kind in map(named, RECORDERS.values()):
        found = kind.find()
        if found is not None and kind.suits(device):
            return found
    raise LaunchError(
        f"no recorder is here; install torch, or name one with {option('--recorder')}"
    )
