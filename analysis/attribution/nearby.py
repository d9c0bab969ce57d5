"""The ranges that an answer about a stretch of a recording needs: of many most lie elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from analysis.arithmetic.intervals import NONE
from analysis.attribution.origin import autograd_number
from analysis.source import tables
from profiling import names

if TYPE_CHECKING:
    from analysis.arithmetic.arrays import Bools
    from analysis.attribution.inferred import Marked
    from analysis.recorded.ranges import Ranges
    from analysis.source.readers.stretch import Stretch

TELLING: Final = {
    *(names.STEP, names.WARMUP, *names.PHASES),
    *names.ATTENTION_PARTS,
    names.FUSED_ATTENTION,
}
"""Ranges that are counted, or looked for, in all of a report whatever part of it is asked for."""


def ranges_near(marked: Marked, stretch: Stretch, more: Bools) -> Marked:
    """Return the ranges that may count in a stretch, and those that tell something of the report.

    All of them are returned where ranges elsewhere tell what those in the stretch are: where they
    lead from the backward to the forward pass, or carry FLOPs.

    Args:
        marked: the ranges, ``R`` of them.
        stretch: of what process, and when.
        more: ``(R,)`` which further ranges are wanted.
    """
    ranges = marked.ranges
    if tell_of_each_other(ranges):
        return marked
    near = (ranges.start_ns <= stretch.end_ns) & (ranges.end_ns >= stretch.start_ns)
    if stretch.process is not None:
        near &= ranges.process == stretch.process
    near |= ranges.where(lambda name: name in TELLING) | more
    return replace(marked, ranges=ranges.take(near))


def tell_of_each_other(ranges: Ranges) -> bool:
    """Return whether ranges carry FLOPs, or lead to others by autograd's numbers or their names."""
    leads = (
        name.endswith(names.BACKWARD_SUFFIX) or autograd_number(name) != NONE
        for name in ranges.names
    )
    return any(leads) or bool((ranges.payload != tables.MISSING).any())
