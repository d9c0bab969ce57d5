"""What of a step each part takes: work of every category, copies, no work; recorded or predicted.

What a part was predicted to take and what it took afterwards say where a prediction failed. Times
of work are those of all devices together, each in the step that launched it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.statistics import sums
from analysis.knowledge.categories import CATEGORIES
from analysis.measures.predictions.scope import scope, scope_of_ranges
from analysis.measures.step_contents import busy_by_step
from analysis.show.errors import ReportError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from analysis.arithmetic.arrays import Bools
    from analysis.attribution.launches import Attribution
    from analysis.attribution.steps import Steps
    from analysis.measures.predictions.change import Change
    from analysis.measures.predictions.times import Times

CATEGORY, RANGE, REST = "category", "range", "rest"
"""The kinds of parts: ranges that a change names lie across the others, which share a step."""

COPIES: Final = "copies and sets"
IDLE: Final = "idle"
OUTSIDE: Final = "outside operators"


class PartName(NamedTuple):
    """One part of a step: its kind and what it is called."""

    kind: str
    name: str


@dataclass(frozen=True)
class Ran:
    """A run in its windows, which are its steps, or the run as one; recorded or predicted.

    Attributes:
        attribution: the work.
        steps: the steps, or None for the run as one.
        wall_ns: ``(C,)`` what each window takes.
        took_ns: ``(M,)`` what each piece of work takes; see `Times`.
        end_ns: ``(M,)`` when it ends.
    """

    attribution: Attribution
    steps: Steps | None
    wall_ns: Int64
    took_ns: Int64
    end_ns: Int64

    @classmethod
    def of(cls, attribution: Attribution, steps: Steps | None, times: Times) -> Ran:
        """Return a run that took, or takes, some times."""
        wall_ns = np.array([times.whole_ns], np.int64) if steps is None else times.step_ns
        return cls(attribution, steps, wall_ns, times.took_ns, times.end_ns)

    @property
    def window_ns(self) -> int:
        """The median of the windows."""
        return middle(self.wall_ns)

    @cached_property
    def number(self) -> Int64:
        """``(M,)`` the window that launched each piece of work, or `NONE`."""
        if self.steps is None:
            return np.zeros(len(self.took_ns), np.int64)
        launches = self.attribution.all_launches
        return self.steps.at(launches.start_ns, launches.process)

    def sums(self, group: Int64, groups: int) -> Int64:
        """Return ``(groups, C)`` the time of work in each window, by a group for each piece.

        Args:
            group: ``(M,)`` from 0, or `NONE` for work that is in none.
            groups: how many there are.
        """
        count = len(self.wall_ns)
        rows = np.flatnonzero((group != NONE) & (self.number != NONE))
        place = group[rows] * count + self.number[rows]
        return sums(place, self.took_ns[rows], groups * count).reshape(groups, count)

    def parts(self, ranges: Mapping[str, Bools]) -> dict[PartName, int]:
        """Return what each part of a window takes, in ns, the median over windows.

        A GPU is idle when no work that the window launched runs, for as long as the window is
        open; several GPUs' idle times are added up.

        Args:
            ranges: by the names of ranges, ``(M,)`` which work is theirs; it is told besides.
        """
        work = self.attribution.work
        names = [PartName(CATEGORY, label) for label in CATEGORIES]
        names.append(PartName(REST, OUTSIDE if work.on_cpu else COPIES))
        labels = np.array([CATEGORIES.index(label) for label in work.categories], np.int64)
        group = np.full(len(self.took_ns), len(CATEGORIES))
        group[: len(work)] = labels[work.kind]
        by_group = self.sums(group, len(names))
        there = np.bincount(group, minlength=len(names)) > 0
        if work.on_cpu:
            by_group[-1] = (self.wall_ns - by_group.sum(0)).clip(0)
            there[-1] = True
        found = {name: by_group[place] for place, name in enumerate(names) if there[place]}
        if not work.on_cpu:
            device, count = self.attribution.device.device, len(self.wall_ns)
            started = self.end_ns - self.took_ns
            busy = busy_by_step(started, self.end_ns, device, self.number, count)
            gpus = len(np.unique(device[: len(work)]))
            found[PartName(REST, IDLE)] = (self.wall_ns * gpus - busy).clip(0)
        for name, mask in ranges.items():
            found[PartName(RANGE, name)] = self.sums(np.where(mask, 0, NONE), 1)[0]
        return {part: middle(times_ns) for part, times_ns in found.items()}


def middle(times_ns: Int64) -> int:
    """Return the median of some times in whole nanoseconds; 0 of none."""
    return round(float(np.median(times_ns))) if len(times_ns) else 0


def work_of_ranges(attribution: Attribution, names: Iterable[str]) -> dict[str, Bools]:
    """Return ``(M,)`` the work of ranges by their names; none where there is no range of a name."""
    found = {}
    for name in names:
        try:
            found[name] = scope_of_ranges(attribution, name).work
        except ReportError:
            found[name] = np.zeros(len(attribution.all_launches.thread), np.bool_)
    return found


def changed_ranges(attribution: Attribution, change: Change) -> list[str]:
    """Return the names in a change that stand for ranges of a run, each once.

    Raises:
        ReportError: there is nothing of a name.
    """
    scaled = [name for name in change.scale if scope(attribution, name).ranges is not None]
    return list(dict.fromkeys([*scaled, *change.remove, *change.graph]))
