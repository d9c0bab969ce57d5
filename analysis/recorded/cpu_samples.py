"""CPU samples: in which function each thread was, looked at again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.intervals import NONE
from analysis.source import tables
from analysis.source.host import sampling

if TYPE_CHECKING:
    from analysis.source.database import Columns
    from analysis.source.report import Report

COLLECTORS: Final = ("gc_collect*", "*PyGC_Collect*")
"""Python's garbage collector: its work is in dozens of helpers, none of which tells what it is."""


@dataclass(frozen=True)
class CpuSamples:
    """Every CPU sample, ordered by thread, then time.

    Attributes:
        symbols: ``(K,)`` the functions that ran, distinct with their modules. One without a name
            is called like its module; one that the garbage collector called, like the collector.
        modules: ``(K,)`` the file or library of each.
        symbol: ``(S,)`` the position of each sample's function; `NONE` where it is not known.
        start_ns: ``(S,)``.
        thread: ``(S,)`` global thread id.
    """

    symbols: list[str]
    modules: list[str]
    symbol: Int64
    start_ns: Int64
    thread: Int64

    def __len__(self) -> int:
        return len(self.start_ns)


def cpu_samples(report: Report) -> CpuSamples:
    """Return the CPU samples of a report, read once; empty where none were taken."""
    return report.once(_read)


def _read(report: Report) -> CpuSamples:
    rows = sampling.samples(report)
    if not len(rows["id"]):
        none = np.empty(0, np.int64)
        return CpuSamples([], [], none, none, none)
    frames = sampling.frames(report, COLLECTORS)
    # Of the frames of a sample the last counts: the innermost of the collector, else its only one.
    last = np.lexsort((-frames["depth"], frames["fits"]))
    frames = {name: column[last] for name, column in frames.items()}
    symbols, modules, function = functions(report, frames)
    order = np.lexsort((rows["start_ns"], rows["thread"]))
    found = functions_of(rows["id"][order], frames["id"], function)
    return CpuSamples(symbols, modules, found, rows["start_ns"][order], rows["thread"][order])


def functions(report: Report, frames: Columns) -> tuple[list[str], list[str], Int64]:
    """Return the distinct functions of frames, their modules, and ``(F,)`` which one each is."""
    if not len(frames["id"]):
        return [], [], np.empty(0, np.int64)
    symbols, symbol = tables.named(report, frames["symbol"])
    modules, module = tables.named(report, frames["module"])
    nameless = np.array([name.startswith(sampling.ADDRESS) for name in symbols], np.bool_)
    nameless = nameless[symbol] | (frames["symbol"] == tables.MISSING)
    # All that has no name in a module is one.
    inside = np.where(nameless, len(symbols), symbol)
    pairs, function = np.unique(inside * len(modules) + module, return_inverse=True)
    names, files = [*symbols, ""], [modules[place] for place in (pairs % len(modules)).tolist()]
    which = (pairs // len(modules)).tolist()
    texts = [names[place] or file for place, file in zip(which, files, strict=True)]
    known = ~nameless | (frames["module"] != tables.MISSING)
    return texts, files, np.where(known, function, NONE)


def functions_of(sample: Int64, ids: Int64, function: Int64) -> Int64:
    """Return ``(S,)`` the function of each sample, `NONE` where it has no frame.

    Args:
        sample: ``(S,)`` the ids of the samples.
        ids: ``(F,)`` of which sample each frame is; of several the last counts.
        function: ``(F,)``.
    """
    if not len(ids):
        return np.full(len(sample), NONE, np.int64)
    order = np.argsort(ids, kind="stable")
    place = np.searchsorted(ids[order], sample, side="right") - 1
    known = (place >= 0) & (ids[order][place.clip(0)] == sample)
    return np.where(known, function[order][place.clip(0)], NONE)
