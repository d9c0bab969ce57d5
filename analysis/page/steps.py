"""The lines of the page about its steps: how long each took, and what recording cost them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis.arithmetic.noise import LEVEL, judge
from analysis.attribution import steps
from analysis.measures.mfu import step_times
from analysis.show.render import duration, plural

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.source.report import Report

Times = npt.NDArray[np.float64]

FEWEST: Final = 3
"""Of two steps the spread is half a guess; the default of `make profile` is three."""

TRIMMED: Final = "trimmed"
"""The key under which `analysis.trim` says what it kept."""


def step_lines(report: Report, found: Attribution) -> list[str]:
    """Return the spread of the steps' times, recorded beside not recorded.

    Recorded steps are the step ranges in the file, as long as they were open on the host; where
    there is none, what the launcher noted of the run, unless only a part of that is in the file.

    Args:
        report: what was recorded.
        found: its ranges.
    """
    known = steps.of(found, exclude_warmup=not found.warmup_counts)
    noted, bare = (step_times(report, key) for key in ("step_ns", "unprofiled_step_ns"))
    cut = bool(report.run.get(TRIMMED))
    lines = []
    if known is not None:
        lines = [f"step, recorded: {spread(known.wall_ns.astype(np.float64))}"]
        lines += [f"steps: {note}" for note in known.notes]
    elif len(noted) and not cut:
        lines = [f"step, recorded: {spread(noted)}"]
    if len(bare):
        whole = ", in the run it was cut from" if cut else ""
        line = f"step, not recorded{whole}: {spread(bare)}"
        lines.append(f"{line}: {cost(noted, bare)}" if len(noted) else line)
    return lines


def slowdown(recorded: Times, bare: Times) -> float | None:
    """Return by how much recording slowed a step, as a share, or None where it cannot be told.

    That takes some steps of either kind, and means that lie further apart than chance would have
    them, given how much the steps of each kind differ (Welch's test, as in `analysis.compare`).

    Args:
        recorded: ``(S,)`` times of steps.
        bare: ``(T,)`` of steps that were not recorded.

    >>> fast, slow = np.array([100.0, 101.0, 102.0]), np.array([120.0, 121.0, 122.0])
    >>> print(round(slowdown(slow, fast), 3), slowdown(slow[:2], fast), slowdown(fast, fast + 1))
    0.198 None None
    """
    if min(len(recorded), len(bare)) < FEWEST:
        return None
    before, after = (times[None, :].astype(np.int64) for times in (bare, recorded))
    chance = float(judge(before, after).p[0])
    if not chance <= LEVEL:
        return None
    return float(np.median(recorded) / np.median(bare)) - 1


def cost(recorded: Times, bare: Times) -> str:
    """Return in words what recording cost a step, if that can be told."""
    if min(len(recorded), len(bare)) < FEWEST:
        return "too few steps to tell what recording costs"
    more = slowdown(recorded, bare)
    if more is None:
        return "what recording costs cannot be told, steps differ too much among themselves"
    if more < 0:
        return (
            f"recorded steps took {-more * 100:.1f} % less, so the two were not timed under the "
            "same conditions"
        )
    return f"recording cost {more * 100:+.1f} %"


def spread(times: Times) -> str:
    """Return the median of some times and how far they lie apart."""
    count = plural(len(times), "step")
    if len(times) == 1:
        return f"{duration(float(times[0]))} ({count})"
    ends = f"{duration(float(times.min()))} to {duration(float(times.max()))}"
    return f"median {duration(float(np.median(times)))} ({ends}, {count})"
