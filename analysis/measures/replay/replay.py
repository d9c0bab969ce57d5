"""The replay itself: the times at which calls return and work ends, given the lags between.

Everything begins when the last of what it follows on has ended, plus its lag: nothing else. So a
shorter lag never makes anything later, and nothing is saved that was not on the way to the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.intervals import NONE
from analysis.measures.replay.lags import NEVER, Lags

if TYPE_CHECKING:
    from analysis.measures.replay.recorded_run import RecordedRun

CALL, LAUNCH, WAITING_CALL, WORK, RETURN, MEETING = range(6)
"""What a step of the replay is: a call alone, one that starts work and does not wait for any, one
that may do both, work alone, the return of a call whose wait is decided later, and the end of a
collective of several devices."""


@dataclass(frozen=True)
class Replayed:
    """When each call began and returned and each piece of work ran, from the origin, in ns.

    Attributes:
        start_ns: ``(K,)``.
        end_ns: ``(K,)``.
        work_start_ns: ``(M,)``.
        work_end_ns: ``(M,)``.
    """

    start_ns: Int64
    end_ns: Int64
    work_start_ns: Int64
    work_end_ns: Int64


@dataclass(frozen=True)
class Score:
    """The order in which a run is replayed.

    Attributes:
        run: what is replayed.
    """

    run: RecordedRun

    @cached_property
    def steps(self) -> tuple[list[int], list[int], list[int]]:
        """``(T,)`` what each step is, which call, and which work; `NONE` where it has none."""
        run = self.run
        chain, order, lines = run.chain, run.order, run.order.lines
        calls, count = len(chain), len(run.done)
        node, key = order.node, lines.turn_ns
        position = np.empty(count, np.int64)
        position[lines.order] = np.arange(count)
        # The first work of each call, if nothing keeps it from going with the call.
        with_call = np.full(calls, NONE, np.int64)
        first = np.ones(count, np.bool_)  # on its stream, with that key
        first[lines.order[1:]] = (np.diff(key[lines.order]) > 0) | (
            np.diff(lines.stream[lines.order]) > 0
        )
        begun = chain.start_ns[node] if calls else key
        met = order.meetings
        at_once = np.flatnonzero(first & (node != NONE) & (key <= begun) & (met.group == NONE))
        by_place = at_once[np.argsort(-position[at_once], kind="stable")]
        with_call[node[by_place]] = by_place
        own = run.waits.own
        clash = (own != NONE) & (with_call != own)
        with_call[clash] = NONE
        alone = np.ones(count, np.bool_)
        alone[with_call[with_call != NONE]] = False
        late = np.zeros(calls, np.bool_)  # calls that wait for work which comes after their start
        of_wait = run.waits.node
        later = (order.ended_turn_ns[run.waits.work] >= chain.start_ns[of_wait]) & (
            with_call[of_wait] != run.waits.work
        )
        late[of_wait[later]] = True
        general = np.zeros(calls, np.bool_)
        general[of_wait] = True
        has_edges = np.zeros(count, np.bool_)
        has_edges[order.edge_to] = True
        some = with_call != NONE
        general[~some & (order.full_queue != NONE)] = True
        general[some] |= has_edges[with_call[some]]
        kind = np.where(general, WAITING_CALL, np.where(some, LAUNCH, CALL))
        rows, returning = np.flatnonzero(alone), np.flatnonzero(late)
        ends = np.arange(met.count)
        when = np.concatenate([chain.start_ns, key[rows], met.last(key), chain.end_ns[returning]])
        # At one instant calls return, then others begin, then work does: none of it at the instant
        # at which a call returns that waits for it.
        sizes = [calls, len(rows), len(ends), len(returning)]
        rank = np.repeat([1, 2, 3, 0], sizes)
        inner = np.concatenate([np.arange(calls), position[rows], ends, returning])
        sequence = np.lexsort((inner, rank, when))
        alone_ = np.full(len(rows), WORK), np.full(len(ends), MEETING)
        kinds = np.concatenate([kind, *alone_, np.full(len(returning), RETURN)])[sequence]
        which = np.concatenate([np.arange(calls), node[rows], ends, returning])[sequence]
        none = np.full(len(ends) + len(returning), NONE)
        work = np.concatenate([with_call, rows, none])[sequence]
        return kinds.tolist(), which.tolist(), work.tolist()

    @cached_property
    def targets(self) -> dict[int, list[int]]:
        """For each call that waits, the positions of its pairs among the waits."""
        return grouped(self.run.waits.node)

    @cached_property
    def edges(self) -> dict[int, list[int]]:
        """For each work that follows on work of other streams, the positions of its edges."""
        return grouped(self.run.order.edge_to)

    @cached_property
    def parts(self) -> dict[int, list[int]]:
        """For each collective of several devices, the work that is part of it."""
        parts = grouped(self.run.order.meetings.group)
        parts.pop(NONE, None)
        return parts

    @cached_property
    def _late(self) -> set[int]:
        kinds, which, _ = self.steps
        return {call for kind, call in zip(kinds, which, strict=True) if kind == RETURN}

    def replay(self, lags: Lags, *, waiting: bool = True) -> Replayed:
        """Return the times of a replay.

        Args:
            lags: the times that it adds up.
            waiting: whether calls wait; a replay in which none does shows what waits are worth.
        """
        run = self.run
        origin = run.chain.origin_ns
        end, start = [0] * (len(run.chain) + 1), [0] * (len(run.chain) + 1)
        done = [0] * len(run.done) + [NEVER]  # which position -1, of no work, finds
        source, before = run.chain.before.tolist(), run.order.before.tolist()
        room = run.order.full_queue.tolist()
        gap, host, queue = lags.gap_ns.tolist(), lags.host_ns.tolist(), lags.queue_ns.tolist()
        lag, follow = lags.lag_ns.tolist(), lags.follow_ns.tolist()
        took, late_by = lags.took_ns.tolist(), lags.late_ns.tolist()
        after = (lags.late_ns + lags.took_ns).tolist()
        through = (lags.gap_ns + lags.host_ns).tolist()
        targets, tail, waited = self.targets, lags.tail_ns.tolist(), run.waits.work.tolist()
        edges, edge, other = self.edges, lags.edge_ns.tolist(), run.order.edge_from.tolist()
        own, late, held = run.waits.own.tolist(), self._late, run.waits.waiting.tolist()
        unknown = run.done.start_ns - origin
        group, come = run.order.meetings.group.tolist(), [NEVER] * run.order.meetings.count
        parts, came = self.parts, dict[int, int]()
        for kind, call, work in zip(*self.steps, strict=True):
            if kind == LAUNCH:
                before_call = end[source[call]]
                start[call] = before_call + gap[call]
                time = before_call + through[call]
                if waiting:
                    free = done[room[call]] + queue[call]
                    if free > time:
                        time = free
                end[call] = time
                time += lag[work]
                free = done[before[work]] + follow[work]
                if free > time:
                    time = free
                done[work] = time + after[work]
            elif kind == CALL:
                before_call = end[source[call]]
                start[call] = before_call + gap[call]
                end[call] = before_call + through[call]
            elif kind == MEETING:
                for part in parts[call]:
                    done[part] = come[call] + took[part]
            else:
                if kind == WAITING_CALL:
                    begin = start[call] = end[source[call]] + gap[call]
                    time = begin + host[call]
                    if waiting:
                        time = max(time, done[room[call]] + queue[call])
                    if waiting and call not in late:
                        for pair in targets.get(call, ()):
                            if waited[pair] != own[call]:
                                time = max(time, done[waited[pair]] + tail[pair])
                    end[call] = time
                    launched = begin if held[call] else time
                elif kind == WORK:
                    launched = NEVER
                    if call != NONE:
                        launched = start[call] if held[call] else end[call]
                if work != NONE:
                    time = done[before[work]] + follow[work]
                    if launched != NEVER:
                        time = max(time, launched + lag[work])
                    for pair in edges.get(work, ()):
                        time = max(time, done[other[pair]] + edge[pair])
                    if time < NEVER // 2:  # nothing that it follows on is known
                        time = int(unknown[work])
                    time += late_by[work]
                    done[work] = time + took[work]
                    if group[work] != NONE:
                        came[work] = time
                        come[group[work]] = max(come[group[work]], time)
                if (waiting and kind == RETURN) or (kind == WAITING_CALL and call not in late):
                    for pair in targets.get(call, ()):
                        if waiting and (kind == RETURN or waited[pair] == own[call]):
                            end[call] = max(end[call], done[waited[pair]] + tail[pair])
        work_end_ns = np.array(done[:-1], np.int64)
        work_start_ns = work_end_ns - lags.took_ns
        for work, time in came.items():
            work_start_ns[work] = time
        return Replayed(
            np.array(start[:-1], np.int64),
            np.array(end[:-1], np.int64),
            work_start_ns,
            work_end_ns,
        )


def grouped(owner: Int64) -> dict[int, list[int]]:
    """Return the positions at which each number stands in an array."""
    result: dict[int, list[int]] = {}
    for place, number in enumerate(owner.tolist()):
        result.setdefault(number, []).append(place)
    return result
