"""Advice on an idle GPU: waiting for launches, for a late host, or after it was waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.advice.finding import WORTH_A_LINE, Finding, more, wall_share
from analysis.arithmetic.arrays import Bools
from analysis.arithmetic.containment import Intervals, innermost_of_any
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.statistics import sums
from analysis.knowledge.vocabulary import canonical
from analysis.measures import idle
from analysis.show.render import duration, percent, plural
from profiling import names

if TYPE_CHECKING:
    from analysis.measures.window import MeasuredWindow

LAUNCH_IDLE: Final = 0.2
"""A GPU that waits longer for launches gains more from fewer of them than from faster kernels."""

LAUNCH_RANGE: Final = 0.5
"""A range is launch-bound when the GPU is idle for most of its time."""

NAMED: Final = 3
"""How many ranges a line names at most."""

THE_SAME: Final = 0.9
"""A range inside another that holds this share of what the other lost is the same finding."""

OURS: Final = frozenset((names.STEP, *names.PHASES, names.BLOCK, names.ATTENTION, *names.LEAVES))
"""What our vocabulary calls ranges: those names are kept before others for the same."""


def synchronisation(measured: MeasuredWindow) -> Finding | None:
    """Return advice on idle time of the GPU after the host had waited for it."""
    found = measured.idle
    chosen = measured.gaps & (found.cause == idle.SYNCHRONISATION)
    lost = int(found.duration_ns[chosen].sum())
    share = wall_share(measured, lost)
    if share < WORTH_A_LINE:
        return None
    where = where_mostly(measured, chosen)
    return Finding(
        "synchronisation",
        f"the GPU was idle for {duration(lost)} ({percent(share)}) after the host had waited "
        f"for it{where}: leave .item(), .cpu() and synchronize() out of the loop",
        more(measured, "analysis.gaps"),
        time_ns=lost,
        share=share,
    )


def where_mostly(measured: MeasuredWindow, chosen: Bools) -> str:
    """Return in words the ranges that the host mostly was in during the chosen gaps, ``(G,)``."""
    where = idle.host_ranges(measured.idle, measured.attribution.ranges)
    lost: dict[str, int] = {}
    time = measured.idle.duration_ns
    for row in np.flatnonzero(chosen).tolist():
        label = canonical(where[row])
        lost[label] = lost.get(label, 0) + int(time[row])
    lost.pop("", None)
    first = without_repeats(measured, lost)[:NAMED]
    return f", most of it in {in_a_row(first)}" if first else ""


def in_a_row(labels: list[str]) -> str:
    """Return names as an enumeration.

    >>> in_a_row(["a"]), in_a_row(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join(part for part in (", ".join(labels[:-1]), labels[-1]) if part)


def launch_latency(measured: MeasuredWindow) -> Finding | None:
    """Return advice on a GPU that waits for launches, with the ranges that are launch-bound."""
    short = measured.idle.duration_ns < idle.RESUME_NS
    chosen = late_gaps(measured) & short
    lost = int(measured.idle.duration_ns[chosen].sum())
    share = wall_share(measured, lost)
    if share < LAUNCH_IDLE:
        return None
    bound = launch_bound(measured)
    where = f"; launch-bound: {in_a_row(bound)}" if bound else where_mostly(measured, chosen)
    return Finding(
        "launch-latency",
        f"the GPU waited {duration(lost)} ({percent(share)} of the time) for launches{where}: "
        "launch less (torch.compile, CUDA graphs with mode='reduce-overhead', fused "
        "operators) or give each launch more (a larger batch)",
        more(measured, "analysis.gaps"),
        time_ns=lost,
        share=share,
    )


def busy_host(measured: MeasuredWindow) -> Finding | None:
    """Return advice on a GPU that waits for a host which does something else than launching."""
    time = measured.idle.duration_ns
    chosen = late_gaps(measured) & (time >= idle.RESUME_NS)
    lost = int(time[chosen].sum())
    share = wall_share(measured, lost)
    if share < WORTH_A_LINE:
        return None
    return Finding(
        "busy-host",
        f"the GPU was idle for {duration(lost)} ({percent(share)} of the time) in "
        f"{plural(int(chosen.sum()), 'gap')} of {duration(idle.RESUME_NS)} or more while the host "
        f"did something else"
        f"{where_mostly(measured, chosen)}: do that ahead or on another thread (DataLoader "
        "workers, prefetching, asynchronous saving)",
        more(measured, "analysis.gaps"),
        time_ns=lost,
        share=share,
    )


def late_gaps(measured: MeasuredWindow) -> Bools:
    """Return ``(G,)`` which gaps a late host, or the latency of a launch, caused."""
    causes = (idle.HOST, idle.LAUNCH_LATENCY)
    chosen: Bools = measured.gaps & np.isin(measured.idle.cause, causes)
    return chosen


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
