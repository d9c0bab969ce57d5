"""What the host did while a GPU was idle: the first of these that took most of a gap.

The CUDA call that it was in, else the call of the operating system; else, from CPU samples, the
function that ran, or that no CPU ran the thread at all; else the Python function of a trace with
stacks. Looked at is the thread that launched what ended the gap, and where that is not known the
one that launched most of what the device did.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.containment import Intervals, distinct
from analysis.arithmetic.global_ids import process_of
from analysis.arithmetic.intervals import NONE
from analysis.measures.host_calls import (
    feeding_threads,
    host_calls,
    launching_threads,
    longest_calls,
)
from analysis.recorded.cpu_samples import CpuSamples, cpu_samples
from analysis.recorded.host_functions import python_functions, system_calls
from analysis.recorded.scheduling import scheduling
from analysis.show.sheet import in_prose
from analysis.source import tables

if TYPE_CHECKING:
    from analysis.measures.idle import IdleGaps
    from analysis.source.report import Report

Texts = npt.NDArray[np.object_]

NOT_SCHEDULED: Final = "not scheduled"
"""What is said of a thread that no CPU ran for most of a gap: it slept, or waited."""

WAITS: Final = re.compile(
    r"p?poll|p?select|epoll_p?wait\d*|p?readv?\d*(?:64)?|recv\w*|accept4?|sem_\w*wait|"
    r"pthread_cond_\w*wait|pthread_\w*join\w*|pthread_mutex_\w*lock|pthread_rwlock_\w*lock|"
    r"pthread_barrier_wait|futex\w*|\w*sleep|sig\w*wait\w*|wait|waitid|waitpid|wait[34]|"
    r"mq_\w*receive|flock|lockf|fread\w*|fgets\w*|getline|getdelim|"
    r"lll_lock_wait\w*|take_gil|PyThread_acquire_lock\w*"
)
"""Calls of the operating system in which a thread waits: for data, a thread, a lock, the time."""

WAITS_IN_PYTHON: Final = re.compile(
    r"\bacquire'? of|\bbuilt-in (?:function|method) (?:sleep|poll|select|wait|recv|read)\b|"
    r"(?:queue|connection|dataloader|selectors|socket)\.py\(\d+\)|"
    r"threading\.py\(\d+\): (?:wait|join)"
)
"""Python functions in which a thread waits."""

COLLECTS: Final = re.compile(r"gc_collect|_?PyGC_Collect|<built-in function collect>")
"""Functions of Python's garbage collector."""


@dataclass(frozen=True)
class HostActivity:
    """What the host did during each gap of some, ``G`` of them; "" where that is not known.

    Attributes:
        call: the CUDA call that it was in for longest, else the system call.
        symbol: where it was in neither for most of the time, the function that CPU samples found
            it in most often, or `NOT_SCHEDULED`, or the Python function of a trace.
        module: the file of that function, where CPU samples told.
        others: where the thread waited or was not scheduled, the function that CPU samples found
            the other threads of its process in most often.
    """

    call: list[str]
    symbol: list[str]
    module: list[str]
    others: list[str]

    @property
    def name(self) -> list[str]:
        """The call, else the function."""
        return [call or symbol for call, symbol in zip(self.call, self.symbol, strict=True)]


def host_activity(report: Report, gaps: IdleGaps) -> HostActivity:
    """Return what the host did during gaps of a report."""
    count = len(gaps)
    call = np.array([*host_calls(gaps), ""], object)[:count]
    symbol, module = np.full(count, "", object), np.full(count, "", object)
    watched = watched_threads(gaps)
    rest = np.flatnonzero(call == "")
    calls = system_calls(report)
    name, _ = longest_calls(calls.times, calls.name, windows(gaps, watched, rest))
    call[rest] = np.array([*calls.names, ""], object)[name]
    off = off_cpu(report, gaps, watched)
    symbol[off & (call == "")] = NOT_SCHEDULED
    samples = cpu_samples(report)
    rest = np.flatnonzero((call == "") & (symbol == ""))
    found = most_sampled(samples, samples.thread, windows(gaps, watched, rest))
    symbol[rest] = np.array([*samples.symbols, ""], object)[found]
    module[rest] = np.array([*samples.modules, ""], object)[found]
    symbol = in_python(report, gaps, watched, call, symbol)
    waiting = {text for text in set(call.tolist()) if waits(text)}
    waited = np.array([text in waiting for text in call.tolist()], np.bool_)
    found = sampled_elsewhere(samples, gaps, watched, np.flatnonzero(off | waited))
    others = np.array([*samples.symbols, ""], object)[found]
    return HostActivity(call.tolist(), symbol.tolist(), module.tolist(), others.tolist())


def nothing_known(report: Report) -> str:
    """Return in words what the host was in where nothing of `HostActivity` is known."""
    return " and ".join(f"no {what}" for what in ("call", *more_than_calls(report)))


def more_than_calls(report: Report) -> tuple[str, ...]:
    """Return what a report holds of the host besides its calls."""
    samples, functions = len(cpu_samples(report)), len(python_functions(report))
    return (*(("sample",) if samples else ()), *(("Python function",) if functions else ()))


def doing(name: str) -> str:
    """Return in words that the host was in a call or a function, or what is said of it besides.

    >>> doing("poll"), doing(NOT_SCHEDULED)
    ('in poll', 'not scheduled')
    """
    return name if name == NOT_SCHEDULED else f"in {in_prose(name)}"


