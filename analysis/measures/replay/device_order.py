"""The GPUs' part of a replay: what each piece of work follows on, on its stream and elsewhere.

Work runs no earlier than what was before it on its stream, its launch, and what its stream was made
to wait for: events, the legacy default stream, the one copy engine of a direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.intervals import NONE
from analysis.measures.replay.meetings import (
    Meetings,
    lines_with_meetings,
    meetings,
    no_meetings,
    participants,
)
from analysis.measures.replay.stream_lines import StreamLines, stream_lines
from analysis.measures.replay.stream_waits import Edges, StreamWaits, stream_waits
from analysis.recorded.device_work import COPY, KERNEL, SET
from analysis.source import device_tables

if TYPE_CHECKING:
    from analysis.measures.replay.host_chain import HostChain
    from analysis.recorded.device_work import DeviceWork

TOLERANCE_NS: Final = 5_000
"""Clocks of host and device agree to about this; a kernel may begin before its stream is free."""

QUEUE: Final = 1022
"""As many commands fit into the queue of a stream; a launch then waits for the one that far back.

Seen on an A100, where all long steady launches return 4 to 8 us after the operation 1,022 commands
earlier has ended, and on an H100 (1,022 to 1,023). Kernels, sets and copies within a device count.
"""

DEEPEST: Final = 64
"""So many pieces of work may overlap on one stream, as the branches of a graph do."""

INSIDE_DEVICE: Final = 8
"""`ENUM_CUDA_MEMCPY_OPER` of a copy from a device to itself."""

BLOCKING_STREAM, DEFAULT_STREAM = 1, 3
"""`ENUM_CUPTI_STREAM_TYPE`: the legacy default stream joins all blocking ones."""


@dataclass(frozen=True)
class DeviceOrder:
    """What each of ``M`` pieces of device work follows on.

    Attributes:
        lines: them by stream.
        stream_waits: what streams were made to wait for.
        node: ``(M,)`` the call in the host's chain that launched each, or `NONE`.
        before: ``(M,)`` what had ended before it on its stream, or `NONE`.
        edge_to: ``(E,)`` work that also follows on other work, ascending.
        edge_from: ``(E,)`` that work.
        full_queue: ``(K,)`` for each call of the host's chain the work that has to end before its
            launch fits into the queue, or `NONE`.
        meetings: which work of several devices is one collective.
    """

    lines: StreamLines
    stream_waits: StreamWaits
    node: Int64
    before: Int64
    edge_to: Int64
    edge_from: Int64
    full_queue: Int64
    meetings: Meetings

    @property
    def ended_turn_ns(self) -> Int64:
        """``(M,)`` the instant of its turn after which a replay knows when work has ended."""
        return self.meetings.ended_ns(self.lines.turn_ns)


def device_order(done: DeviceWork, chain: HostChain, collective: Bools) -> DeviceOrder:
    """Return what the device work of a report follows on, as far as its tables tell.

    What they do not tell, which events a stream waited for where nsys recorded none, is found by
    `late_edges`.

    Args:
        done: what the GPUs did.
        chain: the host's calls.
        collective: ``(M,)`` which work is a collective.
    """
    node = np.full(len(done), NONE, np.int64)
    known = done.call != NONE
    node[known] = chain.of_call[done.call[known]]
    lines = stream_lines(done, chain, node)
    held = stream_waits(done, lines)
    edges = [held.edges(), default_stream_edges(done, lines), engine_edges(done, lines)]
    to, source = (np.concatenate(part) for part in zip(*edges, strict=True))
    to, source = possible(done, lines, to, source)
    met = meetings(len(done), participants(done, collective))
    if met.count:
        raised = lines_with_meetings(lines, met, to, source)
        lines, met = (lines, no_meetings(len(done))) if raised is None else (raised, met)
    return DeviceOrder(
        lines=lines,
        stream_waits=held,
        node=node,
        before=before_on_stream(done, lines),
        edge_to=to,
        edge_from=source,
        full_queue=full_queues(done, lines, met.ended_ns(lines.turn_ns), node, chain),
        meetings=met,
    )


def before_on_stream(done: DeviceWork, lines: StreamLines) -> Int64:
    """Return ``(M,)`` the last work on each one's stream that had ended when it began, or `NONE`.

    Nearly always that is the one before; kernels of a graph's branches, and those that begin while
    their forerunner drains (programmatic dependent launch), overlap.
    """
    order = lines.order
    previous = np.append(NONE, order[:-1])[: len(order)]
    previous[lines.first[:-1][lines.first[:-1] < len(order)]] = NONE
    over = (previous != NONE) & (done.end_ns[previous] > done.start_ns[order] + TOLERANCE_NS)
    for place in np.flatnonzero(over).tolist():
        lowest = max(int(lines.first[lines.stream[order[place]]]), place - DEEPEST)
        limit = done.start_ns[order[place]] + TOLERANCE_NS
        free = np.flatnonzero(done.end_ns[order[lowest:place]] <= limit)
        previous[place] = order[lowest + free[-1]] if len(free) else NONE
    result = np.full(len(order), NONE, np.int64)
    result[order] = previous
    return result


def full_queues(
    done: DeviceWork, lines: StreamLines, ended_turn_ns: Int64, node: Int64, chain: HostChain
) -> Int64:
    """Return ``(K,)`` the work that must have ended before each call's launch fits, or `NONE`."""
    commands = (done.kind == KERNEL) | (done.kind == SET)
    commands[done.kind == COPY] = done.copied["copy_kind"] == INSIDE_DEVICE
    result = np.full(len(chain), NONE, np.int64)
    for low, high in zip(lines.first[:-1].tolist(), lines.first[1:].tolist(), strict=True):
        rows = lines.order[low:high]
        rows = rows[commands[rows]]
        late, back = rows[QUEUE:], rows[: max(len(rows) - QUEUE, 0)]
        late, back = late[node[late] != NONE], back[node[late] != NONE]
        call = node[late]
        full = (done.end_ns[back] <= chain.end_ns[call] + TOLERANCE_NS) & (
            ended_turn_ns[back] < chain.start_ns[call]
        )
        result[call[full]] = back[full]
    return result


