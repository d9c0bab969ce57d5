"""Which work each call of the host waits for: what was launched before it, by what it waits for.

A call never waits for work that ended after it had returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.intervals import NONE
from analysis.measures.replay import host_chain
from analysis.measures.replay.device_order import TOLERANCE_NS
from analysis.measures.replay.stream_waits import recorded_at
from analysis.recorded import synchronizations
from analysis.recorded.device_work import COPY

if TYPE_CHECKING:
    from analysis.measures.replay.device_order import DeviceOrder
    from analysis.measures.replay.host_chain import HostChain
    from analysis.measures.replay.stream_lines import StreamLines
    from analysis.recorded.device_work import DeviceWork

LONG_CALL_NS: Final = 100_000
"""Calls that took longer may have returned somewhat before what they waited for had ended."""

TOLERANCE_OF_LONG_NS: Final = 20_000

STAGED_NS: Final = 100_000
"""A copy of pageable memory returns when the last piece is staged, before it is on the device."""

Pairs = tuple[Int64, Int64]


@dataclass(frozen=True)
class Waits:
    """The work that calls wait for: ``W`` pairs, by call.

    Attributes:
        node: ``(W,)`` the call, a position in the host's chain, ascending.
        work: ``(W,)`` what it waits for, a row of device work.
        own: ``(K,)`` for each call of the chain the copy or set that it started itself and waits
            for, or `NONE`.
    """

    node: Int64
    work: Int64
    own: Int64

    @property
    def waiting(self) -> Bools:
        """``(K,)`` which calls wait for work; what these start is on its way when they begin."""
        result = np.zeros(len(self.own), np.bool_)
        result[self.node] = True
        return result


def waits(done: DeviceWork, chain: HostChain, order: DeviceOrder) -> Waits:
    """Return which work each call of the chain waits for."""
    own = own_work(done, chain, order)
    waiting = np.flatnonzero(own != NONE)
    pairs: list[Pairs] = [(waiting, own[waiting])]
    whole = np.isin(chain.waits, (host_chain.DEVICE, host_chain.MEMORY))
    # A copy or set that returned before its own work had ended waited for nothing else either.
    at_once = order.node[(order.node != NONE) & (done.kind >= COPY)]
    whole[at_once[own[at_once] == NONE]] = False
    pairs.append(of_devices(chain, order.lines, np.flatnonzero(whole)))
    pairs.append(of_streams(done, chain, order))
    pairs.append(of_events(done, chain, order))
    node, work = (np.concatenate(part) for part in zip(*pairs, strict=True))
    limit = chain.end_ns[node] + np.where(
        chain.end_ns[node] - chain.start_ns[node] > LONG_CALL_NS, TOLERANCE_OF_LONG_NS, TOLERANCE_NS
    )
    good = ((done.end_ns[work] <= limit) | (own[node] == work)) & (
        order.ended_turn_ns[work] < chain.end_ns[node]
    )
    found = np.unique(np.stack([node[good], work[good]], axis=1), axis=0)
    return Waits(found[:, 0], found[:, 1], own)


def own_work(done: DeviceWork, chain: HostChain, order: DeviceOrder) -> Int64:
    """Return ``(K,)`` the copy or set that each call starts and waits for, or `NONE`."""
    result = np.full(len(chain), NONE, np.int64)
    rows = np.flatnonzero((done.kind >= COPY) & (order.node != NONE))
    node = order.node[rows]
    blocking = (chain.waits[node] == host_chain.MEMORY) | done.pageable[rows]
    begun, returned = chain.start_ns[node], chain.end_ns[node]
    early = np.where(returned - begun > LONG_CALL_NS, STAGED_NS, TOLERANCE_NS)
    held = blocking & (done.end_ns[rows] <= returned + early) & (done.start_ns[rows] < returned)
    held &= begun < returned
    result[node[held]] = rows[held]
    return result


def of_devices(chain: HostChain, lines: StreamLines, nodes: Int64) -> Pairs:
    """Return the last work before some calls on each stream of their process.

    That an earlier call waited for the same work does not count: it may be left out.
    """
    found: list[Pairs] = []
    process = chain.process[nodes]
    for stream, owner in enumerate(lines.process.tolist()):
        rows = nodes[process == owner]
        work = lines.last_before(np.full(len(rows), stream), chain.start_ns[rows])
        found.append((rows[work != NONE], work[work != NONE]))
    none = np.empty(0, np.int64)
    nodes_, work_ = zip(*[(none, none), *found], strict=True)
    return np.concatenate(nodes_), np.concatenate(work_)


def of_streams(done: DeviceWork, chain: HostChain, order: DeviceOrder) -> Pairs:
    """Return the last work before calls that wait for a stream, on that stream.

    Where the stream was not recorded it is the only one of the process, else that whose work ended
    last before the call returned.
    """
    lines = order.lines
    nodes = np.flatnonzero(chain.waits == host_chain.STREAM)
    rows = synchronizations.synchronizations(done.report)
    stream = np.full(len(chain), NONE, np.int64)
    some = np.flatnonzero((rows.sync_type == synchronizations.STREAM) & (rows.call != NONE))
    place = chain.of_call[rows.call[some]]
    some, place = some[place != NONE], place[place != NONE]
    stream[place] = lines.find(rows.process[some], rows.device[some], rows.stream[some])
    told = np.zeros(len(chain), np.bool_)
    told[place] = True
    known = nodes[told[nodes] & (stream[nodes] != NONE)]
    which, work = order.stream_waits.work_before(stream[known], chain.start_ns[known])
    found = [
        (known[which], work),
        guessed(done, chain, lines, nodes[~told[nodes]]),
    ]
    node_, work_ = zip(*found, strict=True)
    return np.concatenate(node_), np.concatenate(work_)


def guessed(done: DeviceWork, chain: HostChain, lines: StreamLines, nodes: Int64) -> Pairs:
    """Return the work that calls waited for whose stream or event was not recorded."""
    best = np.full(len(nodes), NONE, np.int64)
    process = chain.process[nodes]
    for one in np.unique(process).tolist():
        streams = np.flatnonzero(lines.process == one)
        rows = np.flatnonzero(process == one)
        for stream in streams.tolist():
            work = lines.last_before(np.full(len(rows), stream), chain.start_ns[nodes[rows]])
            if len(streams) == 1:
                best[rows] = work
                continue
            end = done.end_ns[work]
            fits = (work != NONE) & (end > chain.start_ns[nodes[rows]])
            fits &= end <= chain.end_ns[nodes[rows]] + TOLERANCE_NS
            fits &= (best[rows] == NONE) | (end > done.end_ns[best[rows]])
            best[rows[fits]] = work[fits]
    return nodes[best != NONE], best[best != NONE]


def of_events(done: DeviceWork, chain: HostChain, order: DeviceOrder) -> Pairs:
    """Return the work before the event that calls wait for, where the event was recorded.

    Where it was not it is the work of the process that ended last before the call returned.
    """
    nodes = np.flatnonzero(chain.waits == host_chain.EVENT)
    rows = synchronizations.synchronizations(done.report)
    some = np.flatnonzero((rows.sync_type == synchronizations.EVENT) & (rows.call != NONE))
    place = chain.of_call[rows.call[some]]
    some, place = some[place != NONE], place[place != NONE]
    there, stream, recorded = recorded_at(done, order.lines, rows.process[some], rows.event[some])
    told: Bools = np.zeros(len(chain), np.bool_)
    told[place[there]] = True
    known = stream != NONE
    place = place[known]
    which, work = order.stream_waits.work_before(stream[known], recorded[known])
    rest = guessed_events(done, chain, order.lines, nodes[~told[nodes]])
    return np.append(place[which], rest[0]), np.append(work, rest[1])


def guessed_events(done: DeviceWork, chain: HostChain, lines: StreamLines, nodes: Int64) -> Pairs:
    """Return the work that ended last while each call was open, if any of its process did."""
    best = np.full(len(nodes), NONE, np.int64)
    process = chain.process[nodes]
    for one in np.unique(process).tolist():
        work = np.flatnonzero(done.process == one)
        work = work[np.argsort(done.end_ns[work], kind="stable")]
        rows = np.flatnonzero(process == one)
        limit = chain.end_ns[nodes[rows]] + TOLERANCE_NS
        place = np.searchsorted(done.end_ns[work], limit, side="right") - 1
        last = work[place.clip(0)] if len(work) else place
        fits = (place >= 0) & (done.end_ns[last] > chain.start_ns[nodes[rows]])
        fits &= lines.key_ns[last] < chain.start_ns[nodes[rows]]
        best[rows[fits]] = last[fits]
    return nodes[best != NONE], best[best != NONE]
