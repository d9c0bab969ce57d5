"""The tables over the ranks of a group; those of several groups stand one under another."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.arithmetic.arrays import Float64, Int64
from analysis.arithmetic.statistics import sums
from analysis.fleet.summary import TIMES
from analysis.measures.idle_parts import IDLE_PARTS
from analysis.measures.ranks.collective_rows import collective_columns
from analysis.measures.step_budget import PARTS
from analysis.show.table import Column, columns_of, joined_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.fleet.groups import Group

EXPOSED: Final[Mapping[str, tuple[str, ...]]] = {
    "compute_ns": ("matrix_ideal", "matrix_lost", "memory_ideal", "memory_lost", "not_modelled"),
    "communication_ns": ("communication",),
    "copies_ns": ("copies",),
    "idle_ns": (*IDLE_PARTS, "profiler"),
}
"""What the wall time of a step went into, of `PARTS`: together all but what is left out."""

OUTLIER: Final = 3.5
"""Median absolute deviations (as a normal distribution has them) that make a rank an outlier."""

FEWEST: Final = 0.05
"""Of the median: a smaller difference between ranks is none to speak of."""

Columns = dict[str, Column]

KINDS: Final = {"wall_ns": "wall_", "span_ns": ""}
"""The times of ranges, of `TIMES`, and what stands for each in the names of columns."""

assert tuple(KINDS) == TIMES


def ranks_columns(group: Group) -> Columns:
    """Return a row a rank: its median step, and what that went into."""
    rows = []
    for number, rank in enumerate(group.ranks):
        wall = group.wall_ns[number]
        row: dict[str, Any] = {"rank": rank.rank, "report": rank.path, "steps": len(rank.step)}
        if len(rank.step):
            order = np.argsort(np.where(np.isnan(wall), np.inf, wall), kind="stable")
            middle = int(order[(len(rank.step) - 1) // 2])
            row["step_ns"] = int(wall[middle])
            for name, parts in EXPOSED.items():
                row[name] = sum(
                    int(group.parts_ns(PARTS.index(part))[number, middle]) for part in parts
                )
        waited = group.met.waiting_ns[group.rank_of_place == number] if group.places else None
        row["waiting_ns"] = int(waited.sum()) if waited is not None and waited.size else None
        row["cost_ns"] = int(group.cost_ns[number].sum()) if group.places else None
        rows.append(row)
    names = ("rank", "report", "steps", "step_ns", *EXPOSED, "waiting_ns", "cost_ns")
    return columns_of(rows, object, names)


def ranges_columns(group: Group) -> Columns:
    """Return a row a range: what it took the median rank on the device, and who differs."""
    names = list(dict.fromkeys(name for rank in group.ranks for name in rank.ranges))
    rows: list[dict[str, Any]] = []
    for name in names:
        row: dict[str, Any] = {"range": name}
        have = [place for place, rank in enumerate(group.ranks) if name in rank.ranges]
        row["ranks"] = len(have)
        for field, kind in enumerate(KINDS.values()):
            times = np.array([group.ranks[place].ranges[name][field] for place in have], np.int64)
            row[f"median_{kind}ns"] = int(np.median(times))
            row[f"min_{kind}ns"], row[f"max_{kind}ns"] = int(times.min()), int(times.max())
            outlier = outlier_of(times)
            label = "" if outlier is None else group.ranks[have[outlier]].rank
            row[f"{kind}outlier_rank"] = label
        rows.append(row)
    own = ("median_ns", "min_ns", "max_ns", "outlier_rank")
    wall = ("median_wall_ns", "min_wall_ns", "max_wall_ns", "wall_outlier_rank")
    return columns_of(
        sorted(rows, key=lambda row: (-row["median_ns"], -row["median_wall_ns"], row["range"])),
        object,
        ("range", "ranks", *own, *wall),
    )


def outlier_of(times: Int64) -> int | None:
    """Return which of some times lies far from the others; None where none does.

    >>> outlier_of(np.array([100, 101, 99, 180])), outlier_of(np.array([100, 101, 99, 103]))
    (3, None)
    """
    if len(times) < 3:
        apart = np.abs(times - times.min())
        most = int(apart.argmax())
        return most if len(times) == 2 and apart[most] > 2 * FEWEST * times.min() else None
    middle = float(np.median(times))
    apart = np.abs(times - middle)
    most = int(apart.argmax())
    scale = 1.4826 * float(np.median(apart))
    return most if apart[most] > max(OUTLIER * scale, FEWEST * middle) else None


def steps_columns(group: Group) -> Columns:
    """Return a row a step: its time, the slowest rank, and who kept the others waiting."""
    rows: list[dict[str, Any]] = []
    for column, step in enumerate(group.steps.tolist()):
        wall = group.wall_ns[:, column]
        known = np.flatnonzero(~np.isnan(wall))
        slowest = int(known[wall[known].argmax()])
        row: dict[str, Any] = {
            "step": step,
            "ranks": len(known),
            "median_ns": int(np.median(wall[known])),
            "slowest_rank": group.ranks[slowest].rank,
            "slowest_ns": int(wall[slowest]),
            "straggler": "",
            "range": "",
            "cause": "",
        }
        cost = group.cost_ns[:, column]
        if cost.any():
            worst = int(cost.argmax())
            row["straggler"], row["cost_ns"] = group.ranks[worst].rank, int(cost[worst])
            mine = (group.last_rank == worst) & (group.step_of_met == step)
            row["range"] = group.late.costliest(np.flatnonzero(mine))
            row["cause"] = group.cause(worst, step)[0]
        rows.append(row)
    own = ("step", "ranks", "median_ns", "slowest_rank", "slowest_ns")
    return columns_of(rows, object, (*own, "straggler", "cost_ns", "cause", "range"))


def collectives_columns(group: Group) -> Columns:
    """Return a row a kind and size of collectives, as `analysis.collectives` has them."""
    if not group.places:
        return {}
    return collective_columns(group.places, group.met, group.late, group.labels)


def stragglers_columns(group: Group) -> Columns:
    """Return a row a rank: how often it came last, what that cost the others, where it was."""
    rows: list[dict[str, Any]] = []
    count = len(group.ranks)
    last = sums(group.last_rank, np.ones(len(group.last_rank), np.int64), count)
    cost = sums(group.last_rank, group.late.cost_ns, count)
    for number, rank in enumerate(group.ranks):
        mine = np.flatnonzero(group.last_rank == number)
        places = np.flatnonzero(group.rank_of_place == number)
        row: dict[str, Any] = {
            "rank": rank.rank,
            "last": int(last[number]),
            "collectives": int(group.met.there[places].sum()),
            "cost_ns": int(cost[number]),
            "range": group.late.costliest(mine),
            "cause": "",
            "waiting_ns": int(group.met.waiting_ns[places].sum()),
        }
        in_steps = group.cost_ns[number]
        if in_steps.any():
            column = int(in_steps.argmax())
            step = int(group.steps[column])
            row["step"], row["step_cost_ns"] = step, int(in_steps[column])
            row["cause"], grew = group.cause(number, step)
            row["grew_ns"] = grew if row["cause"] else None
        rows.append(row)
    rows.sort(key=lambda row: -row["cost_ns"])
    own = ("rank", "last", "collectives", "cost_ns", "range")
    return columns_of(
        rows, object, (*own, "step", "step_cost_ns", "cause", "grew_ns", "waiting_ns")
    )


TABLES: Final[Mapping[str, Callable[[Group], Columns]]] = {
    "ranks": ranks_columns,
    "ranges": ranges_columns,
    "steps": steps_columns,
    "collectives": collectives_columns,
    "stragglers": stragglers_columns,
}
"""The tables by their names, and what makes the columns of one of a group."""

TEXT: Final = frozenset(
    {
        *("rank", "report", "range", "kind", "dtype", "outlier_rank", "wall_outlier_rank"),
        *("slowest_rank", "straggler", "cause", "last_rank", "last_range"),
    }
)
"""The columns of text; of whole numbers that may be missing are the others."""


def columns_of_groups(name: str, groups: Sequence[Group]) -> Columns:
    """Return the columns of a table over some groups, with the ``group`` after the others."""
    parts = []
    for group in groups:
        columns = {key: _of_kind(key, column) for key, column in TABLES[name](group).items()}
        if columns:
            length = len(next(iter(columns.values())))
            parts.append({**columns, "group": np.full(length, group.number, np.int64)})
    return joined_columns(parts) if parts else {}


def _of_kind(name: str, column: Column) -> Column:
    """Return a column as text, or as numbers: whole ones where none is missing."""
    if name in TEXT:
        if isinstance(column, list):
            return column
        return ["" if _is_missing(each) else str(each) for each in column.tolist()]
    assert not isinstance(column, list), f"{name} is no text"
    if column.dtype != object or any(map(_is_missing, column.tolist())):
        return column
    return column.astype(np.int64)


def _is_missing(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def heat(group: Group) -> Float64:
    """Return ``(R, S)`` what each rank's part of each step was, without what it waited in it."""
    return group.wall_ns - group.parts_ns(PARTS.index("communication"))
