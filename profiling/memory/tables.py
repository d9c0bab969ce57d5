"""The results of `profiling.memory` as tables: peaks, parts, ranges, largest contributors.

A result is what `profiling.memory.run.measure` returns, or ``{"settings": ..., "outcome": ...}``
where the run did not end well. What is missing is NaN, which a person reads as a dash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from analysis.show.table import Table, columns_of
from profiling import names
from profiling.common.measuring import Result
from profiling.common.settings import Settings
from profiling.processes.attempts import OK

MODEL: Final = "model"
INFERENCE: Final = "inference"
"""Ranges that only this measurement has: making the model, and a forward pass for no gradient."""

Cells = dict[str, Any]

CONFIGURATION: Final = ("size", "batch", "context", "dtype", "mode")
"""The columns that tell which run a row is of."""

_PHASES: Final = (INFERENCE, names.FORWARD, names.BACKWARD, names.OPTIMIZER, names.STEP)


def outcome(result: Result) -> str:
    """Return how a run ended."""
    return str(result.get("outcome", OK))


def peaks(results: Sequence[Result]) -> Table:
    """Return the most that was held in each phase, a row for every configuration.

    ``inference_peak_bytes`` is of a forward pass for no gradient, before there is any state of an
    optimizer; ``reserved_peak_bytes`` of the device, by torch's allocator (GPU).
    """
    rows = [
        _configuration(result)
        | {f"{name}_peak_bytes": most for name, most in result.get("peaks", {}).items()}
        | {"reserved_peak_bytes": result.get("reserved_peak_bytes"), "outcome": outcome(result)}
        for result in results
    ]
    on_gpu = any(row["reserved_peak_bytes"] is not None for row in rows)
    columns = (*(f"{name}_peak_bytes" for name in _PHASES), "reserved_peak_bytes", "outcome")
    hidden = () if on_gpu else ("reserved_peak_bytes",)
    return _table("memory_peaks", rows, columns, "Most memory held in each phase", hidden=hidden)


def parts(results: Sequence[Result]) -> Table:
    """Return the parts that memory is made of: measured beside computed."""
    columns = ("part", "held_bytes", "computed_bytes")
    rows = [
        _configuration(result) | dict(zip(columns, part, strict=True))
        for result in _done(results)
        for part in _parts(result)
    ]
    return _table("memory_parts", rows, columns, "What it is made of")


def _parts(result: Result) -> Iterator[tuple[str, int | None, int | None]]:
    computed = result["computed"]
    yield "parameters", result["parameter_bytes"], computed["parameter_bytes"]
    if "saved_bytes" in result:
        spans = computed["spans"]
        kept = spans[names.FORWARD] if spans else None
        yield "gradients", result["gradient_bytes"], computed["gradient_bytes"]
        yield "saved for backward", result["saved_bytes"], kept
    if result["optimizer_bytes"]:
        yield "optimizer state", result["optimizer_bytes"], computed["optimizer_bytes"]
    yield "one tensor of the residual stream", None, computed["residual_bytes"]


def spans(results: Sequence[Result]) -> Table:
    """Return the bytes kept for the backward pass by the name of the range.

    ``saved_bytes`` are of activations that no range kept before, those of the ranges inside
    included, and ``computed_bytes`` is for the same; ``instance_bytes`` are of the instance that
    keeps most. What they keep besides is no memory of theirs: ``shared_bytes`` (kept by another
    first), parameters, inputs and constants.
    """
    rows = [
        _configuration(result) | row | {"computed_bytes": computed.get(row["span"])}
        for result in _done(results)
        for computed in [result["computed"]["spans"] or {}]
        for row in result.get("spans", ())
    ]
    others = ("constant_bytes", "input_bytes", "parameter_bytes", "shared_bytes")
    columns = (
        *("span", "instances", "saved_bytes", "computed_bytes", "instance_bytes"),
        *reversed(others),
    )
    heading = "Saved for backward, by range (what is inside included)"
    return _table("memory_spans", rows, columns, heading, droppable=others)


def largest(results: Sequence[Result]) -> Table:
    """Return the largest contributors to what is kept for the backward pass."""
    rows = [
        row
        | _configuration(result)
        | {
            "shape": " x ".join(map(str, row["shape"])) or "()",
            "dtype_kept": row["dtype"],
            "share": row["saved_bytes"] / max(result["saved_bytes"], 1),
        }
        for result in _done(results)
        for row in result.get("largest", ())
    ]
    columns = ("span", "operator", "shape", "dtype_kept", "count", "saved_bytes", "share")
    heading = "Largest contributors to what is saved for backward"
    return _table("memory_largest", rows, columns, heading)


TABLES: Final = {"peaks": peaks, "parts": parts, "spans": spans, "largest": largest}
"""What ``--show`` knows."""


def _done(results: Sequence[Result]) -> list[Result]:
    return [result for result in results if outcome(result) == OK]


def _configuration(result: Result) -> Cells:
    settings = Settings.from_fields(result["settings"])
    shape = settings.size, settings.batch, settings.context
    return dict(zip(CONFIGURATION, (*shape, settings.precision, settings.mode), strict=True))


def _table(
    name: str,
    rows: Sequence[Cells],
    columns: Sequence[str],
    heading: str,
    *,
    droppable: tuple[str, ...] = (),
    hidden: tuple[str, ...] = (),
) -> Table:
    """Return rows as a table: `CONFIGURATION`, and some columns more.

    What all configurations have in common stands above it.
    """
    common = [key for key in CONFIGURATION if len({row[key] for row in rows}) == 1]
    said = ", ".join(f"{key} {rows[0][key]}" for key in common)
    return Table(
        name,
        columns_of(rows, object, (*CONFIGURATION, *columns)),
        heading=f"{heading}: {said}" if said else heading,
        hidden=(*common, *hidden),
        droppable=droppable,
    )
