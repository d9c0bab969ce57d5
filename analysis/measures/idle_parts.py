"""The parts of a budget that idle time belongs to: by its cause, and by what the host was about.

A host that came late was launching, too slowly, if it had made a call shortly before; else it did
something else. Work that was launched in time and began late waited for another stream.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.containment import distinct
from analysis.arithmetic.global_ids import process_of
from analysis.arithmetic.intervals import NONE
from analysis.measures import idle

if TYPE_CHECKING:
    from analysis.measures.idle import IdleGaps
    from analysis.recorded.device_work import DeviceWork

IDLE_PARTS: Final = (
    *("launch_starved", "host_busy", "synchronisation", "blocking_copy", "stream_wait"),
    *("launch_latency", "unknown"),
)

STARVED, BUSY, SYNCHRONISATION, COPY, STREAM_WAIT, LATENCY, UNKNOWN = range(len(IDLE_PARTS))

PART_OF_CAUSE: Final = {
    idle.HOST: BUSY,
    idle.COPY: COPY,
    idle.SYNCHRONISATION: SYNCHRONISATION,
    idle.LAUNCH_LATENCY: LATENCY,
    idle.STREAM_WAIT: STREAM_WAIT,
}

LAUNCHING_NS: Final = 200_000
"""A host that launches one operation after another is at the next within this: twice what PyTorch
takes for an operator while its shapes are recorded."""

WAITING_NS: Final = 20_000
"""Longer than any launch lag (up to some 10 µs): the stream was held up."""

IN_TIME_NS: Final = 100_000
"""Ten times what a launch takes: work launched in time that waits longer waits for other work."""

STREAM_WAITS: Final = re.compile(r"cu(?:da)?StreamWaitEvent")


def idle_parts(done: DeviceWork, causes: Int64, call: Int64, duration_ns: Int64) -> Int64:
    """Return the part of a budget that gaps in which a GPU was idle belong to.

    Args:
        done: what the GPUs did.
        causes: ``(G,)`` positions in `analysis.measures.idle.CAUSES`.
        call: ``(G,)`` the call that started the work after each gap, or `NONE`.
        duration_ns: ``(G,)``.

    Returns:
        ``(G,)`` positions in `IDLE_PARTS`.
    """
    calls, known = done.calls, call != NONE
    part = np.full(len(causes), UNKNOWN, np.int64)
    for cause, name in PART_OF_CAUSE.items():
        part[causes == cause] = name
    launching = np.zeros(len(causes), np.bool_)
    launching[known] = was_launching(done, call[known])
    took = np.zeros(len(causes), np.int64)
    took[known] = calls.end_ns[call[known]] - calls.start_ns[call[known]]
    starved = (causes == idle.HOST) & launching & (took <= idle.SLOW_CALL_NS)
    # One that is busy for that long did something else first, and some small calls after it.
    starved &= duration_ns < idle.RESUME_NS
    part[starved] = STARVED
    part[waited_for_a_stream(done, causes, call, duration_ns)] = STREAM_WAIT
    return part


def with_stream_waits(gaps: IdleGaps) -> IdleGaps:
    """Return gaps with the cause of those before work that waited for another stream."""
    waited = waited_for_a_stream(gaps.done, gaps.cause, gaps.call, gaps.duration_ns)
    return replace(gaps, cause=np.where(waited, idle.STREAM_WAIT, gaps.cause))


def waited_for_a_stream(done: DeviceWork, causes: Int64, call: Int64, duration_ns: Int64) -> Bools:
    """Return before which work that was launched in time its stream was held up, ``(G,)``.

    Args are those of `idle_parts`.
    """
    late = np.flatnonzero((causes == idle.LAUNCH_LATENCY) & (duration_ns > WAITING_NS))
    result = np.zeros(len(causes), np.bool_)
    result[late] = (duration_ns[late] >= IN_TIME_NS) | follows_a_stream_wait(done, call[late])
    return result


def starting(done: DeviceWork) -> Bools:
    """Return ``(C,)`` which calls started work of a device."""
    result = np.zeros(len(done.calls), np.bool_)
    result[done.call[done.call != NONE]] = True
    return result


def was_launching(done: DeviceWork, call: Int64) -> Bools:
    """Return whether the host was launching until each call, ``(K,)`` of them.

    It was if its thread's call before, or the one before that started work on whichever thread of
    the process, had ended at most `LAUNCHING_NS` earlier.
    """
    calls, starts = done.calls, starting(done)
    every = np.ones(len(calls), np.bool_)
    threads = within_reach(done, call, calls.thread, every)
    return threads | within_reach(done, call, process_of(calls.thread), starts)


def within_reach(done: DeviceWork, call: Int64, place: Int64, chosen: Bools) -> Bools:
    """Return before which calls, ``(K,)``, some other of the same place had ended shortly before.

    Args:
        done: what the GPUs did.
        call: ``(K,)`` positions among all calls.
        place: ``(C,)`` the thread, or the process, of all calls.
        chosen: ``(C,)`` which calls are looked for.
    """
    calls, result = done.calls, np.zeros(len(call), np.bool_)
    for number in distinct(place[call]).tolist():
        rows = np.flatnonzero(place[call] == number)
        some = np.flatnonzero(chosen & (place == number))
        some = some[np.argsort(calls.start_ns[some], kind="stable")]
        begun = calls.start_ns[call[rows]]
        before = np.searchsorted(calls.start_ns[some], begun, side="left") - 1
        previous = some[before.clip(0)] if len(some) else before
        near = begun - calls.end_ns[previous] <= LAUNCHING_NS if len(some) else before < NONE
        result[rows] = (before >= 0) & near
    return result


def follows_a_stream_wait(done: DeviceWork, call: Int64) -> Bools:
    """Return whether a thread made a stream wait for an event before each call, ``(K,)``.

    That is after its call before that started work.
    """
    calls = done.calls
    waits = calls.like(STREAM_WAITS) if len(calls) else np.empty(0, np.bool_)
    if not waits.any():
        return np.zeros(len(call), np.bool_)
    order = np.lexsort((calls.start_ns, calls.thread))
    number = np.arange(len(order))
    last_wait, last_start = (
        np.maximum.accumulate(np.where(some[order], number, NONE))
        for some in (waits, starting(done))
    )
    place = np.empty(len(order), np.int64)
    place[order] = number
    before = (place[call] - 1).clip(0)
    wait = last_wait[before]
    same = calls.thread[order[wait.clip(0)]] == calls.thread[call]
    result: Bools = (place[call] > 0) & (wait > last_start[before]) & same
    return result
