"""Which work is attention's: of its parts with what they bring about in backward, or fused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools
from analysis.attribution import work_phases
from analysis.attribution.launches import launched_inside

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.attribution.origin import Origin
    from analysis.recorded.work import Work

CATEGORY: Final = "attention"
"""Of kernels that do all of attention."""

BACKWARD: Final = re.compile(r"bwd|backward", re.IGNORECASE)
"""What the fused kernels of the backward pass have in their names."""


def is_fused(work: Work) -> Bools:
    """Return ``(N,)`` which work is of a kernel that does all of attention."""
    return work.in_category(CATEGORY)


def is_backward_kernel(work: Work) -> Bools:
    """Return ``(N,)`` which work belongs to a backward pass by the name of its kernel."""
    late = [BACKWARD.search(name) is not None for name in work.names]
    result: Bools = np.array(late, np.bool_)[work.kind]
    return result


def work_of_part(attribution: Attribution, part: str, came_from: Origin) -> tuple[Bools, Bools]:
    """Return the work of one part of attention, in forward and in backward.

    Args:
        attribution: the attributed work.
        part: the canonical name of its range.
        came_from: where that work comes from.

    Returns:
        ``(N,)`` each; nothing is in both, and nothing in either where no range is called so.
    """
    none = np.zeros(len(attribution.work.kind), np.bool_)
    chosen = attribution.ranges.called(part)
    if not chosen.any():
        return none, none
    forward = work_phases.work_inside(attribution, chosen)[: len(none)]
    later = launched_inside(attribution.ranges.take(chosen), came_from.creator)
    return forward, later & ~forward
