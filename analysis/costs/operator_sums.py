"""What operators cost and took, by name, shapes and number format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Float64, Int64
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.statistics import sums
from analysis.costs.costed_calls import costed_calls
from analysis.costs.device_peaks import ideal_times
from analysis.source import tables

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.attribution.selected import Selected
    from analysis.costs.device_peaks import DevicePeaks

NAN: Final = float("nan")


@dataclass(frozen=True)
class OperatorSums:
    """The costs and the time of operators, ``K`` kinds of them: a name, shapes, a number format.

    Attributes:
        names: ``(K,)``.
        shapes: ``(K,)`` texts.
        formats: ``(K,)`` number formats; "" where not known.
        calls: ``(K,)`` how many calls launched work that counts.
        kernel_ns: ``(K,)`` the time of that work.
        flops: ``(K,)``, NaN where those of a call are not known.
        bytes: ``(K,)`` the least that must move, likewise.
        ideal_ns: ``(K,)`` the least time by the device's peaks, likewise.
        communicates: ``(K,)`` which of them are collectives.
        modelled: ``(N,)`` which work of the report an operator with known costs launched.
    """

    names: list[str]
    shapes: list[str]
    formats: list[str]
    calls: Int64
    kernel_ns: Int64
    flops: Float64
    bytes: Float64
    ideal_ns: Float64
    communicates: Bools
    modelled: Bools

    def __len__(self) -> int:
        return len(self.names)


def operator_sums(chosen: Selected, peaks: DevicePeaks, softmax_flops: int) -> OperatorSums:
    """Return what each kind of operator cost and took, of the work that counts.

    Args:
        chosen: the part of a report that counts.
        peaks: of the device.
        softmax_flops: per element of a softmax, forward.
    """
    work = chosen.attribution.work
    calls = costed_calls(chosen.attribution, spans=False, softmax_flops=softmax_flops)
    modelled = calls.owner != NONE
    rows = np.flatnonzero(chosen.work & modelled)
    used, owner = np.unique(calls.owner[rows], return_inverse=True)
    kinds = np.stack([calls.name[used], calls.shape[used], calls.number_format[used]])
    found, group = np.unique(kinds, axis=1, return_inverse=True)
    group, count = group.ravel(), found.shape[1]
    spent = sums(owner, work.duration_ns[rows], len(used))
    names, shapes, formats = found.tolist()
    return OperatorSums(
        names=[calls.names[place] for place in names],
        shapes=[calls.shapes[place] for place in shapes],
        formats=[calls.formats[place] for place in formats],
        calls=np.bincount(group, minlength=count).astype(np.int64),
        kernel_ns=sums(group, spent, count),
        flops=sums_where_known(group, as_known(calls.flops[used]), count),
        bytes=sums_where_known(group, as_known(calls.bytes[used]), count),
        ideal_ns=sums_where_known(group, ideal_times(calls, peaks)[used], count),
        communicates=np.bincount(group, calls.is_communication[used], count) > 0,
        modelled=modelled,
    )


def flops_of_single_kernels(attribution: Attribution) -> Int64:
    """Return the FLOPs of each piece of work that is all that its operator launched.

    On a CPU an operator is its own work, whatever others it calls for small things.

    Returns:
        ``(N,)``, or `tables.MISSING`: of an operator with several kernels nothing tells which did
        how much.
    """
    calls, operators = costed_calls(attribution, spans=False), attribution.work.calls
    flops = np.append(calls.flops, tables.MISSING)[calls.owner]
    if operators is not None:
        begun, ended = (
            np.append(times, tables.MISSING)[calls.owner]
            for times in (calls.start_ns, calls.end_ns)
        )
        alone = (begun == operators.start_ns) & (ended == operators.end_ns)
    else:
        pieces = np.bincount(calls.owner[calls.owner != NONE], minlength=len(calls))
        alone = np.append(pieces == 1, False)[calls.owner]
    return np.where(alone & (flops > 0), flops, tables.MISSING)


def as_known(values: Int64) -> Float64:
    """Return numbers as floats, NaN where they are `tables.MISSING`."""
    return np.where(values == tables.MISSING, NAN, values)


def sums_where_known(group: Int64, values: Float64, groups: int) -> Float64:
    """Return ``(groups,)`` sums of the ``(N,)`` values of each group, NaN where one of them is.

    >>> sums_where_known(np.array([0, 0, 1]), np.array([1.0, 2.0, np.nan]), 2).tolist()
    [3.0, nan]
    """
    total = np.zeros(groups)
    np.add.at(total, group, values)
    return total
