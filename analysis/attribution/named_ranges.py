"""Ranges that a user names, to ask for their work or to leave it out: warm-up, and any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools
from analysis.knowledge.vocabulary import ALIASES, canonical, matching
from analysis.recorded.ranges import outermost
from analysis.show.errors import ReportError
from analysis.show.sheet import cut
from profiling import names

if TYPE_CHECKING:
    from pathlib import Path

    from analysis.recorded.ranges import Ranges

WARMUP_NAMES: Final = (names.WARMUP, *ALIASES[names.WARMUP])
"""What the warm-up is called."""

NO_WARMUP: Final = "no range is a warm-up: none is left out"

LISTED: Final = 8
"""How many names a message lists of those there are: enough to see a slip of the pen."""

LETTERS: Final = 40
"""Of each of them: a compiled graph's name has a hundred."""


def ranges_named(path: Path, ranges: Ranges, wanted: str) -> Bools:
    """Return ``(R,)`` which ranges have a name, by itself, by another spelling, or as a glob.

    Args:
        path: of the report, for the message.
        ranges: ``R`` of them.
        wanted: a name as it was recorded, else one of its other spellings, else a glob.

    Returns:
        ``(R,)``.

    Raises:
        ReportError: no range is called so; the message lists some that there are.
    """
    known = matching(ranges.names, wanted)
    if not known:
        raise ReportError(
            path, f"no NVTX range is called {wanted!r}", f"it has: {listed_names(ranges)}"
        )
    return np.array([name in known for name in ranges.names], np.bool_)[ranges.name]


def ranges_left_out(path: Path, ranges: Ranges, wanted: str) -> Bools:
    """Return ``(R,)`` which ranges have a name that ``--exclude`` leaves out.

    Where there is no warm-up, leaving it out leaves nothing out: no error, as it is usual.

    Raises:
        ReportError: no range is called so, and it is another name than that of the warm-up.
    """
    if wanted in WARMUP_NAMES and not matching(ranges.names, wanted):
        return np.zeros(len(ranges), np.bool_)
    return ranges_named(path, ranges, wanted)


def all_called(ranges: Ranges, chosen: Bools, label: str) -> bool:
    """Return whether some ranges, not none, are all called by one canonical name."""
    numbers = np.unique(ranges.name[chosen]).tolist()
    return {canonical(ranges.names[number]) for number in numbers} == {label}


def listed_names(ranges: Ranges) -> str:
    """Return names of a report's ranges: the outermost, then others of our vocabulary.

    The outermost were open longest first; what is left of the names is counted.
    """
    called = [canonical(name) for name in ranges.names]
    outer = outermost(ranges)
    wall = np.bincount(ranges.name[outer], ranges.wall_ns[outer], len(called))
    instances = np.bincount(ranges.name[outer], minlength=len(called))
    order = np.lexsort((np.arange(len(called)), -wall))
    first = [called[place] for place in order.tolist() if instances[place]]
    ours = [name for name in ALIASES if name in called]
    # One half for each, and what one leaves free for the other.
    head = list(dict.fromkeys(first))[: max(LISTED // 2, LISTED - len(ours))]
    listed = list(dict.fromkeys([*head, *ours, *first]))[:LISTED]
    more = len(set(called)) - len(listed)
    parts = [cut(name, LETTERS) for name in listed]
    return ", ".join([*parts, *([f"and {more:,} more"] if more > 0 else [])]) or "none"
