"""The tables of `profiling.precision`: times by precision, and number formats by component."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from analysis.show.render import duration
from analysis.show.table import Table, columns_of
from profiling.benchmark.show import byte_size
from profiling.common.settings import Settings, runs

BASE: Final = "float32"
PARTS: Final = ("total", "forward", "backward", "optimizer")
FIGURES: Final = ("mean", "std")
COLUMNS: Final = (
    "precision",
    *(f"{part}_{figure}_ns" for part in PARTS for figure in FIGURES),
    *("ratio", "peak_bytes", "status"),
)
UNAVAILABLE = "not available"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The figures of one precision, or why there are none.

    Attributes:
        status: `OK`, `OOM` or `UNAVAILABLE`.
        why: what went wrong, in a line.
        found: what the process returned; None where it returned nothing.
    """

    precision: str
    status: str
    why: str = ""
    found: dict[str, Any] | None = None

    def statistic(self, part: str, name: str) -> float:
        """Return a statistic of a part, in ns; NaN where there is none."""
        known = (self.found or {}).get("statistics", {}).get(part)
        return float(known[name]) if known else math.nan

    @property
    def peak_bytes(self) -> float:
        """The peak of tensors on a GPU, of the process on a CPU; NaN where not known."""
        memory = (self.found or {}).get("memory") or {}
        peak = memory.get("peak_bytes")
        return float(memory.get("peak_rss_bytes", math.nan) if peak is None else peak)


def reasons(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """Return why there are precisions without figures, one line each."""
    return tuple(f"{each.precision}: {each.why}" for each in outcomes if each.why)


def times_table(settings: Settings, outcomes: Sequence[Outcome]) -> Table:
    """Return a row for each precision; ``ratio`` is of the mean step, to float32's."""
    base = next((each.statistic("total", "mean") for each in outcomes if each.precision == BASE), 0)
    rows = [
        {f"{part}_{name}_ns": each.statistic(part, name) for part in PARTS for name in FIGURES}
        | {"precision": each.precision, "peak_bytes": each.peak_bytes, "status": each.status}
        | {"ratio": each.statistic("total", "mean") / (base or math.nan)}
        for each in outcomes
    ]
    notes = reasons(outcomes)
    if not settings.device.startswith("cuda"):
        notes += ("peak memory is the process's (RSS): a CPU's allocator keeps no account",)
    if not base:
        notes += (f"no ratio: {BASE} was not measured",)
    run = runs(settings.warmup, settings.steps)
    heading = (
        f"{settings.size}, {settings.mode}, batch {settings.batch}, context {settings.context} on "
        f"{settings.device}, {run}; mean ± standard deviation"
    )
    return Table("precision", columns_of(rows, names=COLUMNS), heading=heading, notes=notes)


def rounded_times(table: Table) -> Table:
    """Return `times_table` for a person: mean and deviation in one cell, no empty columns.

    Where there are no figures, the status stands in the place of the total.
    """
    rows = table.rows()
    columns: dict[str, Any] = {"precision": [short(str(row["precision"])) for row in rows]}
    for part in PARTS:
        pairs = [(float(row[f"{part}_mean_ns"]), float(row[f"{part}_std_ns"])) for row in rows]
        if not all(math.isnan(mean) for mean, _ in pairs):
            columns[part] = [with_deviation(*pair) for pair in pairs]
    totals = columns.get("total", ["-"] * len(rows))
    columns["total"] = [
        str(row["status"]) if total == "-" else total
        for row, total in zip(rows, totals, strict=True)
    ]
    columns["ratio"] = table.columns["ratio"]
    peaks = [float(row["peak_bytes"]) for row in rows]
    columns["peak memory"] = ["-" if math.isnan(peak) else byte_size(int(peak)) for peak in peaks]
    return replace(table, columns=columns)


def short(precision: str) -> str:
    """Return a precision's name, or a column's, as a narrow table has room for it.

    >>> short("bfloat16-autocast"), short("tf32")
    ('bf16-autocast', 'tf32')
    """
    return precision.replace("bfloat", "bf").replace("float", "fp")


def with_deviation(mean_ns: float, std_ns: float) -> str:
    """Return a mean with its deviation in the same unit, to two digits.

    >>> with_deviation(20_030_000, 410_000), with_deviation(1.5e9, 2e9), with_deviation(math.nan, 0)
    ('20.03 ± 0.41 ms', '1.500 ± 2.0 s', '-')
    """
    if math.isnan(mean_ns):
        return "-"
    number, _, unit = duration(mean_ns).partition(" ")
    beside = std_ns / {"ns": 1, "µs": 1e3, "ms": 1e6, "s": 1e9}[unit]
    decimals = max(0, 1 - math.floor(math.log10(beside))) if beside >= 1e-3 else 0
    return f"{number} ± {beside:,.{decimals}f} {unit}"


def components_table(settings: Settings, outcomes: Sequence[Outcome]) -> Table:
    """Return a row for each component, with a column of number formats for each precision.

    A dash stands where the component is not there, or the precision not available.
    """
    rows = list(dict.fromkeys(name for each in outcomes for name in each.found or {}))
    columns: dict[str, Any] = {"component": rows}
    for each in outcomes:
        found: Mapping[str, str] = each.found or {}
        columns[each.precision] = [found.get(row, "-") for row in rows]
    heading = (
        f"Number formats of operands (→ of the result) on {settings.device}, {settings.attention} "
        "attention, seen in a training step of a small model"
    )
    return Table("precision_components", columns, heading=heading, notes=reasons(outcomes))


def narrow_components(table: Table) -> Table:
    """Return `components_table` with short titles, for a person."""
    return replace(table, columns={short(name): cells for name, cells in table.columns.items()})
