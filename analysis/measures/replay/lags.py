"""How long after what it follows on each call and each piece of work goes on.

From what is recorded come the means for each kind of call, and for each call the lags with which a
replay gives back the very times that were recorded. Of several things that work follows on only one
held it up in the recording: the others have the mean, as far as that does not contradict it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.containment import distinct
from analysis.arithmetic.intervals import NONE
from analysis.measures.replay.host_chain import MEMORY, NOTHING
from analysis.recorded.device_work import COPY, KINDS, SMALL_BYTES

if TYPE_CHECKING:
    from analysis.measures.replay.device_order import DeviceOrder
    from analysis.measures.replay.host_chain import HostChain
    from analysis.measures.replay.waits import Waits
    from analysis.recorded.device_work import DeviceWork

MOST_NS: Final = 50_000
"""No launch takes longer to reach the device; what is above is a late start without a reason."""

MOST_STAGED_NS: Final = 500_000
"""A copy of pageable memory begins when its first piece is staged: seen were 110 to 350 us."""

QUEUED_NS: Final = 10_000
"""Work that waits for longer than this after its launch begins as soon as it can."""

TAIL_NS: Final = 5_000
"""A wait returns this long after its end, where no wait of the report tells."""

NEVER: Final = -(1 << 60)


@dataclass(frozen=True)
class Means:
    """What starting, following and waiting take on average, by kind of call, in ns.

    Attributes:
        lag_ns: ``(M,)`` from a launch (its call's end; of a copy that its call waits for, its
            start) to the start of work whose stream is idle.
        follow_ns: ``(M,)`` from the end of the work before to the start, where work is queued.
        edge_ns: from the end of work on another stream to that of work that was made to wait.
        host_ns: ``(K,)`` what a call takes of the host where it does not wait.
        tail_ns: ``(K,)`` from the end of what a call waits for to its return.
        queue_ns: from the end of the work that makes room in a full queue to the launch's return.
    """

    lag_ns: Int64
    follow_ns: Int64
    edge_ns: int
    host_ns: Int64
    tail_ns: Int64
    queue_ns: int


@dataclass(frozen=True)
class Lags:
    """The times that a replay adds up, in ns.

    Attributes:
        gap_ns: ``(K,)`` of the host, before a call.
        host_ns: ``(K,)`` of the host, in a call.
        tail_ns: ``(W,)`` from the end of what a call waits for to its return.
        queue_ns: ``(K,)`` from the end of the work that makes room in a full queue to its return.
        lag_ns: ``(M,)`` from a launch to the start of work.
        follow_ns: ``(M,)`` from the end of the work before on the stream to the start.
        edge_ns: ``(E,)`` from the end of the work on another stream to the start.
        late_ns: ``(M,)`` how much later work starts than all that explains.
        took_ns: ``(M,)`` how long work runs; a collective of several devices from when its last
            participant has come.
    """

    gap_ns: Int64
    host_ns: Int64
    tail_ns: Int64
    queue_ns: Int64
    lag_ns: Int64
    follow_ns: Int64
    edge_ns: Int64
    late_ns: Int64
    took_ns: Int64


@dataclass(frozen=True)
class Anchors:
    """The recorded instants that work and calls follow on; `NEVER` where there is no such thing.

    Attributes:
        launched_ns: ``(M,)`` the call's end; of a call that waits, its start.
        freed_ns: ``(M,)`` the end of the work before on the stream.
        edges_ns: ``(E,)`` the ends of work on other streams.
        last_edge_ns: ``(M,)`` the last of these for each work.
        waited_ns: ``(K,)`` the last end among the work that a call waits for.
        room_ns: ``(K,)`` the end of the work that makes room in a full queue.
    """

    launched_ns: Int64
    freed_ns: Int64
    edges_ns: Int64
    last_edge_ns: Int64
    waited_ns: Int64
    room_ns: Int64


def anchors(done: DeviceWork, chain: HostChain, order: DeviceOrder, waits: Waits) -> Anchors:
    """Return the recorded instants that work and calls follow on."""
    launched = np.full(len(done), NEVER, np.int64)
    rows = np.flatnonzero(order.node != NONE)
    node = order.node[rows]
    launched[rows] = np.where(waits.waiting[node], chain.start_ns[node], chain.end_ns[node])
    freed = ends(done, order.before)
    edges = ends(done, order.edge_from)
    last = np.full(len(done), NEVER, np.int64)
    np.maximum.at(last, order.edge_to, edges)
    waited = np.full(len(chain), NEVER, np.int64)
    np.maximum.at(waited, waits.node, done.end_ns[waits.work])
    return Anchors(launched, freed, edges, last, waited, ends(done, order.full_queue))


def ends(done: DeviceWork, rows: Int64) -> Int64:
    """Return the ends of work, `NEVER` for `NONE`."""
    if not len(done):
        return np.full(len(rows), NEVER, np.int64)
    return np.where(rows != NONE, done.end_ns[rows], NEVER)


def means(done: DeviceWork, chain: HostChain, order: DeviceOrder, waits: Waits) -> Means:
    """Return what starting, following and waiting take on average in a report."""
    at = anchors(done, chain, order, waits)
    start, known = done.start_ns, order.node != NONE
    of_work = classes(done, waits)
    kind = kinds(of_work, np.where(known, chain.name[order.node], NONE) if len(chain) else of_work)
    alone = at.last_edge_ns == NEVER
    idle = known & alone & (at.launched_ns > at.freed_ns)
    lag = mean_of_kind(
        kind, start - at.launched_ns, idle, default=TAIL_NS, most=most_lag(done, waits)
    )
    # Work that has reached the device, and still waits, tells how it follows on what it waits for.
    there = at.launched_ns + np.maximum(lag, QUEUED_NS)
    queued = alone & (at.freed_ns > there)
    edge = (at.last_edge_ns > there) & (at.last_edge_ns > at.freed_ns)
    own = np.where(waits.own != NONE, of_work[waits.own] + 1, 0) if len(of_work) else waits.own
    of_call = kinds(chain.name, own)
    took = chain.end_ns - chain.start_ns
    held = waits.waiting & (at.waited_ns > chain.start_ns)
    full = at.room_ns > chain.start_ns
    most = np.where(works(chain, waits), -NEVER, MOST_NS)
    free = mean_of_kind(of_call, took, ~held & ~full, default=0, most=most)
    lowest = np.full(int(of_call.max(initial=0)) + 1, MOST_NS, np.int64)
    np.minimum.at(lowest, of_call, took)
    # Of calls that always waited, what the shortest took is the most that is known.
    host = np.where(free > 0, free, lowest[of_call] if len(of_call) else free)
    tail = mean_of_kind(of_call, chain.end_ns - at.waited_ns, held, default=TAIL_NS)
    return Means(
        lag,
        mean_of_kind(kind, start - at.freed_ns, queued, default=1_000),
        mean(start[edge] - at.last_edge_ns[edge], default=1_000),
        host,
        tail,
        mean((chain.end_ns - at.room_ns)[full & (at.room_ns <= chain.end_ns)], default=TAIL_NS),
    )


def classes(done: DeviceWork, waits: Waits) -> Int64:
    """Return ``(M,)`` a number for what the lags of work depend on.

    That is its kind, whether its call waits for it, and of a copy where from, where to, and whether
    it is of more bytes than the driver takes along with the call.
    """
    result = done.kind.copy()
    copies = done.kind == COPY
    result[copies] = len(KINDS) + 2 * done.name[copies] + (done.bytes[copies] > SMALL_BYTES)
    waited = np.zeros(len(done), np.int64)
    waited[waits.own[waits.own != NONE]] = 1
    return 2 * result + waited


def kinds(one: Int64, other: Int64) -> Int64:
    """Return ``(N,)`` a number from 0 for each pair of two small numbers."""
    width = int(other.max(initial=0)) + 2
    there = one * width + other
    listed = np.sort(distinct(there))
    number: Int64 = np.searchsorted(listed, there)
    return number


def most_lag(done: DeviceWork, waits: Waits) -> Int64:
    """Return ``(M,)`` the longest lag of each work that is one, and no late start."""
    most = np.full(len(done), MOST_NS, np.int64)
    own = waits.own[waits.own != NONE]
    most[own[done.kind[own] == COPY]] = MOST_STAGED_NS
    return most


def mean(values: Int64, default: int) -> int:
    """Return the mean of values, each counted as `MOST_NS` at most."""
    return round(float(np.minimum(values, MOST_NS).mean())) if len(values) else default


def mean_of_kind(
    kind: Int64, values: Int64, chosen: Bools, default: int, most: Int64 | int = MOST_NS
) -> Int64:
    """Return ``(N,)`` the mean of the chosen values of each one's kind, else of all."""
    capped = np.minimum(values, most)[chosen]
    count = np.bincount(kind[chosen], minlength=int(kind.max(initial=0)) + 1)
    total = np.bincount(kind[chosen], capped, minlength=len(count))
    rest = mean(capped, default)
    each = np.where(count > 0, total / np.maximum(count, 1), rest)
    result: Int64 = np.rint(each).astype(np.int64)[kind] if len(kind) else kind
    return result


