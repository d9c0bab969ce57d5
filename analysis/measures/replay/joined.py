"""The runs of several ranks, put together: their collectives hold each other up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.intervals import NONE
from analysis.measures.replay.device_order import DeviceOrder
from analysis.measures.replay.host_chain import HostChain
from analysis.measures.replay.lags import Means
from analysis.measures.replay.meetings import (
    lines_with_meetings,
    meetings,
    no_meetings,
    participants,
)
from analysis.measures.replay.recorded_run import RecordedRun
from analysis.measures.replay.stream_lines import StreamLines
from analysis.measures.replay.waits import Waits

if TYPE_CHECKING:
    from analysis.recorded.device_work import DeviceWork

APART: Final = 1 << 24
"""Between the process ids of two ranks, which may be equal on two machines."""

THREADS_APART: Final = 1 << 56
"""Between the global thread ids of two ranks: nsys counts machines from there on, and from 0."""


def joined(
    runs: Sequence[RecordedRun], shift_ns: Sequence[int], collective: Sequence[Bools]
) -> RecordedRun:
    """Return the runs of several ranks as one.

    Args:
        runs: a rank each, whole, and none with collectives that meet.
        shift_ns: what to add to the times of each, to have them on one clock.
        collective: for each ``(M,)`` which work is a collective.
    """
    calls = offsets([len(run.chain) for run in runs])
    work = offsets([len(run.done) for run in runs])
    done = joined_work([run.done for run in runs], shift_ns)
    chain = joined_chain([run.chain for run in runs], shift_ns, calls)
    order = joined_order([run.order for run in runs], shift_ns, calls, work)
    found = [
        each
        for run, mask, shift, first in zip(runs, collective, shift_ns, work, strict=False)
        for each in participants(run.done, mask, shift, first)
    ]
    met = meetings(len(done), found)
    if met.count:
        lines = lines_with_meetings(order.lines, met, order.edge_to, order.edge_from)
        order = order if lines is None else replace(order, lines=lines, meetings=met)
    turn = order.lines.turn_ns
    late = (order.full_queue != NONE) & (turn[order.full_queue] >= chain.start_ns)
    order = replace(order, full_queue=np.where(late, NONE, order.full_queue))
    node = shifted([run.waits.node for run in runs], calls)
    awaited = shifted([run.waits.work for run in runs], work)
    own = shifted([run.waits.own for run in runs], work)
    # Where clocks are not quite the same a call may return before its collective has met.
    known = turn[awaited] <= chain.end_ns[node]
    return RecordedRun(
        rows=np.arange(len(done)),
        done=done,
        chain=chain,
        order=order,
        waits=Waits(node[known], awaited[known], own),
        means=joined_means([run.means for run in runs]),
    )


def offsets(sizes: Sequence[int]) -> list[int]:
    """Return where each of several arrays begins when they stand one after another, and the end."""
    return [0, *np.cumsum(sizes).tolist()]


def shifted(columns: Sequence[Int64], firsts: Sequence[int]) -> Int64:
    """Return positions in several arrays as such in the arrays one after another; `NONE` stays."""
    parts = zip(columns, firsts, strict=False)
    return np.concatenate([np.where(each == NONE, NONE, each + first) for each, first in parts])


def joined_work(works: Sequence[DeviceWork], shift_ns: Sequence[int]) -> DeviceWork:
    """Return the device work of several ranks as one table, for a replay alone.

    Names, copies and calls are the first's: ask each rank for them.
    """
    times = list(zip(works, shift_ns, strict=True))
    whole = replace(
        works[0],
        start_ns=np.concatenate([work.start_ns + shift for work, shift in times]),
        end_ns=np.concatenate([work.end_ns + shift for work, shift in times]),
        device=np.concatenate([work.device for work in works]),
        stream=np.concatenate([work.stream for work in works]),
        correlation=np.concatenate([work.correlation for work in works]),
        global_pid=np.concatenate([work.global_pid for work in works]),
        graph=np.concatenate([work.graph for work in works]),
        graph_node=np.concatenate([work.graph_node for work in works]),
    )
    places = enumerate(works)
    vars(whole).update(
        process=np.concatenate([work.process + rank * APART for rank, work in places]),
        kind=np.concatenate([work.kind for work in works]),
    )
    return whole


def joined_chain(
    chains: Sequence[HostChain], shift_ns: Sequence[int], calls: Sequence[int]
) -> HostChain:
    """Return the calls of several ranks as one chain."""
    first = offsets([len(chain.of_call) for chain in chains])
    return HostChain(
        call=shifted([chain.call for chain in chains], first),
        name=np.concatenate([chain.name for chain in chains]),
        thread=np.concatenate(
            [chain.thread + rank * THREADS_APART for rank, chain in enumerate(chains)]
        ),
        process=np.concatenate([chain.process + rank * APART for rank, chain in enumerate(chains)]),
        start_ns=np.concatenate(
            [chain.start_ns + shift for chain, shift in zip(chains, shift_ns, strict=True)]
        ),
        end_ns=np.concatenate(
            [chain.end_ns + shift for chain, shift in zip(chains, shift_ns, strict=True)]
        ),
        waits=np.concatenate([chain.waits for chain in chains]),
        before=shifted([chain.before for chain in chains], calls),
        taken_over=np.concatenate([chain.taken_over for chain in chains]),
        of_call=shifted([chain.of_call for chain in chains], calls),
        marks=joined_marks(chains, calls),
        origin_ns=min(
            chain.origin_ns + shift for chain, shift in zip(chains, shift_ns, strict=True)
        ),
    )


def joined_marks(chains: Sequence[HostChain], calls: Sequence[int]) -> Int64:
    """Return the marks of several ranks: all begins of steps, rank by rank, then all ends."""
    halves = [np.split(chain.marks + first, 2) for chain, first in zip(chains, calls, strict=False)]
    return np.concatenate([half[side] for side in (0, 1) for half in halves])


def joined_order(
    orders: Sequence[DeviceOrder],
    shift_ns: Sequence[int],
    calls: Sequence[int],
    work: Sequence[int],
) -> DeviceOrder:
    """Return what the work of several ranks follows on, each on that of its rank."""
    lines = [order.lines for order in orders]
    streams = offsets([len(each.process) for each in lines])
    keys = {
        name: np.concatenate(
            [getattr(each, name) + shift for each, shift in zip(lines, shift_ns, strict=True)]
        )
        for name in ("key_ns", "turn_ns")
    }
    together = StreamLines(
        stream=shifted([each.stream for each in lines], streams),
        process=np.concatenate([each.process + rank * APART for rank, each in enumerate(lines)]),
        device=np.concatenate([each.device for each in lines]),
        number=np.concatenate([each.number for each in lines]),
        order=shifted([each.order for each in lines], work),
        first=np.append(
            np.concatenate(
                [each.first[:-1] + first for each, first in zip(lines, work, strict=False)]
            ),
            work[-1],
        ),
        **keys,
    )
    return DeviceOrder(
        lines=together,
        stream_waits=orders[0].stream_waits,  # which no more is asked of
        node=shifted([order.node for order in orders], calls),
        before=shifted([order.before for order in orders], work),
        edge_to=shifted([order.edge_to for order in orders], work),
        edge_from=shifted([order.edge_from for order in orders], work),
        full_queue=shifted([order.full_queue for order in orders], work),
        meetings=no_meetings(work[-1]),
    )


def joined_means(means: Sequence[Means]) -> Means:
    """Return the means of several ranks, each for its own calls and work."""
    return Means(
        lag_ns=np.concatenate([each.lag_ns for each in means]),
        follow_ns=np.concatenate([each.follow_ns for each in means]),
        edge_ns=max(each.edge_ns for each in means),
        host_ns=np.concatenate([each.host_ns for each in means]),
        tail_ns=np.concatenate([each.tail_ns for each in means]),
        queue_ns=max(each.queue_ns for each in means),
    )
