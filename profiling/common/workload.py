"""What can be recorded: one type, which a command line makes and the recorded process runs."""

import argparse
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import msgspec

from analysis.show.render import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from profiling.common.cli import Adder

    RunFunction = Callable[..., dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """How many processes run a workload together, each as one rank.

    Attributes:
        timeout_s: from the start of the processes to the end of the last; None waits.
    """

    count: int
    timeout_s: float | None

    def describe(self) -> str:
        """Return all of it in a few words."""
        return f"on each of {plural(self.count, 'rank')}"

    def facts(self, rank: int) -> dict[str, str]:
        """Return what the report of a rank tells besides."""
        return {"rank": str(rank), "world_size": str(self.count)}


class Workload(ABC):
    """A run that can be recorded, with all its settings: a dataclass that JSON can hold.

    Attributes:
        run: ``module:function`` that runs it, inside the recorded process: it takes the workload
            and a `profiling.recorders.recorded_steps.RecordedProcess`, and returns step times, what
            was pushed, and further facts.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        ranks: how many processes run it together; None for one.
    """

    run: ClassVar[str]
    device: str
    ranks: Ranks | None = None

    @property
    def folder(self) -> Path:
        """The folder that the run is made in: the report tells the commit of its repository."""
        return Path.cwd()

    @property
    def steps_in_all(self) -> int:
        """How many steps are told of: two sets, each with its warm-up; 0 where nobody knows."""
        return 0

    @classmethod
    @abstractmethod
    def add_to(cls, parser: "Adder") -> None:
        """Add the options of this workload."""

    @classmethod
    @abstractmethod
    def read(cls, arguments: argparse.Namespace, device: str) -> Self:
        """Return what the command line asks for, on a device.

        Raises:
            UsageError: it asks for what does not exist, or does not go together.
            LaunchError: this machine cannot do it.
        """

    @abstractmethod
    def describe(self) -> str:
        """Return every setting in one line, defaults too."""

    @abstractmethod
    def facts(self, rank: int = 0) -> dict[str, str]:
        """Return what the report, of a rank where there are several, must tell of the run."""

    def fields(self) -> dict[str, Any]:
        """Return all settings as JSON holds them."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]  # each is a dataclass

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Self:
        """Return the workload that `fields` made these of."""
        return msgspec.convert(fields, cls)

    @classmethod
    @abstractmethod
    def report_name(cls, arguments: argparse.Namespace) -> str:
        """Return what a report is called that was given no name."""

    def check(self) -> None:  # noqa: B027  (most workloads find out when they run)
        """Refuse what cannot be run here, before any work.

        Raises:
            LaunchError: the device cannot do it, or has too little memory.
        """


def together(flags: "Sequence[str]") -> str:
    """Return option names as one reads them.

    >>> together(["size", "random_init"])
    '--size and --random-init'
    """
    return " and ".join(f"--{flag.replace('_', '-')}" for flag in flags)
