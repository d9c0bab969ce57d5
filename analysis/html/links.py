"""What an event is tied to in another lane: the call that started it, the range it serves."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.intervals import NONE
from analysis.html.rows import CALLS, KERNELS, RANGES, Rows

if TYPE_CHECKING:
    from analysis.arithmetic.arrays import Int64
    from analysis.html.happened import Happened
    from analysis.recorded.device_work import DeviceWork


def add_launches(
    lanes: list[dict[str, Int64]],
    rows: Rows,
    work: DeviceWork,
    calls: Rows | None,
    place: Mapping[tuple[str, int], int],
) -> None:
    """Add to lanes of device work the lane and the row of the call that started each.

    ``lane`` is one more than the lane's number, 0 where the call is not known. ``call`` is the
    distance from the row after that of the event before, which it mostly is: 0, -1, 1, -2 are
    stored as 0, 1, 2, 3.

    Args:
        lanes: what is added to, as `Rows.lanes` returns them.
        rows: the work of one kind.
        work: all of it.
        calls: the CUDA calls; None where none were recorded.
        place: the position of each lane, by kind and number.
    """
    first = 0 if rows.kind == KERNELS else work.ranked
    call = work.call[first : first + len(rows.group)][rows.order]
    known = call != NONE
    lane, row = np.zeros(len(call), np.int64), np.full(len(call), NONE, np.int64)
    if calls is not None:
        number = np.array([place[CALLS, each] for each in range(len(calls.places))], np.int64)
        lane[known] = number[calls.group[call[known]]] + 1
        row[known] = calls.row[call[known]]
    for columns, (low, high) in zip(lanes, pairwise(rows.bounds.tolist()), strict=True):
        columns["lane"] = lane[low:high]
        columns["call"] = steps_from_next(row[low:high])


def steps_from_next(row: Int64) -> Int64:
    """Return how far each row is from the one after the row before, folded to numbers from 0.

    Rows that are not known, `NONE`, count as that next one. Before the first stands -1.

    >>> steps_from_next(np.array([0, 1, 3, 2, NONE, 4])).tolist()
    [0, 0, 2, 3, 0, 0]
    """
    at = np.arange(len(row))
    last = np.maximum.accumulate(np.where(row != NONE, at, NONE))
    known = np.where(last != NONE, row[last] + at - last, at)
    step = np.diff(known, prepend=NONE) - 1
    return np.where(step < 0, -2 * step - 1, 2 * step)


def add_owners(
    lanes: list[dict[str, Int64]],
    rows: Rows,
    happened: Happened,
    place: Mapping[tuple[str, int], int],
) -> None:
    """Add to lanes of ranges what those that serve another thread's range are drawn under.

    ``owner_lane`` and ``owner`` are one more than the lane's number and the row, 0 for none.

    Args:
        lanes: what is added to, as `Rows.lanes` returns them.
        rows: the ranges.
        happened: which serves which.
        place: the position of each lane, by kind and number.
    """
    under = happened.drawn_under[rows.order]
    number = np.array([place[RANGES, each] for each in range(len(rows.places))], np.int64)
    served = under != NONE
    for columns, (low, high) in zip(lanes, pairwise(rows.bounds.tolist()), strict=True):
        here = served[low:high]
        if here.any():
            owner = np.where(here, under[low:high], 0)
            columns["owner_lane"] = np.where(here, number[rows.group[owner]] + 1, 0)
            columns["owner"] = np.where(here, rows.row[owner] + 1, 0)