def default_stream_edges(done: DeviceWork, lines: StreamLines) -> Edges:
    """Return how the work of the legacy default stream and of blocking streams takes turns.

    Not of streams that were seen to run beside it.
    """
    kinds = device_tables.stream_kinds(done.report)
    known = {
        (process, stream): kind
        for process, stream, kind in zip(*(kinds[name].tolist() for name in kinds), strict=True)
    }
    pairs = list(zip(lines.process.tolist(), lines.number.tolist(), strict=True))
    kind = np.array([known.get(pair, 0) for pair in pairs], np.int64)
    to, source = [], []
    for default in np.flatnonzero(kind == DEFAULT_STREAM).tolist():
        beside = (lines.process == lines.process[default]) & (lines.device == lines.device[default])
        for other in np.flatnonzero(beside & (kind == BLOCKING_STREAM)).tolist():
            both = [
                lines.order[lines.first[one] : lines.first[one + 1]] for one in (default, other)
            ]
            if overlapping(done, *both):
                continue
            for rows, there in ((both[0], other), (both[1], default)):
                last = lines.last_before(np.full(len(rows), there), lines.key_ns[rows])
                to.append(rows[last != NONE])
                source.append(last[last != NONE])
    none = np.empty(0, np.int64)
    return np.concatenate([none, *to]), np.concatenate([none, *source])


def overlapping(done: DeviceWork, one: Int64, other: Int64) -> bool:
    """Return whether work of one stream ran at the same time as work of another."""
    place = np.searchsorted(done.start_ns[one], done.end_ns[other] - TOLERANCE_NS, side="left")
    reach = np.maximum.accumulate(done.end_ns[one])
    some = place > 0
    return bool((reach[place[some] - 1] > done.start_ns[other][some] + TOLERANCE_NS).any())


def engine_edges(done: DeviceWork, lines: StreamLines) -> Edges:
    """Return which copies follow on copies of their direction on another stream of the device."""
    rows = np.flatnonzero(done.kind == COPY)
    direction = done.copied["copy_kind"]
    rows, direction = rows[direction != INSIDE_DEVICE], direction[direction != INSIDE_DEVICE]
    order = np.lexsort((done.start_ns[rows], direction, done.device[rows], done.process[rows]))
    rows, direction = rows[order], direction[order]
    to, source = rows[1:], rows[:-1]
    same = (direction[1:] == direction[:-1]) & (done.device[to] == done.device[source])
    same &= (done.process[to] == done.process[source]) & (lines.stream[to] != lines.stream[source])
    same &= done.end_ns[source] <= done.start_ns[to] + TOLERANCE_NS
    return to[same], source[same]


def possible(
    done: DeviceWork, lines: StreamLines, to: Int64, source: Int64, met: Meetings | None = None
) -> Edges:
    """Return edges, ordered, without those that the recorded times contradict, or that repeat."""
    ended = lines.turn_ns if met is None else met.ended_ns(lines.turn_ns)
    good = (done.end_ns[source] <= done.start_ns[to] + TOLERANCE_NS) & (
        (ended[source] < lines.turn_ns[to]) & (lines.stream[source] != lines.stream[to])
    )
    pairs = np.unique(np.stack([to[good], source[good]], axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def late_edges(done: DeviceWork, order: DeviceOrder, late: Bools, within_ns: int) -> Edges:
    """Return on which work of other streams work followed that began late for no known reason.

    That is, of the work of its process on other streams that was launched before it, the last to
    end, if it ended at most ``within_ns`` before.

    Args:
        done: what the GPUs did.
        order: what is known.
        late: ``(M,)`` which began late.
        within_ns: at most this long after.
    """
    lines = order.lines
    to, source = [], []
    for process in np.unique(done.process[late]).tolist():
        rows = np.flatnonzero(done.process == process)
        rows = rows[np.argsort(done.end_ns[rows], kind="stable")]
        wanted = np.flatnonzero(late & (done.process == process))
        place = np.searchsorted(done.end_ns[rows], done.start_ns[wanted], side="right") - 1
        for _ in range(4):
            found = rows[place.clip(0)]
            good = (place >= 0) & (done.start_ns[wanted] - done.end_ns[found] <= within_ns)
            wanted, place, found = wanted[good], place[good], found[good]
            other = (lines.stream[found] != lines.stream[wanted]) & (
                lines.key_ns[found] < lines.key_ns[wanted]
            )
            to.append(wanted[other])
            source.append(found[other])
            wanted, place = wanted[~other], place[~other] - 1
    none = np.empty(0, np.int64)
    return np.concatenate([none, *to]), np.concatenate([none, *source])
