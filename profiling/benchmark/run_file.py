"""The JSON of a benchmark: everything that was run and measured, raw times included.

Times by part, in nanoseconds, one a step: ``total_ns``, ``forward_ns``, ``backward_ns`` (not in the
mode ``forward``), ``zero_grad_ns`` (``forward_backward``) or ``optimizer_ns`` (``train``), and
``rest_ns``; the parts add up to the total. ``warmup_ns`` and ``warmup_parts`` are the first steps,
``forward_only_ns`` the forward passes behind ``backward_estimate_ns``. ``statistics`` follow from
them. ``analysis.answers --benchmark`` reads it.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from profiling import names
from profiling.benchmark.figures import by_part, figures
from profiling.benchmark.run import Measurements
from profiling.common import result_file
from profiling.common.errors import LaunchError
from profiling.common.settings import Settings

KIND: Final = "benchmark"
PARTS: Final = (*names.PHASES, "zero_grad", "rest")
PARTIAL: Final = ".partial"
"""What the name of an interrupted run's file ends in: the file itself is of whole runs only."""

LONGEST_NS: Final = 1 << 63


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
        LaunchError: it cannot be read, is of another command, or lacks what it should have.
    """
    known = result_file.read(path, KIND)
    try:
        settings = Settings.from_fields(known["settings"])
        facts = {str(key): str(value) for key, value in known["facts"].items()}
        times = {"total": _times(known["total_ns"])}
        times |= {part: _times(known[f"{part}_ns"]) for part in PARTS if f"{part}_ns" in known}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"no {error.args[0]}" if isinstance(error, KeyError) else str(error)
        raise LaunchError(f"{path}: damaged ({what}); make it anew with --json") from None
    if len({len(values) for values in times.values()}) > 1:
        raise LaunchError(f"{path}: damaged (parts of different lengths); make it anew with --json")
    return StoredRun(path, settings, facts, times, known.get("complete") is True)


def _times(values: object) -> list[int]:
    """Return times that make sense.

    Raises:
        ValueError: they do not.
    """
    if not isinstance(values, list) or not values:
        raise ValueError("times are no list, or an empty one")
    for value in values:
        if type(value) is not int or not -LONGEST_NS < value < LONGEST_NS:
            raise ValueError(f"a time is {value!r}")
    return values
