"""The plan of `profiling.launch`: what is recorded, how, on how many ranks, and where it goes."""

from dataclasses import dataclass
from pathlib import Path

from profiling.common.errors import LaunchError
from profiling.common.settings import Settings
from profiling.launch.workloads import RunSettings
from profiling.recorders.nsys import Nsys


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """How many ranks train, and how together.

    Attributes:
        strategy: one of `model.parallel.strategies.ALL_STRATEGIES`, but ``none``.
        bucket_mb: of ``bucketed``, in 10^6 bytes; None takes torch's.
        backend: ``gloo`` or ``nccl``.
        timeout_s: from the start of the processes to the end of the last.
    """

    count: int
    strategy: str
    bucket_mb: float | None
    backend: str
    timeout_s: float

    def describe(self) -> str:
        """Return all of it in a few words."""
        buckets = "" if self.bucket_mb is None else f" {self.bucket_mb:g} MB"
        return f"on each of {self.count} ranks, {self.strategy}{buckets}, {self.backend}"

    def facts(self, rank: int, settings: Settings) -> dict[str, str]:
        """Return what the report of a rank tells besides; its ``batch`` is that of this rank."""
        known = {
            "rank": str(rank),
            "world_size": str(self.count),
            "strategy": self.strategy,
            "backend": self.backend,
            "global_batch": str(self.count * settings.batch),
        }
        return known | ({} if self.bucket_mb is None else {"bucket_mb": f"{self.bucket_mb:g}"})


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What to record, how, and where it goes."""

    name: str
    reports: Path
    device: str
    nsys: Nsys | None
    settings: RunSettings | None
    workload: str
    script: Path | None
    arguments: tuple[str, ...]
    command: str
    overwrite: bool
    memory: bool = False
    ranks: Ranks | None = None

    @property
    def recorder(self) -> str:
        """``nsys`` or ``torch``."""
        return "nsys" if self.nsys else "torch"

    @property
    def report(self) -> Path:
        """Where the report goes."""
        return self.stem.with_name(f"{self.name}.sqlite")

    @property
    def made(self) -> list[Path]:
        """All reports, in order of rank where there are several."""
        return reports_of(self) if self.ranks else [self.report]

    @property
    def stem(self) -> Path:
        """Where the report and what belongs to it go, without suffix."""
        return self.reports / self.name


def choose_nsys(recorder: str, device: str) -> Nsys | None:
    """Return the nsys to record with, or nothing for the embedded recorder.

    Raises:
        LaunchError: nsys was asked for and is not there.
    """
    found = None if recorder == "torch" else Nsys.find()
    if recorder == "nsys" and found is None:
        raise LaunchError(
            "nsys was asked for and is not on the PATH; install Nsight Systems, name it with "
            "NSYS=, or use RECORDER=torch"
        )
    if recorder == "auto" and not device.startswith("cuda"):
        return None
    return found


def report_of(launch: Launch, rank: int) -> Path:
    """Return where the report of a rank goes."""
    return launch.reports / f"{launch.name}.rank{rank}.sqlite"


def reports_of(launch: Launch) -> list[Path]:
    """Return where the reports go, in order of rank."""
    assert launch.ranks, "asked of ranks only"
    return [report_of(launch, rank) for rank in range(launch.ranks.count)]