def waits(name: str) -> bool:
    """Return whether what the host did is waiting, for data, another thread, a lock or the time.

    >>> [waits(name) for name in ("sem_wait", "__poll", NOT_SCHEDULED, "write")]
    [True, True, True, False]
    """
    own = name.strip("_").removeprefix("GI_").strip("_").partition("@")[0]
    known = WAITS.fullmatch(own) is not None or WAITS_IN_PYTHON.search(name) is not None
    return known or name == NOT_SCHEDULED


def windows(gaps: IdleGaps, thread: Int64, rows: Int64) -> Intervals:
    """Return the gaps at some positions, each with a thread out of ``(G,)``."""
    return Intervals(thread[rows], gaps.start_ns[rows], gaps.end_ns[rows])


def watched_threads(gaps: IdleGaps) -> Int64:
    """Return ``(G,)`` the thread that launched what ended each gap, else most of the device's work.

    It is `tables.MISSING` where no launch of the device is known.
    """
    thread = launching_threads(gaps)
    for number, place in enumerate(gaps.places):
        rows = np.flatnonzero((gaps.place == number) & (thread == tables.MISSING))
        feeding = feeding_threads(gaps.done, place) if len(rows) else thread[:0]
        if len(feeding):
            known, launches = np.unique(feeding, return_counts=True)
            thread[rows] = known[launches.argmax()]
    return thread


def off_cpu(report: Report, gaps: IdleGaps, watched: Int64) -> Bools:
    """Return ``(G,)`` during which gaps no CPU ran the thread for most of the time."""
    switches, result = scheduling(report), np.zeros(len(gaps), np.bool_)
    for thread in distinct(watched).tolist() if len(switches) else ():
        running = switches.running(thread)
        if running is not None:
            rows = np.flatnonzero(watched == thread)
            start, end = gaps.start_ns[rows], gaps.end_ns[rows]
            result[rows] = 2 * running.within(start, end) < end - start
    return result


def most_sampled(samples: CpuSamples, place: Int64, gaps: Intervals) -> Int64:
    """Return which function most samples during each gap found, of several the first by name.

    Args:
        samples: all samples.
        place: ``(S,)`` ascending, of each sample; what the ``thread`` of a gap is compared with.
        gaps: ``G`` of them; a sample at the end of one lies outside.

    Returns:
        ``(G,)`` positions among the functions, `NONE` where there is no sample.
    """
    result = np.full(len(gaps), NONE, np.int64)
    for number in distinct(gaps.thread).tolist():
        low, high = np.searchsorted(place, [number, number + 1])
        rows = np.flatnonzero(gaps.thread == number)
        at = samples.start_ns[low:high]
        first = np.searchsorted(at, gaps.start_ns[rows], side="left")
        count = np.searchsorted(at, gaps.end_ns[rows], side="left") - first
        gap = np.repeat(np.arange(len(rows)), count)
        within = np.arange(len(gap)) + np.repeat(first - np.cumsum(count) + count, count)
        symbol = samples.symbol[low:high][within]
        known, functions = symbol != NONE, max(len(samples.symbols), 1)
        pair, times = np.unique(gap[known] * functions + symbol[known], return_counts=True)
        # In this order the last of each gap is the function with most samples; it stays.
        order = np.lexsort((-pair, times))
        result[rows[pair[order] // functions]] = pair[order] % functions
    return result


def sampled_elsewhere(samples: CpuSamples, gaps: IdleGaps, watched: Int64, chosen: Int64) -> Int64:
    """Return which function most samples of other threads found, ``(G,)``; `NONE` elsewhere.

    Args:
        samples: all samples.
        gaps: ``G`` of them.
        watched: ``(G,)`` the threads that are left out; those of their processes are looked at.
        chosen: positions of the gaps that are asked about.
    """
    result = np.full(len(gaps), NONE, np.int64)
    for thread in distinct(watched[chosen]).tolist() if len(samples) else ():
        rows = chosen[watched[chosen] == thread]
        kept = (process_of(samples.thread) == process_of(thread)) & (samples.thread != thread)
        kept = np.flatnonzero(kept)
        kept = kept[np.argsort(samples.start_ns[kept], kind="stable")]
        other = CpuSamples(
            samples.symbols,
            samples.modules,
            samples.symbol[kept],
            samples.start_ns[kept],
            np.full(len(kept), thread),
        )
        result[rows] = most_sampled(other, other.thread, windows(gaps, watched, rows))
    return result


def in_python(report: Report, gaps: IdleGaps, watched: Int64, call: Texts, symbol: Texts) -> Texts:
    """Return the functions, ``(G,)``, with the Python function where nothing else is known.

    Autograd's thread runs no Python: then the other threads that feed the device are looked at.
    """
    functions, symbol = python_functions(report), symbol.copy()
    if not len(functions):
        return symbol
    names = np.array([*functions.names, ""], object)
    nothing = (call == "") & (symbol == "")

    def fill(rows: Int64, thread: Int64) -> None:
        name, _ = longest_calls(functions.times, functions.name, windows(gaps, thread, rows))
        symbol[rows] = names[name]

    fill(np.flatnonzero(nothing), watched)
    for number, place in enumerate(gaps.places):
        for thread in distinct(feeding_threads(gaps.done, place)).tolist():
            rows = np.flatnonzero(nothing & (symbol == "") & (gaps.place == number))
            fill(rows, np.full(len(gaps), thread))
    return symbol
