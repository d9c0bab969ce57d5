"""What the host did while a GPU was idle: the first of these that took most of a gap.

The CUDA call that it was in, else the call of the operating system; else, from CPU samples, the
function that ran, or that no CPU ran the thread at all; else the Python function of a trace with
stacks. Looked at is the thread that launched what ended the gap, and where that is not known the
one that launched most of what the device did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.containment import distinct
from analysis.measures.host.doing import NOT_SCHEDULED, waits
from analysis.measures.host.sampled import most_sampled, sampled_elsewhere, windows
from analysis.measures.host_calls import (
    feeding_threads,
    host_calls,
    launching_threads,
    longest_calls,
)
from analysis.recorded.cpu_samples import cpu_samples
from analysis.recorded.host_functions import python_functions, system_calls
from analysis.recorded.scheduling import scheduling
from analysis.source import tables

if TYPE_CHECKING:
    from analysis.measures.idle import IdleGaps
    from analysis.source.report import Report

Texts = npt.NDArray[np.object_]


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
