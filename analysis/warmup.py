"""Warm-up: what of the work and of the ranges belongs to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from analysis.attribution import within
from analysis.render import duration, percent

if TYPE_CHECKING:
    from analysis.attribution import Attribution
    from analysis.nvtx import Ranges

Bools = npt.NDArray[np.bool_]


def counted(found: Attribution, *, exclude_warmup: bool = True) -> Bools:
    """Return which work counts: all of it, or what was not launched during a warm-up range."""
    if exclude_warmup and len(found.warmup):
        return ~found.work_in_warmup
    return np.ones(len(found.work.kind), np.bool_)


def outside(found: Attribution, ranges: Ranges) -> Bools:
    """Return which of some ranges did not begin during a warm-up range."""
    return ~within(ranges.start_ns, ranges.process, found.warmup)


def note(found: Attribution, *, excluded: bool) -> tuple[str, ...]:
    """Return a line that says how much of the work was warm-up; none where none was."""
    if not len(found.warmup):
        return ()
    time = found.work.duration_ns
    warm = int(time[found.work_in_warmup].sum())
    share = percent(warm / max(int(time.sum()), 1))
    what = "left out" if excluded else "included; --exclude warmup leaves it out"
    return (f"{duration(warm)}, {share} of the work, was warm-up: {what}",)
