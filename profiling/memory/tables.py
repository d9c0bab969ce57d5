"""The results of `profiling.memory` as tables: peaks, parts, ranges, largest contributors.

A result is what `profiling.memory.run.measure` returns, or ``{"settings": ..., "outcome": ...}``
where the run did not end well. What is missing is NaN, which a person reads as a dash.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

from analysis.show.table import Table, columns_of
from profiling import names
from profiling.common.settings import Settings
from profiling.processes.attempts import OK

MODEL: Final = "model"
INFERENCE: Final = "inference"
"""Ranges that only this measurement has: making the model, and a forward pass for no gradient."""

Result = dict[str, Any]
Cells = dict[str, Any]

CONFIGURATION: Final = ("size", "batch", "context", "dtype", "mode")
"""The columns that tell which run a row is of."""

_PHASES: Final = (INFERENCE, names.FORWARD, names.BACKWARD, names.OPTIMIZER, names.STEP)


def outcome(result: Result) -> str:
    """Return how a run ended."""
    return str(result.get("outcome", OK))


def peaks(results: Sequence[Result]) -> Table:
    """Return the most that was held in each phase, a row for every configuration.

    Returns:
        ``size, batch, context, dtype, mode``; ``inference_peak_bytes`` of a forward pass for no
        gradient, before there is any state of an optimizer; the peaks of the three phases of a
        step and of the whole; ``reserved_peak_bytes`` of the device by torch's allocator (GPU);
        ``outcome``.
    """
    rows = []
    for result in results:
        found = result.get("peaks", {})
        rows.append(
            {
                **_configuration(result),
                **{f"{name}_peak_bytes": found.get(name, math.nan) for name in _PHASES},
                "reserved_peak_bytes": _or_nan(result.get("reserved_peak_bytes")),
                "outcome": outcome(result),
            }
        )
    on_gpu = any(result.get("reserved_peak_bytes") is not None for result in results)
    hidden = () if on_gpu else ("reserved_peak_bytes",)
    return _table("memory_peaks", rows, "Most memory held in each phase", hidden=hidden)


def parts(results: Sequence[Result]) -> Table:
    """Return the parts that memory is made of: measured beside computed.

    Returns:
        ``size, batch, context, dtype, mode, part, bytes, computed_bytes``.
    """
    rows = [
        {**_configuration(result), "part": part, "held_bytes": _or_nan(measured)}
        | {"computed_bytes": _or_nan(computed)}
        for result in _done(results)
        for part, measured, computed in _parts(result)
    ]
    return _table("memory_parts", rows, "What it is made of")


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

    Returns:
        The configuration; ``span``, ``instances``; ``saved_bytes`` of activations that no range
        kept before, those of the ranges inside included; ``computed_bytes`` for the same;
        ``instance_bytes`` of the instance that keeps most; and what they keep besides, which is no
        memory of theirs: ``shared_bytes`` (kept by another first), ``parameter_bytes``,
        ``input_bytes``, ``constant_bytes``.
    """
    rows = []
    for result in _done(results):
        computed = result["computed"]["spans"] or {}
        for row in result.get("spans", ()):
            mine = {**row, "computed_bytes": _or_nan(computed.get(row["span"]))}
            order = ("span", "instances", "saved_bytes", "computed_bytes", *row)
            rows.append(_configuration(result) | {name: mine[name] for name in order})
    heading = "Saved for backward, by range (what is inside included)"
    others = ("constant_bytes", "input_bytes", "parameter_bytes", "shared_bytes")
    return _table("memory_spans", rows, heading, droppable=others)


def largest(results: Sequence[Result]) -> Table:
    """Return the largest contributors to what is kept for the backward pass.

    Returns:
        The configuration; ``span, operator, shape, dtype_kept, count, saved_bytes, share``.
    """
    rows = []
    for result in _done(results):
        for row in result.get("largest", ()):
            kept = {
                "span": row["span"],
                "operator": row["operator"],
                "shape": " x ".join(map(str, row["shape"])) or "()",
                "dtype_kept": row["dtype"],
                "count": row["count"],
                "saved_bytes": row["saved_bytes"],
                "share": row["saved_bytes"] / max(result["saved_bytes"], 1),
            }
            rows.append(_configuration(result) | kept)
    heading = "Largest contributors to what is saved for backward"
    return _table("memory_largest", rows, heading)


TABLES: Final = {"peaks": peaks, "parts": parts, "spans": spans, "largest": largest}
"""What ``--show`` knows."""


def _done(results: Sequence[Result]) -> list[Result]:
    return [result for result in results if outcome(result) == OK]


def _configuration(result: Result) -> Cells:
    settings = Settings.from_fields(result["settings"])
    shape = settings.size, settings.batch, settings.context
    return dict(zip(CONFIGURATION, (*shape, settings.precision, settings.mode), strict=True))


def _or_nan(value: int | None) -> float:
    return math.nan if value is None else value


def _table(
    name: str,
    rows: Sequence[Cells],
    heading: str,
    *,
    droppable: tuple[str, ...] = (),
    hidden: tuple[str, ...] = (),
) -> Table:
    """Return rows as a table; what all configurations have in common stands above it."""
    common = [key for key in CONFIGURATION if len({row[key] for row in rows}) == 1]
    said = ", ".join(f"{key} {rows[0][key]}" for key in common)
    return Table(
        name,
        columns_of(rows, object),
        heading=f"{heading}: {said}" if said else heading,
        hidden=(*common, *hidden),
        droppable=droppable,
    )
