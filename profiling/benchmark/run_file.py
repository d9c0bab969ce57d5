"""The JSON of a benchmark: everything that was run and measured, raw times included.

Times by part, in nanoseconds, one a step: ``total_ns``, ``forward_ns``, ``backward_ns`` (not in the
mode ``forward``), ``zero_grad_ns`` (``forward_backward``) or ``optimizer_ns`` (``train``), and
``rest_ns``; the parts add up to the total. ``warmup_ns`` and ``warmup_parts`` are the first steps,
``forward_only_ns`` the forward passes behind ``backward_estimate_ns``. ``statistics`` follow from
them. ``analysis.answers --benchmark`` reads it.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from analysis.show.errors import ReportError
from analysis.source.json_files import checked
from profiling import names
from profiling.benchmark.figures import TOTAL, by_part, figures
from profiling.benchmark.run import Measurements
from profiling.common import result_file
from profiling.common.settings import Settings

KIND: Final = "benchmark"
PARTS: Final = (*names.PHASES, "zero_grad", "rest")
PARTIAL: Final = ".partial"
"""What the name of an interrupted run's file ends in: the file itself is of whole runs only."""

Nanoseconds = Annotated[int, msgspec.Meta(gt=-(1 << 62), lt=1 << 62)]
Times = Annotated[list[Nanoseconds], msgspec.Meta(min_length=1)]


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A benchmark's run, read from its file.

    Attributes:
        facts: of the machine, `profiling.common.machine.facts`.
        times: ns by part, ``total`` first.
        complete: False where the run was interrupted.
    """

    path: Path
    settings: Settings
    facts: dict[str, str]
    times: dict[str, list[int]]
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """Of `content`, what a run that is read must have."""

    settings: dict[str, Any]
    facts: dict[str, str]
    total_ns: Times
    complete: bool = False


def content(
    settings: Settings, measured: Measurements, learning_rate: float | None, command: str
) -> dict[str, Any]:
    """Return the content of a run's file, of at least one timed step."""
    found = figures(settings, measured)
    raw = by_part(measured.steps)
    return {
        **result_file.header(KIND, command, settings.device),
        "complete": measured.complete,
        "settings": asdict(settings),
        "learning_rate": learning_rate,
        "parameters": settings.config.parameter_count,
        "warmup_ns": [step.total_ns for step in measured.warmup],
        "warmup_parts": [
            {f"{part}_ns": values[0] for part, values in by_part([step]).items()}
            for step in measured.warmup
        ],
        **{f"{part}_ns": values for part, values in raw.items()},
        "forward_only_ns": measured.forward_only_ns,
        "statistics": {part: asdict(spread) for part, spread in found.spreads.items()},
        "tokens_per_step": found.tokens,
        "flops_per_step": found.flops,
        "flops_per_s": found.flops_per_s,
        "number_format": found.number_format,
        "peak_flops_per_s": found.peak_flops_per_s,
        "mfu": found.mfu,
        "memory": asdict(measured.memory) if measured.memory else None,
        "backward_estimate_ns": found.backward_estimate_ns,
    }


def write(path: Path, what: dict[str, Any]) -> Path:
    """Write a run, and return where: beside ``path`` if it was interrupted.

    Raises:
        LaunchError: it cannot be written.
    """
    target = path if what["complete"] else path.with_name(path.name + PARTIAL)
    result_file.write(target, what)
    return target


def read(path: Path) -> StoredRun:
    """Read a run from its file.

    Raises:
        ReportError: it cannot be read, is of another command, or lacks what it should have.
    """
    known = result_file.read(path, KIND)
    times_known = {part: known[f"{part}_ns"] for part in PARTS if f"{part}_ns" in known}
    try:
        kept = checked(known, _Kept)
        settings = Settings.from_fields(kept.settings)
        times = {TOTAL: kept.total_ns, **checked(times_known, dict[str, Times])}
        if len({len(values) for values in times.values()}) > 1:
            raise ValueError("parts of different lengths")
    except ValueError as error:
        raise ReportError(path, f"damaged ({error})", "make it anew with --json") from None
    return StoredRun(path, settings, kept.facts, times, kept.complete)
