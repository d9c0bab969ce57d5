"""The steps of a report: when each was open, and what was launched in it.

A step is a range called `step`, or what other people call one; a range of a training loop that
PyTorch's profiler was scheduled over (``ProfilerStep#7``) is one too. Work belongs to the step that
was open in its process when it was launched, whichever thread launched it: autograd's has no
`step` range of its own. The first step of every process together is the first step, and so on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis.attribution import within
from analysis.intervals import NONE
from analysis.vocabulary import canonical
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution import Attribution
    from analysis.nvtx import Ranges

Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NUMBERED: Final = re.compile(r"ProfilerStep#\d+")
"""What `torch.profiler.profile.step` calls the range around each step."""


@dataclass(frozen=True)
class Steps:
    """When each step was open in each process; no two of one process overlap.

    Attributes:
        process: ``(W,)`` process ids, ascending.
        start_ns: ``(W,)`` ascending within a process.
        end_ns: ``(W,)``, exclusive.
        number: ``(W,)`` which step it is, from 0.
        notes: what keeps the steps from being alike.
    """

    process: Int64
    start_ns: Int64
    end_ns: Int64
    number: Int64
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many steps there are."""
        return int(self.number.max(initial=-1)) + 1

    @property
    def wall_ns(self) -> Int64:
        """``(count,)`` how long each step was open, in the process where it took longest."""
        longest = np.zeros(self.count, np.int64)
        np.maximum.at(longest, self.number, self.end_ns - self.start_ns)
        return longest

    def at(self, instant_ns: Int64, process: Int64) -> Int64:
        """Return the step that was open in a process at an instant, or `NONE`.

        Args:
            instant_ns: ``(N,)``.
            process: ``(N,)`` process ids.

        >>> window = [np.array(each) for each in ([7, 7], [0, 10], [10, 15], [0, 1])]
        >>> Steps(*window).at(np.array([9, 10, 15, 3]), np.array([7, 7, 7, 8])).tolist()
        [0, 1, -1, -1]
        """
        found = np.full(len(instant_ns), NONE, np.int64)
        for one in np.unique(self.process).tolist():
            windows = np.flatnonzero(self.process == one)
            rows = np.flatnonzero(process == one)
            last = np.searchsorted(self.start_ns[windows], instant_ns[rows], side="right") - 1
            window = windows[last.clip(0)]
            inside = (last >= 0) & (instant_ns[rows] < self.end_ns[window])
            found[rows] = np.where(inside, self.number[window], NONE)
        return found


def is_step(name: str) -> bool:
    """Return whether a range of this name is a step.

    >>> is_step("train_step"), is_step("ProfilerStep#12"), is_step("stepping stone")
    (True, True, False)
    """
    return canonical(name) == names.STEP or NUMBERED.fullmatch(name) is not None


def of(found: Attribution, *, exclude_warmup: bool = True) -> Steps | None:
    """Return the steps of a report, or None where no range is a step.

    Args:
        found: its ranges.
        exclude_warmup: leave out steps inside a warm-up range. If not, a warm-up range without a
            step inside is a step of its own: our launcher opens one for each.
    """
    ranges = found.ranges
    stepping = np.array([is_step(name) for name in ranges.names], np.bool_)[ranges.name]
    if exclude_warmup:
        stepping &= ~within(ranges.start_ns, ranges.process, found.warmup)
    chosen, overlapping = disjoint(ranges.take(stepping))
    if not exclude_warmup:
        bare = ~holding(found.warmup, chosen)
        warmup, _ = disjoint(found.warmup.take(bare))
        chosen, _ = disjoint(ranges_of(ranges, [chosen, warmup]))
    if not len(chosen):
        return None
    processes, begins, counts = np.unique(chosen.process, return_index=True, return_counts=True)
    number = np.arange(len(chosen)) - np.repeat(begins, counts)
    notes = []
    if overlapping:
        notes.append(f"{overlapping:,} step ranges began inside another; the outer ones count")
    if len(set(counts.tolist())) > 1:
        notes.append(
            f"processes have {counts.min()} to {counts.max()} steps: per step means per step of "
            f"the {len(processes)} processes together, and the last are not whole"
        )
    return Steps(chosen.process, chosen.start_ns, chosen.end_ns, number, tuple(notes))


def ranges_of(ranges: Ranges, parts: list[Ranges]) -> Ranges:
    """Return the ranges that are in one of the parts."""
    kept = np.zeros(len(ranges), np.bool_)
    for part in parts:
        wanted = np.stack([part.process, part.thread, part.start_ns, part.end_ns], axis=1)
        known = np.stack([ranges.process, ranges.thread, ranges.start_ns, ranges.end_ns], axis=1)
        kept |= (known[:, None] == wanted[None]).all(axis=2).any(axis=1)
    return ranges.take(kept)
