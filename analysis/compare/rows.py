"""The rows of a comparison: every name of either report, its times side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Float64, Int64, coded, quotient
from analysis.arithmetic.noise import LEVEL, Judgement, changed, judge
from analysis.compare.checks import LIKE
from analysis.compare.sides import KINDS, Series
from analysis.show.table import Table, joined_columns

if TYPE_CHECKING:
    from analysis.compare.sides import Side
    from analysis.show.table import Column


SAME, NOISE, FASTER, SLOWER = "same", "noise", "faster", "slower"
NEW, GONE, UNJUDGED = "new", "gone", "unjudged"

TIMES: Final = ("before_ns", "after_ns")
SORTS: Final = ("delta", "ratio", "name")


def rows(before: Side, after: Side) -> dict[str, Column]:
    """Return the columns of the comparison, kind by kind, all steps judged.

    Within a kind the rows are in the order of the names.
    """
    shared = [kind for kind in KINDS if kind in before.series or kind in after.series]
    if not (before.has_phases and after.has_phases):
        shared = [kind for kind in shared if kind != "phase"]
    return joined_columns([rows_of_kind(kind, before, after) for kind in shared])


def rows_of_kind(kind: str, before: Side, after: Side) -> dict[str, Column]:
    """Return the columns of one kind of names, all steps judged."""
    nothing = np.zeros((0, 1), np.int64)
    none = Series([], nothing, nothing, nothing[:, 0], [])
    pair = [side.series.get(kind, none) for side in (before, after)]
    counts = [side.contents.count for side in (before, after)]
    names, places = coded([*pair[0].names, *pair[1].names])
    times, calls, selves, recorded = [], [], [], []
    both = np.split(places, [len(pair[0].names)])
    for series, count, place in zip(pair, counts, both, strict=True):
        times.append(rows_placed(series.time_ns, place, (len(names), count)))
        calls.append(rows_placed(series.calls, place, (len(names), count)))
        selves.append(rows_placed(series.self_ns[:, None], place, (len(names), 1))[:, 0])
        known = dict(zip(series.names, series.recorded, strict=True))
        recorded.append([known.get(name, "") for name in names])
    judged = judge(*times)
    totals = [time.sum(1) for time in times]
    called = [count.sum(1) for count in calls]
    means = [per_step(total, count) for total, count in zip(totals, counts, strict=True)]
    often = [per_step(call, count) for call, count in zip(called, counts, strict=True)]
    exact = means[1] - means[0]
    means = [np.rint(mean).astype(np.int64) for mean in means]
    columns: dict[str, Column] = {
        "kind": [kind] * len(names),
        "name": names,
        "before_ns": means[0],
        "after_ns": means[1],
        "delta_ns": means[1] - means[0],
        "ratio": quotient(*(totals[side] / counts[side] for side in (1, 0))),
        "calls_before": often[0],
        "calls_after": often[1],
        "status": statuses(exact, totals[0], called, judged, alone=kind == "total"),
        "call_ratio": quotient(*(totals[side] / np.maximum(called[side], 1) for side in (1, 0))),
        "p": judged.p,
        "ratio_low": judged.low,
        "ratio_high": judged.high,
        "total_before_ns": totals[0],
        "total_after_ns": totals[1],
        "self_before_ns": selves[0],
        "self_after_ns": selves[1],
        "recorded_before": recorded[0],
        "recorded_after": recorded[1],
    }
    there = np.flatnonzero((called[0] > 0) | (called[1] > 0) | (kind == "total"))
    return Table(kind, columns).take(there).columns


def rows_placed(values: Int64, place: Int64, shape: tuple[int, int]) -> Int64:
    """Return values put at some rows of an array of zeros."""
    result = np.zeros(shape, np.int64)
    if len(place):
        result[place] = values
    return result


def per_step(total: Int64, count: int) -> Int64 | Float64:
    """Return means over steps, as whole numbers where all of them are."""
    return total // count if not (total % count).any() else total / count


def statuses(
    delta_ns: Int64 | Float64,
    before_ns: Int64,
    called: list[Int64],
    judged: Judgement,
    *,
    alone: bool = False,
) -> list[str]:
    """Return for each name whether it became faster, slower, new or gone, or differs by noise.

    The same is what cannot differ by more than `LIKE`: the whole interval lies within. Without an
    interval it is what took as long, to the nanosecond.

    Args:
        delta_ns: ``(K,)``.
        before_ns: ``(K,)`` the time before, in all steps.
        called: ``(K,)`` calls before and after, in all steps.
        judged: how they differ.
        alone: judge each by itself, so that the word is that of its interval: totals are few, and
            each is looked at for its own sake.
    """
    both = (called[0] > 0) & (called[1] > 0)
    p = np.where(both, judged.p, np.nan)
    beyond = p <= LEVEL if alone else changed(p)
    within = (judged.low >= 1 - LIKE) & (judged.high <= 1 + LIKE)
    unjudged = np.isnan(judged.p)
    conditions = [
        (called[0] == 0) & (called[1] > 0),
        (called[1] == 0) & (called[0] > 0),
        (delta_ns == 0) & (unjudged | (before_ns == 0)),
        unjudged,
        ~beyond & within,
        ~beyond,
        delta_ns < 0,
    ]
    found = np.select(conditions, [NEW, GONE, SAME, UNJUDGED, SAME, NOISE, FASTER], SLOWER)
    words: list[str] = found.tolist()
    return words


def order(columns: dict[str, Column], by: str) -> Int64:
    """Return the order of a comparison's rows: by kind, then as asked for, then by time.

    Args:
        columns: as `rows` returns them.
        by: ``delta`` for the largest difference first, either way; ``ratio`` for what became
            slowest first, new names before it; ``name``.
    """
    kinds = np.array([KINDS.index(kind) for kind in columns["kind"]], np.int64)
    names = np.array(columns["name"], object)
    alphabet = np.argsort(np.argsort(names, kind="stable"), kind="stable")
    key = np.zeros(len(kinds))
    if by == "delta":
        key = -np.abs(np.asarray(columns["delta_ns"], np.float64))
    elif by == "ratio":
        key = -np.nan_to_num(np.asarray(columns["ratio"], np.float64), nan=np.inf)
    size = -np.maximum(*(np.asarray(columns[name], np.float64) for name in TIMES))
    if by == "name":
        size = key
    return np.lexsort((alphabet, size, key, kinds)).astype(np.int64)
