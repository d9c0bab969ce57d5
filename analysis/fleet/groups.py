"""Ranks of one run beside one another: what they share, on one clock, and who was late to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.arrays import Float64, Int64
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.statistics import sums
from analysis.fleet.summary import WORK, RankSummary
from analysis.measures.alignment import CLOCKS_APART_NS, ONE_RUN, ClockAlignment, align_clocks
from analysis.measures.ranks.collective_rows import LateComers, place_labels
from analysis.measures.ranks.waiting import MetCollectives, met_collectives
from analysis.measures.step_budget import PARTS
from analysis.show.errors import ReportError
from analysis.source.tables import MISSING

if TYPE_CHECKING:
    from analysis.measures.collectives import DeviceCollectives

GREW: tuple[int, ...] = tuple(place for place, part in enumerate(PARTS) if part != "communication")
"""The parts of a step that make a rank late: in communication are those that wait for it."""


@dataclass(frozen=True)
class Group:
    """The ranks that did the same work, by rank.

    Attributes:
        number: from 0; the group with most ranks is the first.
        ranks: ``R`` of them.
    """

    number: int
    ranks: tuple[RankSummary, ...]

    @cached_property
    def places(self) -> list[DeviceCollectives]:
        """``(P,)`` the collectives of all devices of all ranks."""
        return [place for rank in self.ranks for place in rank.places]

    @cached_property
    def rank_of_place(self) -> Int64:
        """``(P,)`` the position of the rank that each place is of."""
        return np.repeat(np.arange(len(self.ranks)), [len(rank.places) for rank in self.ranks])

    @cached_property
    def labels(self) -> list[str]:
        """``(P,)`` what each place is called: see `place_labels`."""
        return [label for rank in self.ranks for label in place_labels(rank.rank, rank.places)]

    @cached_property
    def clocks(self) -> ClockAlignment:
        """The differences of the clocks of the ranks that have collectives."""
        some = [rank for rank in self.ranks if rank.places]
        if not some:
            return ClockAlignment(np.zeros(0, np.int64), 0, 0)
        return align_clocks([rank.places[0] for rank in some], [rank.began_ns for rank in some])

    @cached_property
    def met(self) -> MetCollectives:
        """The collectives that places share, and what each waited in them."""
        count = [len(rank.places) for rank in self.ranks if rank.places]
        return met_collectives(self.places, np.repeat(self.clocks.offset_ns, count))

    @cached_property
    def late(self) -> LateComers:
        """Who came last to each of those."""
        return LateComers.of(self.met, [each for rank in self.ranks for each in rank.before])

    @cached_property
    def last_rank(self) -> Int64:
        """``(M,)`` the position of the rank that came last to each."""
        return self.rank_of_place[self.late.last]

    @cached_property
    def step_of_met(self) -> Int64:
        """``(M,)`` the step of the last rank in which each was launched, or `NONE`."""
        result = np.full(len(self.late.last), NONE, np.int64)
        for number, place in enumerate(self.places):
            mine = np.flatnonzero(self.late.last == number)
            launches, row = place.launches, self.met.row[number][mine]
            assert launches is not None, "of collectives of a report the launches are known"
            known = launches.thread[row] != MISSING
            instant = np.where(known, launches.start_ns[row], place.start_ns[row])
            rank = self.ranks[int(self.rank_of_place[number])]
            if not len(rank.step):
                continue
            order = np.argsort(rank.start_ns, kind="stable")
            at = np.searchsorted(rank.start_ns[order], instant, side="right") - 1
            result[mine] = np.where(at >= 0, rank.step[order[at.clip(0)]], rank.step[order[0]])
        return result

    @cached_property
    def steps(self) -> Int64:
        """``(S,)`` the numbers of the steps that any rank has."""
        return np.unique(np.concatenate([rank.step for rank in self.ranks]))

    @cached_property
    def wall_ns(self) -> Float64:
        """``(R, S)`` what each step took each rank, a device; NaN where it has none."""
        return self._of_steps([rank.wall_ns // rank.devices.clip(1) for rank in self.ranks])

    def parts_ns(self, part: int) -> Float64:
        """Return ``(R, S)`` what of each step one of `PARTS` took, a device."""
        columns = [rank.parts_ns[:, part] // rank.devices.clip(1) for rank in self.ranks]
        return self._of_steps(columns)

    def _of_steps(self, columns: Sequence[Int64]) -> Float64:
        result = np.full((len(self.ranks), len(self.steps)), np.nan)
        for row, rank, column in zip(result, self.ranks, columns, strict=True):
            row[np.searchsorted(self.steps, rank.step)] = column
        return result

    @cached_property
    def grew_ns(self) -> Float64:
        """``(R, S, parts)`` how much more each part of a step took than in the median rank."""
        grew = []
        for part in GREW:
            times = self.parts_ns(part)
            known = ~np.isnan(times).all(axis=0)
            middle = np.full(times.shape[1], np.nan)
            middle[known] = np.nanmedian(times[:, known], axis=0)
            grew.append(times - middle)
        return np.stack(grew, axis=-1)

    def cause(self, rank: int, step: int) -> tuple[str, int]:
        """Return which part of a step grew most against the median rank, and by how much.

        Both are empty where none grew, or the step is not known.
        """
        column = int(np.searchsorted(self.steps, step))
        if step == NONE or column >= len(self.steps) or self.steps[column] != step:
            return "", 0
        grew = np.nan_to_num(self.grew_ns[rank, column], nan=-1)
        most = int(grew.argmax())
        return (PARTS[GREW[most]], int(grew[most])) if grew[most] > 0 else ("", 0)

    @cached_property
    def cost_ns(self) -> Int64:
        """``(R, S)`` what the others waited for each rank in each step."""
        rows = np.flatnonzero(self.step_of_met != NONE)
        column = np.searchsorted(self.steps, self.step_of_met[rows])
        key = self.last_rank[rows] * len(self.steps) + column
        size = len(self.ranks) * len(self.steps)
        return sums(key, self.late.cost_ns[rows], size).reshape(len(self.ranks), len(self.steps))


def groups_of(ranks: Sequence[RankSummary]) -> tuple[list[Group], list[str]]:
    """Return the ranks by the work they did and when, and notes on how the groups differ.

    Raises:
        ReportError: two reports of one group are of the same rank.
    """
    parts: dict[tuple[object, ...], list[RankSummary]] = {}
    for rank in ranks:
        parts.setdefault(tuple(rank.work.get(key, "") for key in WORK), []).append(rank)
    apart = [one for part in parts.values() for one in _of_one_time(part)]
    made = []
    for number, part in enumerate(sorted(apart, key=lambda one: -len(one))):
        known: dict[str, RankSummary] = {}
        for rank in part:
            if rank.rank in known:
                problem = f"of rank {rank.rank}, as {known[rank.rank].path} is"
                raise ReportError(rank.path, problem, ONE_RUN)
            known[rank.rank] = rank
        made.append(Group(number, tuple(sorted(part, key=_by_rank))))
    return made, _differences(made)


def _by_rank(rank: RankSummary) -> tuple[bool, int, str]:
    is_number = rank.rank.isdecimal()
    return not is_number, int(rank.rank) if is_number else 0, rank.rank


def _of_one_time(ranks: Sequence[RankSummary]) -> list[list[RankSummary]]:
    """Return ranks apart that were recorded one after the other: no rank waits for the other."""
    known = sorted(
        (rank.began_ns + rank.first_ns, rank.began_ns + rank.last_ns, place)
        for place, rank in enumerate(ranks)
        if rank.began_ns is not None
    )
    number, until, group = -1, 0, np.zeros(len(ranks), np.int64)
    for first, last, place in known:
        if number < 0 or first > until + CLOCKS_APART_NS:
            number += 1
            until = last
        until = max(until, last)
        group[place] = number
    return [
        [rank for place, rank in enumerate(ranks) if group[place] == one]
        for one in range(max(number, 0) + 1)
    ]


def _differences(groups: Sequence[Group]) -> list[str]:
    """Return a note on each group but the first: in what its work differs from that."""
    notes = []
    for group in groups[1:]:
        here, first = group.ranks[0].work, groups[0].ranks[0].work
        told = [
            f"{key.replace('_', ' ')} {here.get(key, 'not said')}, not {first.get(key, 'said')}"
            for key in WORK
            if here.get(key) != first.get(key)
        ] or ["recorded at another time"]
        listed = ", ".join(rank.rank for rank in group.ranks)
        many = "ranks" if len(group.ranks) > 1 else "rank"
        notes.append(
            f"group {group.number}: {many} {listed} did other work ({'; '.join(told)}), and is not "
            "put together with the others"
        )
    return notes
