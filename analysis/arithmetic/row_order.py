"""The order of rows, decided by what they hold: the order in which a file has them says nothing.

Since 2025.6 nsys exports rows in no particular order. So what depends on an order (which of two
ranges that begin together is the outer one, which name of a thread is the last) needs one that
every copy of a recording has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.arithmetic.arrays import Int64

Rows = dict[str, npt.NDArray[Any]]
Ranks = Mapping[str, Callable[[], Int64]]


def in_order(rows: Mapping[str, npt.NDArray[Any]], *by: str, ranks: Ranks | None = None) -> Rows:
    """Return the rows of some columns in order; those that are left alike are the same row twice.

    Args:
        rows: columns of one length, numbers or text.
        by: names of columns, the one that decides first in front; one with a ``-`` before it is of
            numbers that descend. All other columns decide after these.
        ranks: what makes of a column's numbers those that decide in their place: ``(K,)`` by
            position; asked for only where rows begin alike.

    >>> rows = {"start": np.array([1, 1, 0]), "end": np.array([5, 9, 3])}
    >>> in_order(rows, "start", "-end")["end"].tolist()
    [3, 9, 5]
    """
    order = row_order(rows, *by, ranks=ranks)
    return dict(rows) if order is None else {name: column[order] for name, column in rows.items()}


def row_order(
    rows: Mapping[str, npt.NDArray[Any]], *by: str, ranks: Ranks | None = None
) -> Int64 | None:
    """Return ``(N,)`` positions in the order that `in_order` says; None where rows are in order.

    A recording is mostly in order of time, and few things begin at the same nanosecond: only among
    those the further columns are looked at.
    """
    decided = [name.removeprefix("-") for name in by]
    names = [*by, *(name for name in rows if name not in decided)]
    if not names or len(rows[names[0].removeprefix("-")]) < 2:
        return None
    first, *others = names
    key = _key(rows, first)
    if bool((key[1:] > key[:-1]).all()):
        return None
    order: Int64 | None = None
    if bool((key[1:] < key[:-1]).any()):
        order = np.argsort(key, kind="stable")
        key = key[order]
    alike = key[1:] == key[:-1]
    tied = np.flatnonzero(np.append(alike, False) | np.append(False, alike))
    place = tied if order is None else order[tied]
    some = {name: column[place] for name, column in rows.items()}
    some |= {name: rank()[some[name]] for name, rank in (ranks or {}).items()}
    within = np.lexsort([*(_key(some, name) for name in reversed(others)), key[tied]])
    if order is None:
        if bool((within[1:] > within[:-1]).all()):
            return None
        order = np.arange(len(key))
    order[tied] = place[within]
    return order


def _key(rows: Mapping[str, npt.NDArray[Any]], name: str) -> Int64:
    """Return numbers that order rows as one column does."""
    column = rows[name.removeprefix("-")]
    if column.dtype == object:
        return np.unique(column, return_inverse=True)[1].astype(np.int64)
    # Of whole numbers the complement descends, also of the least one, which has no negative.
    return ~column if name.startswith("-") else column
