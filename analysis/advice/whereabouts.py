"""Where the host was while GPUs were idle: the ranges that hold most of the lost time, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from analysis.advice.finding import WORTH_A_LINE
from analysis.arithmetic.arrays import Bools
from analysis.arithmetic.containment import Intervals, innermost_of_any
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.statistics import sums
from analysis.knowledge.vocabulary import canonical
from analysis.measures import idle
from analysis.show.render import percent, plural
from analysis.show.sheet import in_prose
from profiling import names

if TYPE_CHECKING:
    from analysis.measures.window import MeasuredWindow

LAUNCH_RANGE: Final = 0.5
"""A range is launch-bound when the GPU is idle for most of its time."""

NAMED: Final = 3
"""How many ranges a line names at most."""

MOST: Final = 0.5
"""What lies in some ranges is most of it from here on."""

WORTH_A_WORD: Final = 0.1
"""Of the lost time: how much of it lies in no range is said from here on, where most does not."""

THE_SAME: Final = 0.9
"""A range inside another that holds this share of what the other lost is the same finding."""

OURS: Final = frozenset((names.STEP, *names.PHASES, names.BLOCK, names.ATTENTION, *names.LEAVES))
"""What our vocabulary calls ranges: those names are kept before others for the same."""


class Whereabouts(NamedTuple):
    """Where the host was.

    Attributes:
        words: that follow a time; "" where there is nothing to say.
        range: the name of the one range that holds most of it; None where that is no one range.
    """

    words: str
    range: str | None


def whereabouts(measured: MeasuredWindow, chosen: Bools) -> Whereabouts:
    """Return in which ranges the host was for most of the chosen gaps, ``(G,)``.

    What lies in no range is ranked beside the ranges, never left out.
    """
    ranges = measured.attribution.ranges
    if not len(ranges):
        return Whereabouts("", None)
    gaps = measured.idle.take(np.flatnonzero(chosen))
    lost: dict[str, int] = {}
    for name, time in zip(idle.host_ranges(gaps, ranges), gaps.duration_ns.tolist(), strict=True):
        label = canonical(name)
        lost[label] = lost.get(label, 0) + time
    total = max(sum(lost.values()), 1)
    nowhere = lost.pop("", 0) / total
    in_none = f"{percent(nowhere)} of it in no range"
    ordered = without_repeats(measured, lost)
    if nowhere >= MOST or not ordered:
        first = lost[ordered[0]] / total if ordered else 0.0
        beside = f" and {percent(first)} in {in_prose(ordered[0])}" if first >= WORTH_A_LINE else ""
        return Whereabouts(f", {in_none}{beside}", None)
    rest = f", {in_none}" if nowhere >= WORTH_A_WORD else ""
    kept = fewest(ordered, lost, MOST * total)
    if kept:
        one = kept[0] if len(kept) == 1 else None
        return Whereabouts(f", most of it in {in_a_row(kept)}{rest}", one)
    most = f"{in_prose(ordered[0])} ({percent(lost[ordered[0]] / total)})"
    spread = f", spread over {plural(len(lost), 'range')}, the most in {most}"
    return Whereabouts(spread + rest, None)


def fewest(ordered: Sequence[str], lost: dict[str, int], enough_ns: float) -> list[str]:
    """Return the fewest of the first names that lost enough together, none if too many do.

    >>> fewest(["a", "b", "c"], {"a": 3, "b": 2, "c": 1}, 4)
    ['a', 'b']
    """
    for count in range(1, NAMED + 1):
        if sum(lost[label] for label in ordered[:count]) >= enough_ns:
            return list(ordered[:count])
    return []


def in_a_row(labels: Sequence[str]) -> str:
    """Return names as an enumeration.

    >>> in_a_row(["a"]), in_a_row(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    *others, last = map(in_prose, labels)
    return " and ".join(part for part in (", ".join(others), last) if part)


def launch_bound(measured: MeasuredWindow) -> list[str]:
    """Return the names of ranges in which the GPU was idle for most of the time, worst first.

    Operators' own ranges (``aten::…``, autograd's) are left out: nobody fuses one operator.
    """
    ranges, kept = measured.attribution.ranges, np.flatnonzero(measured.chosen.ranges)
    window, lost = (
        sums(ranges.name[kept], time_ns[kept], len(ranges.names))
        for time_ns in (measured.sums.window_ns, measured.sums.idle_ns)
    )
    totals: dict[str, list[int]] = {}
    for name, size, gone in zip(ranges.names, window.tolist(), lost.tolist(), strict=True):
        if size and "::" not in name and "Backward0" not in name:
            total = totals.setdefault(canonical(name), [0, 0])
            total[0] += size
            total[1] += gone
    bound = {
        label: gone
        for label, (size, gone) in totals.items()
        if gone > LAUNCH_RANGE * size and gone > WORTH_A_LINE * measured.wall_ns
    }
    return without_repeats(measured, bound)[:NAMED]


def without_repeats(measured: MeasuredWindow, lost: dict[str, int]) -> list[str]:
    """Return the names of ranges by lost time, one for ranges that lost the same time.

    Of two that lie in each other and lost nearly the same, one is kept: that of our vocabulary,
    else the inner one, which tells more.

    Args:
        measured: the ranges.
        lost: in ns, by label.
    """
    kept: list[str] = []
    for label in sorted(lost, key=lambda label: -lost[label]):
        for place, other in enumerate(kept):
            low, high = sorted((lost[label], lost[other]))
            if low < THE_SAME * high:
                continue
            if lies_inside(measured, label, other):
                if label in OURS or other not in OURS or other == names.STEP:
                    kept[place] = label
                break
            if lies_inside(measured, other, label):
                if label in OURS and other not in OURS and label != names.STEP:
                    kept[place] = label
                break
        else:
            kept.append(label)
    return kept


def lies_inside(measured: MeasuredWindow, inner: str, outer: str) -> bool:
    """Return whether all ranges of one name lie in ranges of another, warm-up left out."""
    ranges = measured.attribution.ranges.take(measured.chosen.ranges)
    labels = np.array([canonical(name) for name in ranges.names], object)
    small, big = (ranges.take(labels[ranges.name] == label) for label in (inner, outer))
    around = innermost_of_any(
        Intervals(big.process, big.start_ns, big.end_ns),
        Intervals(small.process, small.start_ns, small.end_ns),
    )
    return bool((around != NONE).all())
