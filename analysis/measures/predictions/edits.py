"""What a change, in a user's words, comes to in a report: edits of its run."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Float64, Int64
from analysis.arithmetic.global_ids import process_of
from analysis.arithmetic.intervals import NONE
from analysis.attribution.work_phases import work_inside
from analysis.measures.predictions.change import COLLECTIVE
from analysis.measures.predictions.edit import Edit, Stretches
from analysis.measures.predictions.scope import Scope, scope, scope_of_ranges
from analysis.measures.replay.lags import kinds
from analysis.recorded.cuda_calls import without_version
from analysis.show.errors import ReportError
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.measures.predictions.change import Change
    from analysis.recorded.device_work import DeviceWork
    from analysis.recorded.ranges import Ranges

LAUNCHES: Final = "a CPU run has no launches, waits or streams that could be changed"

WAITING: Final = re.compile(r"Synchronize|Memcpy|Memset|Free")
"""Names of calls that may wait."""


def edits(attribution: Attribution, change: Change) -> list[Edit]:
    """Return what a change comes to.

    Raises:
        ReportError: there is nothing of a name.
    """
    if attribution.work.on_cpu and (change.graph or change.no_wait or change.overlap):
        raise ReportError(attribution.report.path, LAUNCHES, "scale or remove something instead")
    result = []
    for name, factor in change.scale.items():
        found = scope(attribution, name)
        if found.ranges is None or (found.work.any() and not attribution.work.on_cpu):
            result.append(Edit(work=np.where(found.work, factor, 1.0)))
        else:
            result.append(of_ranges(attribution, found, factor))
    result += [
        launched_at_once(attribution, scope_of_ranges(attribution, name)) for name in change.graph
    ]
    result += [
        of_ranges(attribution, scope_of_ranges(attribution, name), 0.0, left_out=True)
        for name in change.remove
    ]
    result += [Edit(unwaited=calls_named(attribution, name)) for name in change.no_wait]
    if change.host != 1:
        result.append(Edit(host=change.host))
    if change.overlap:
        if not collectives(attribution).any():
            raise ReportError(
                attribution.report.path,
                "no collectives in this report",
                "scale or remove something",
            )
        result.append(collectives_beside(attribution))
    return result


def of_ranges(
    attribution: Attribution, found: Scope, factor: float, *, left_out: bool = False
) -> Edit:
    """Return the edit in which ranges take their time by a factor: the host's, on a CPU all.

    Args:
        attribution: the work and the ranges.
        found: the ranges, with their work.
        factor: of the host's time in them.
        left_out: whether their work and waits are left out too.
    """
    stretches = host_stretches(attribution, found)
    if attribution.work.on_cpu:
        return Edit(stretches=stretches, by=factor, work=outside(attribution, found, factor))
    inside = calls_inside(attribution, found, stretches)
    return Edit(
        stretches=stretches,
        by=factor,
        calls=np.where(inside, factor, 1.0),
        gone=found.work if left_out else None,
        unwaited=inside if left_out else None,
        unqueued=inside if left_out else None,
    )


def outside(attribution: Attribution, found: Scope, factor: float) -> Float64:
    """Return ``(N,)`` the factor of operators that belong to ranges and lie in none of them."""
    calls = attribution.work.calls
    assert calls is not None, "on a CPU work is operators"
    assert found.ranges is not None, "a scope of ranges has ranges"
    stretches = host_stretches(attribution, found)
    covered = np.zeros(len(calls.thread), np.bool_)
    for thread in np.unique(stretches.thread).tolist():
        rows = np.flatnonzero(calls.thread == thread)
        covered[rows] = stretches.of_thread(thread).contains(calls.start_ns[rows])
    return np.where(found.work & ~covered, factor, 1.0)


def host_stretches(attribution: Attribution, found: Scope) -> Stretches:
    """Return the host's time in some ranges, on their threads and those that work for them.

    Backward work that comes from a forward range may have no range around it: between two of its
    launches that follow on one another the time is its own.
    """
    assert found.ranges is not None, "a scope of ranges has ranges"
    ranges = attribution.ranges.take(found.ranges & ~attribution.ranges.elsewhere)
    thread, start, end = [ranges.thread], [ranges.start_ns], [ranges.end_ns]
    if not attribution.work.on_cpu:
        for other, process in working_for(attribution, found, ranges):
            mine = ranges.process == process
            thread.append(np.full(int(mine.sum()), other))
            start.append(ranges.start_ns[mine])
            end.append(ranges.end_ns[mine])
        calls = attribution.device.calls
        first, second = launches_in_a_row(attribution, found)
        thread.append(calls.thread[first] if len(calls) else first)
        start.append(calls.end_ns[first] if len(calls) else first)
        end.append(np.maximum(calls.start_ns[second], start[-1]) if len(calls) else first)
    return Stretches(*(np.concatenate(part) for part in (thread, start, end)))


def working_for(attribution: Attribution, found: Scope, ranges: Ranges) -> list[tuple[int, int]]:
    """Return threads that start work of ranges which other threads opened, and their processes."""
    launches = attribution.all_launches
    mine = found.work & launches.known
    pairs = np.unique(np.stack([launches.thread[mine], launches.process[mine]]), axis=1)
    own = set(np.unique(ranges.thread).tolist())
    return [(thread, process) for thread, process in pairs.T.tolist() if thread not in own]


def launches_in_a_row(attribution: Attribution, found: Scope) -> tuple[Int64, Int64]:
    """Return pairs of calls that start work of some ranges one after another, on one thread.

    Where another thread of the process launches between, the time is not theirs alone.
    """
    done = attribution.device
    rows = np.flatnonzero(done.call != NONE)
    call, first = np.unique(done.call[rows], return_index=True)
    mine = found.work[rows[first]]
    order = np.lexsort((done.calls.start_ns[call], done.calls.thread[call]))
    call, mine = call[order], mine[order]
    thread = done.calls.thread[call] if len(call) else call
    both = np.flatnonzero(mine[1:] & mine[:-1] & (thread[1:] == thread[:-1]))
    first, second = call[both], call[both + 1]
    alone = np.ones(len(both), np.bool_)
    process = process_of(thread)
    for one in np.unique(process[both]).tolist():
        begun = np.sort(done.calls.start_ns[call[process == one]])
        rows = np.flatnonzero(process[both] == one)
        after = np.searchsorted(begun, done.calls.end_ns[first[rows]], side="left")
        alone[rows] = np.searchsorted(begun, done.calls.start_ns[second[rows]]) <= after
    return first[alone], second[alone]


def calls_inside(attribution: Attribution, found: Scope, stretches: Stretches) -> Bools:
    """Return ``(C,)`` which CUDA calls lie in stretches of their thread, or start some work."""
    done = attribution.device
    calls = done.calls
    inside = np.zeros(len(calls), np.bool_)
    inside[done.call[found.work & (done.call != NONE)]] = True
    for thread in np.unique(stretches.thread).tolist():
        rows = np.flatnonzero(calls.thread == thread)
        cover = stretches.of_thread(thread)
        start, end = calls.start_ns[rows], calls.end_ns[rows]
        inside[rows] |= (cover.within(start, end) == end - start) & cover.contains(start)
    return inside


def launched_at_once(attribution: Attribution, found: Scope) -> Edit:
    """Return the edit in which the first launch of each range's work launches all of it.

    What the host does between its launches is left out, but for its waits.
    """
    assert found.ranges is not None, "a scope of ranges has ranges"
    done = attribution.device
    calls = done.calls
    ranges = attribution.ranges.take(found.ranges & ~attribution.ranges.elsewhere)
    call = np.unique(done.call[found.work & (done.call != NONE)])
    call = call[~(calls.synchronise | done.read_back | done.blocking_copy)[call]]
    process = process_of(calls.thread[call]) if len(call) else call
    instance = np.zeros(len(call), np.int64)
    for one in np.unique(ranges.process).tolist():
        starts = np.sort(ranges.start_ns[ranges.process == one])
        rows = np.flatnonzero(process == one)
        instance[rows] = np.searchsorted(starts, calls.start_ns[call[rows]], side="right")
    return at_once(attribution.device, call, kinds(process, instance))


def at_once(
    done: DeviceWork, call: Int64, group: Int64, longest_ns: int = np.iinfo(np.int64).max
) -> Edit:
    """Return the edit in which the first of each group of launches launches what all of them do.

    Args:
        done: what the GPUs did.
        call: ``(L,)`` launches, positions among the CUDA calls.
        group: ``(L,)``.
        longest_ns: pauses of the host between two launches that are shorter go, others stay.
    """
    calls = done.calls
    begun = calls.start_ns[call] if len(call) else call
    order = np.lexsort((begun, group))
    call, group = call[order], group[order]
    same = np.flatnonzero(group[1:] == group[:-1]) + 1
    others, before = call[same], call[same - 1]
    factor, free = np.ones(len(calls)), np.zeros(len(calls), np.bool_)
    factor[others] = 0.0
    free[others] = True
    between = Stretches(
        *(calls.thread[others], calls.end_ns[before], calls.start_ns[others])
        if len(others)
        else (others, others, others)
    )
    ordered = between.start_ns < between.end_ns
    ordered &= between.end_ns - between.start_ns < longest_ns
    stretches = Stretches(
        between.thread[ordered], between.start_ns[ordered], between.end_ns[ordered]
    )
    return Edit(stretches=stretches, by=0.0, calls=factor, unqueued=free)


def calls_named(attribution: Attribution, wanted: str) -> Bools:
    """Return ``(C,)`` which CUDA calls have a name, without its version; or match a glob.

    Raises:
        ReportError: there is none.
    """
    report = attribution.report
    calls = attribution.device.calls
    known = [without_version(name) for name in calls.names]
    fits = np.array([fnmatchcase(name, wanted) for name in known], np.bool_)
    if not fits.any():
        waiting = sorted({name for name in known if WAITING.search(name)})
        there = ", ".join(waiting) or "none"
        raise ReportError(
            report.path,
            f"no CUDA call is called {wanted!r}",
            f"of those that may wait it has: {there}",
        )
    chosen: Bools = fits[calls.name]
    return chosen


def collectives_beside(attribution: Attribution) -> Edit:
    """Return the edit in which collectives run beside what follows them, up to the optimizer."""
    optimizer = attribution.ranges.called(names.OPTIMIZER)
    apart = collectives(attribution)
    return Edit(apart=apart, until=work_inside(attribution, optimizer))


def collectives(attribution: Attribution) -> Bools:
    """Return ``(M,)`` which device work is a collective."""
    result = np.zeros(len(attribution.device), np.bool_)
    result[: len(attribution.work)] = attribution.work.in_category(COLLECTIVE)
    return result