def late_ns(
    done: DeviceWork, chain: HostChain, order: DeviceOrder, waits: Waits, known: Means
) -> Int64:
    """Return ``(M,)`` how much later each work started than what it follows on explains."""
    at = anchors(done, chain, order, waits)
    explained = np.maximum.reduce(
        [
            at.launched_ns + known.lag_ns,
            at.freed_ns + known.follow_ns,
            at.last_edge_ns + known.edge_ns,
        ]
    )
    return np.where(explained > NEVER // 2, (done.start_ns - explained).clip(0), 0)


def works(chain: HostChain, waits: Waits) -> Bools:
    """Return ``(K,)`` which calls may wait for work, and have work of the host's to do: frees."""
    result: Bools = (chain.waits == MEMORY) & (waits.own == NONE)
    return result


def unexplained_ns(
    done: DeviceWork, chain: HostChain, order: DeviceOrder, waits: Waits, known: Means
) -> Int64:
    """Return ``(K,)`` how much later each call that waits returned than what it waits for explains.

    Freeing and allocating take what they take, and count only where they wait for their own copy.
    """
    at = anchors(done, chain, order, waits)
    counts = (chain.waits != NOTHING) & ~works(chain, waits)
    explained = np.maximum(chain.start_ns + known.host_ns, at.waited_ns + known.tail_ns)
    return np.where(counts, (chain.end_ns - explained).clip(0), 0)


def recorded_lags(
    done: DeviceWork, chain: HostChain, order: DeviceOrder, waits: Waits, known: Means
) -> Lags:
    """Return the lags with which a replay gives back the recorded times, to the nanosecond."""
    at = anchors(done, chain, order, waits)
    start, took = done.start_ns, chain.end_ns - chain.start_ns
    candidates = np.stack(
        [
            at.launched_ns + known.lag_ns,
            at.freed_ns + known.follow_ns,
            at.last_edge_ns + known.edge_ns,
        ]
    )
    holds = candidates.argmax(axis=0) if len(done) else np.empty(0, np.int64)
    lag = np.where(
        holds == 0, start - at.launched_ns, np.minimum(known.lag_ns, start - at.launched_ns)
    )
    late = np.where(holds == 0, (lag - most_lag(done, waits)).clip(0), 0)
    late[candidates.max(axis=0, initial=NEVER) < NEVER // 2] = 0
    lag = lag - late
    follow = np.where(
        holds == 1, start - at.freed_ns, np.minimum(known.follow_ns, start - at.freed_ns)
    )
    over = np.where(holds == 1, (follow - MOST_NS).clip(0), 0)
    # Work whose launch is not known follows its stream, however long after.
    over[order.node == NONE] = 0
    follow, late = follow - over, late + over
    lag[at.launched_ns == NEVER] = 0
    follow[at.freed_ns == NEVER] = 0
    of_edge = holds[order.edge_to] == 2
    room = start[order.edge_to] - at.edges_ns
    bound = np.where(of_edge, start[order.edge_to] - at.last_edge_ns[order.edge_to], known.edge_ns)
    edge = np.minimum(bound, room)
    waiting = at.waited_ns > NEVER
    ready = np.stack(
        [
            chain.start_ns + known.host_ns,
            np.where(waiting, at.waited_ns + known.tail_ns, NEVER),
            np.where(at.room_ns > NEVER, at.room_ns + known.queue_ns, NEVER),
        ]
    )
    decides = ready.argmax(axis=0) if len(chain) else np.empty(0, np.int64)
    host = np.where(decides == 0, took, np.minimum(known.host_ns, took))
    left = chain.end_ns[waits.node] - done.end_ns[waits.work]
    bound = chain.end_ns[waits.node] - at.waited_ns[waits.node]
    tail = np.where(decides[waits.node] == 1, bound, np.minimum(known.tail_ns[waits.node], left))
    left = chain.end_ns - at.room_ns
    queue = np.where(decides == 2, left, np.minimum(known.queue_ns, left))
    return Lags(chain.gap_ns, host, tail, queue, lag, follow, edge, late, running_ns(done, order))


def running_ns(done: DeviceWork, order: DeviceOrder) -> Int64:
    """Return ``(M,)`` how long work ran, a collective from when its last participant had come."""
    met = order.meetings
    if not met.count:
        return done.duration_ns
    came = np.append(met.last(done.start_ns), 0)[met.group]
    return np.where(met.group != NONE, done.end_ns - came, done.duration_ns)


def blind_lags(
    done: DeviceWork, chain: HostChain, order: DeviceOrder, waits: Waits, known: Means
) -> Lags:
    """Return the lags of a replay in which waits and starts are withheld, means in their place.

    What is left of the recording is how long work ran, what the host took between calls and in
    those that do not wait, and which follows on which.
    """
    exact = recorded_lags(done, chain, order, waits, known)
    held = exact.host_ns < chain.end_ns - chain.start_ns
    withheld = waits.waiting & (held | ~works(chain, waits)) | (order.full_queue != NONE) & held
    unknown = order.node == NONE
    return Lags(
        gap_ns=exact.gap_ns,
        host_ns=np.where(withheld, known.host_ns, exact.host_ns),
        tail_ns=known.tail_ns[waits.node],
        queue_ns=np.full(len(chain), known.queue_ns, np.int64),
        lag_ns=known.lag_ns,
        follow_ns=np.where(unknown, exact.follow_ns, known.follow_ns),
        edge_ns=np.full(len(order.edge_to), known.edge_ns, np.int64),
        late_ns=np.zeros(len(done), np.int64),
        took_ns=exact.took_ns,
    )
