"""Which times of a row make sense: an order, and a distance that a recording can have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # the converter of PyTorch traces does without NumPy
    from analysis.arithmetic.arrays import Bools, Int64

FARTHEST_NS: Final = 1 << 61
"""From the start of the recording, 73 years: more than the time since 1970, which some begin at."""

LONGEST_NS: Final = 1 << 53
"""Of one row, 104 days."""

MOST_NS: Final = 1 << 56
"""Of all rows of a table together, two years: sums stay exact where work counts in many ranges."""


def make_sense(start_ns: Int64, end_ns: Int64) -> Bools:
    """Return ``(N,)`` which rows end no earlier than they begin, and neither impossibly far away.

    >>> import numpy as np
    >>> make_sense(np.array([5, 7, -(1 << 62)]), np.array([5, 6, 0])).tolist()
    [True, False, False]
    """
    near = (start_ns >= -FARTHEST_NS) & (end_ns <= FARTHEST_NS) & (start_ns <= end_ns)
    return near & (end_ns - start_ns <= LONGEST_NS)  # of what is not near it may be anything


def all_make_sense(start_ns: Int64, end_ns: Int64) -> bool:
    """Return whether all times make sense, and their sum does: quickly, as it nearly always is."""
    if not len(start_ns):
        return True
    for instant in (start_ns, end_ns):
        if int(instant.min()) < -FARTHEST_NS or int(instant.max()) > FARTHEST_NS:
            return False
    took = end_ns - start_ns
    longest = int(took.max())
    return int(took.min()) >= 0 and longest <= LONGEST_NS and longest * len(took) <= MOST_NS
