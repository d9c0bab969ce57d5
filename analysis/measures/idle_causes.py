"""Why a GPU was idle: what the host did between the end of one work and the start of the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.containment import distinct
from analysis.arithmetic.global_ids import process_of
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.union import IntervalUnion
from analysis.recorded import device_work

if TYPE_CHECKING:
    from analysis.recorded.cuda_calls import CudaCalls
    from analysis.recorded.device_work import DeviceWork

HOST: Final = "host"

COPY: Final = "copy"

SYNCHRONISATION: Final = "synchronisation"

LAUNCH_LATENCY: Final = "launch_latency"

UNKNOWN: Final = "unknown"

CAUSES: Final = (HOST, COPY, SYNCHRONISATION, LAUNCH_LATENCY, UNKNOWN)
"""Why a GPU was idle; unknown where the launch of what followed was not recorded."""

SLOW_CALL_NS: Final = 100_000
"""Ten times what a launch takes; one that takes longer mostly loads the kernel's module first."""

RESUME_NS: Final = 1_000_000
"""Within this a training loop launches again after it has waited; later, it did something else."""


def causes(done: DeviceWork, start_ns: Int64, end_ns: Int64, following: Int64) -> Int64:
    """Return why there was each gap.

    The call that started the next work tells. Begun before the gap, it was in time, and the gap is
    `launch_latency`. Begun later, the host was late: for a `synchronisation` or a `copy` if it was
    in such a call for half of that time, or when the gap began and until `RESUME_NS` before the
    launch (it waited for the very work that had just ended, and could not launch ahead); else
    `host`. Where the call itself was open for half of the gap it was the cause: of a copy it fills
    a buffer, so `copy`; of anything else, if it took over `SLOW_CALL_NS`, `host`.

    Args:
        done: what the GPUs did.
        start_ns: ``(G,)``.
        end_ns: ``(G,)``.
        following: ``(G,)`` positions in the device work.

    Returns:
        ``(G,)`` positions in `CAUSES`.
    """
    call, calls = done.call[following], done.calls
    cause = np.full(len(call), CAUSES.index(UNKNOWN), np.int64)
    known = np.flatnonzero(call != NONE)
    call, start, end = call[known], start_ns[known], end_ns[known]
    begun, returned = calls.start_ns[call], calls.end_ns[call]
    late = begun > start
    cause[known[~late]] = CAUSES.index(LAUNCH_LATENCY)
    process = done.process[following[known]]
    cause[known[late]] = lateness(done, call[late], process[late], start[late])
    busy = 2 * (np.minimum(returned, end) - np.maximum(begun, start)) >= end - start
    copies = done.kind[following[known]] == device_work.COPY
    cause[known[busy & ~late & (returned - begun > SLOW_CALL_NS)]] = CAUSES.index(HOST)
    cause[known[busy & copies]] = CAUSES.index(COPY)
    return cause


def lateness(done: DeviceWork, call: Int64, process: Int64, start_ns: Int64) -> Int64:
    """Return what kept the host from a call that it began after a gap had: see `causes`.

    What another thread of the process waited in counts too, if it was waiting when the gap began
    and was done before the call: autograd's thread launches after the main thread has waited.
    """
    calls = done.calls
    begun, thread = calls.start_ns[call], calls.thread[call]
    of_call = process_of(calls.thread)
    cause = np.full(len(call), CAUSES.index(HOST), np.int64)
    waits = (calls.synchronise, done.blocking_copy)
    own = [waited(calls, wait, calls.thread, thread, start_ns, begun) for wait in waits]
    others = [waited(calls, wait, of_call, process, start_ns, begun, own=False) for wait in waits]
    alone = (own[0] == 0) & (own[1] == 0)
    sync, copy = (np.where(alone, other, mine) for mine, other in zip(own, others, strict=True))
    cause[(sync > 0) & (sync >= copy)] = CAUSES.index(SYNCHRONISATION)
    cause[copy > sync] = CAUSES.index(COPY)
    return cause


def waited(
    calls: CudaCalls,
    chosen: Bools,
    place_of_call: Int64,
    place: Int64,
    start_ns: Int64,
    end_ns: Int64,
    *,
    own: bool = True,
) -> Int64:
    """Return how long some calls took of each window, 0 where they did not matter.

    Args:
        calls: all calls.
        chosen: ``(C,)`` those that wait.
        place_of_call: ``(C,)`` the thread, or the process, of each; ``place`` of each window.
        place: ``(G,)``.
        start_ns: ``(G,)``.
        end_ns: ``(G,)``.
        own: a call matters if it was open at the start and until `RESUME_NS` before the end, or for
            half of the window. Otherwise, if it was open at the start, until then, and no longer.
    """
    result = np.zeros(len(place), np.int64)
    for number in distinct(place):
        some = chosen & (place_of_call == number)
        rows = np.flatnonzero(place == number)
        begin, end = start_ns[rows], end_ns[rows]
        cover = IntervalUnion.of(calls.start_ns[some], calls.end_ns[some])
        inside, until = cover.within(begin, end), cover.until(begin)
        matters = (until > begin) & (end - until <= RESUME_NS)
        if own:
            matters |= 2 * inside >= end - begin
        else:
            matters &= until <= end
        result[rows] = np.where(matters, inside, 0)
    return result
