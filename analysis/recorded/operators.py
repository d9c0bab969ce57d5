"""CPU operators: what takes the kernels' place in a report of a run without a GPU."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64, coded
from analysis.arithmetic.intervals import merge_repeats
from analysis.knowledge.vocabulary import clean
from analysis.recorded.host_functions import HostFunctions
from analysis.source import tables
from analysis.source.operator_tables import operator_domains, operator_ranges, operator_rows

if TYPE_CHECKING:
    from analysis.source.report import Report


WORKS: Final = re.compile(r"aten::|graph_\d+_cpp_fused_|cpp_fused_")
"""Of what a PyTorch trace calls operators only these work, the kernels that Inductor writes for a
CPU among them; the others contain them."""


@dataclass(frozen=True)
class Operators:
    """The calls of CPU operators, each with its self time.

    Attributes:
        names: ``(K,)`` distinct names, ascending.
        name: ``(N,)`` the position of each call's name.
        start_ns: ``(N,)``.
        end_ns: ``(N,)``.
        self_ns: ``(N,)`` its duration less that of the operators directly inside.
        thread: ``(N,)`` its global thread id.
        process: ``(N,)`` its process id.
        others: how many rows are no ``aten::`` operators and so were left out.
        others_ns: their self time.
        unclosed: how many more were never closed, and so have no duration.
    """

    names: list[str]
    name: Int64
    start_ns: Int64
    end_ns: Int64
    self_ns: Int64
    thread: Int64
    process: Int64
    others: int
    others_ns: int
    unclosed: int = 0

    def take(self, kept: Bools) -> Self:
        """Return the calls that a mask keeps; the names stay as they are."""
        fields = ("name", "start_ns", "end_ns", "self_ns", "thread", "process")
        return replace(self, **{field: getattr(self, field)[kept] for field in fields})


def has_operators(report: Report) -> bool:
    """Return whether the report holds CPU operators, from either recorder."""
    return not tables.is_empty(report, tables.OPERATOR) or bool(operator_domains(report))


def all_operators(report: Report) -> HostFunctions:
    """Return every operator that was recorded, those that only contain others among them.

    One that was never closed lasts until the last instant of any.
    """
    if not tables.is_empty(report, tables.OPERATOR):
        rows = operator_rows(report)
        known, name = tables.named(report, rows["name_id"])
    else:
        rows = operator_ranges(report)
        known, name = coded(tables.texts_of(report, rows).tolist())
    end = rows["end_ns"]
    if len(end):
        last = max(int(end.max()), int(rows["start_ns"].max()))
        end = np.where(end == tables.MISSING, last, end)
    return HostFunctions(known, name, rows["start_ns"], end, rows["thread"])


def cpu_operators(report: Report) -> Operators:
    """Return the CPU operators of a report, read once; an empty table if it holds none.

    An operator alone in one of its own name is part of that call. The converter of PyTorch traces
    has seen to that; for NVTX ranges it is done here.
    """
    if not tables.is_empty(report, tables.OPERATOR):
        rows = operator_rows(report)
        known, name = tables.named(report, rows["name_id"])
        self_ns, first, unclosed = rows["self_ns"], np.ones(len(name), np.bool_), 0
    else:
        rows = operator_ranges(report)
        closed = rows["end_ns"] != tables.MISSING
        unclosed = int((~closed).sum())
        rows = {field: column[closed] for field, column in rows.items()}
        # Where shapes are recorded they stand in the name, behind the operator's own.
        known, name = coded(map(clean, tables.texts_of(report, rows).tolist()))
        self_ns, first = merge_repeats(rows["start_ns"], rows["end_ns"], rows["thread"], name)
    works = np.array([WORKS.match(text) is not None for text in known], np.bool_)[name]
    kept, others = first & works, first & ~works
    return Operators(
        names=known,
        name=name[kept],
        start_ns=rows["start_ns"][kept],
        end_ns=rows["end_ns"][kept],
        self_ns=self_ns[kept],
        thread=rows["thread"][kept],
        process=rows["process"][kept],
        others=int(others.sum()),
        others_ns=int(self_ns[others].sum()),
        unclosed=unclosed,
    )
