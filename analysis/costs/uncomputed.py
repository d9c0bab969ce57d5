"""CPU operators that were recorded and computed nothing.

A PyTorch trace of a CPU holds an operator as soon as it is called. Two kinds of calls end without a
result: those that ``torch.compile`` makes with tensors that hold no numbers, to learn the shapes of
results; and the last one of a block that ``torch.utils.checkpoint`` computes again, which it breaks
off when it has all that was asked for. On a GPU such calls launch nothing, and so have no work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools
from analysis.arithmetic.containment import Intervals, innermost_of_any
from analysis.arithmetic.intervals import NONE
from analysis.source import tables
from analysis.source.operator_tables import operator_rows

if TYPE_CHECKING:
    from analysis.recorded.operator_calls import OperatorCalls
    from analysis.source.report import Report

COMPILING: Final = " (dynamo_timed)"
"""What the name of a stage of ``torch.compile`` ends with."""

SAVED: Final = ("aten::detach", "detach")
"""What checkpointing calls for a tensor that autograd saves, before the operator computes."""


def uncomputed(report: Report, calls: OperatorCalls, multiplies: Bools) -> Bools:
    """Return ``(M,)`` which calls of CPU operators computed nothing.

    Args:
        report: what was recorded.
        calls: ``M`` of its operators.
        multiplies: ``(M,)`` which are products: these call more than `SAVED` when they compute.
    """
    rows = operator_rows(report)
    names, name = tables.named(report, rows["name_id"])
    every = Intervals(rows["thread"], rows["start_ns"], rows["end_ns"])
    spans = Intervals(calls.thread, calls.start_ns, calls.end_ns)
    compiling = np.array([text.endswith(COMPILING) for text in names], np.bool_)[name]
    found: Bools = innermost_of_any(every.take(compiling), spans) != NONE
    saved = np.array([text in SAVED for text in names], np.bool_)[name]
    products = np.flatnonzero(multiplies & ~found)
    around = innermost_of_any(spans.take(products), every.take(saved))
    with_saved = products[np.unique(around[around != NONE])]
    if len(with_saved):
        candidates = spans.take(with_saved)
        others = every.take(~saved)
        around = innermost_of_any(candidates, others)
        inside = np.flatnonzero(around != NONE)
        call, other = candidates.take(around[inside]), others.take(inside)
        itself = (call.start_ns == other.start_ns) & (call.end_ns == other.end_ns)
        found[with_saved] = True
        found[with_saved[around[inside[~itself]]]] = False
    return found
