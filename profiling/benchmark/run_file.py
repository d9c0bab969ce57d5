"""The JSON of a benchmark: everything that was run and measured, raw times included.

Times by part, in nanoseconds, one a step: ``total_ns``, ``forward_ns``, ``backward_ns`` (not in the
mode ``forward``), ``zero_grad_ns`` (``forward_backward``) or ``optimizer_ns`` (``train``), and
``rest_ns``; the parts add up to the total. ``warmup_ns`` and ``warmup_parts`` are the first steps,
``forward_only_ns`` the forward passes behind ``backward_estimate_ns``. ``statistics`` follow from
them. ``analysis.answers --benchmark`` reads it.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from analysis.show.errors import ReportError
from analysis.source.json_files import checked
from profiling.benchmark.figures import by_part, figures
from profiling.benchmark.run import Measurements
from profiling.common import result_file
from profiling.common.settings import Settings

KIND: Final = "benchmark"

Nanoseconds = Annotated[int, msgspec.Meta(gt=-(1 << 62), lt=1 << 62)]
Times = Annotated[list[Nanoseconds], msgspec.Meta(min_length=1)]


class StoredRun(msgspec.Struct, frozen=True, kw_only=True):
    """A benchmark's run, read from its file: of `content` what is compared.

    Attributes:
        fields: of the settings, as `asdict` gives them.
        facts: of the machine, `profiling.common.machine.facts`.
        complete: False where the run was interrupted.
    """

    path: Path
    fields: dict[str, Any] = msgspec.field(name="settings")
    facts: dict[str, str]
    complete: bool = False
    total_ns: Times
    forward_ns: Times | None = None
    backward_ns: Times | None = None
    optimizer_ns: Times | None = None
    zero_grad_ns: Times | None = None
    rest_ns: Times | None = None

    def __post_init__(self) -> None:
        Settings.from_fields(self.fields)  # raises what is wrong with them
        if len({len(values) for values in self.times.values()}) > 1:
            raise ValueError("parts of different lengths")

    @property
    def settings(self) -> Settings:
        """What was run."""
        return Settings.from_fields(self.fields)

    @property
    def times(self) -> dict[str, list[int]]:
        """The times of the steps in ns by part, ``total`` first."""
        names = [name for name in self.__struct_fields__ if name.endswith("_ns")]
        found = {name.removesuffix("_ns"): getattr(self, name) for name in names}
        return {part: values for part, values in found.items() if values is not None}


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


def read(path: Path) -> StoredRun:
    """Read a run from its file.

    Raises:
        ReportError: it cannot be read, is of another command, or lacks what it should have.
    """
    try:
        return checked(result_file.read(path, KIND) | {"path": path}, StoredRun)
    except ValueError as error:
        raise ReportError(path, f"damaged ({error})", "make it anew with --json") from None
