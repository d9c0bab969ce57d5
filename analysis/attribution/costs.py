"""What ranges cost by analysis of the model: FLOPs from their payloads, bytes from the report."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from analysis.arithmetic.arrays import Bools, Float64, Int64, coded
from analysis.knowledge.vocabulary import canonical
from analysis.show.command import count
from analysis.show.render import plural
from analysis.source import tables
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.recorded.ranges import Ranges


SOFTMAX_FLOPS: Final = 3
"""FLOPs per softmax element that our model counts: exponential, sum, division.

Others count 5, with the maximum and its subtraction, or 1.
"""


def range_flops(attribution: Attribution, softmax_flops: int = SOFTMAX_FLOPS) -> tuple[Int64, int]:
    """Return the FLOPs that each range carries as its payload, ``(R,)``, softmax rescaled.

    Args:
        attribution: the ranges.
        softmax_flops: per element of a softmax, forward; the backward pass stays as recorded.

    Returns:
        ``(R,)`` FLOPs, or `tables.MISSING`; and of how many softmax ranges the report does not tell
        the number of elements, so that they are as recorded.
    """
    ranges = attribution.ranges
    softmax = ranges.called(names.SOFTMAX) & (ranges.payload != tables.MISSING)
    numbers = by_name_and_payload(ranges, attribution.report.once(tables.range_elements))
    known = softmax & (numbers != tables.MISSING)
    # A payload of another's may be any 64 bits.
    countable = (ranges.payload >= 0) & (ranges.payload <= tables.MOST_COST)
    recorded = np.where(countable, ranges.payload, tables.MISSING)
    result = np.where(known, softmax_flops * numbers, recorded)
    return result, int((softmax & ~known).sum())


def range_least_bytes(attribution: Attribution) -> Int64:
    """Return the least bytes each range must move, ``(R,)``, or `tables.MISSING`."""
    return by_name_and_payload(attribution.ranges, attribution.report.once(tables.range_bytes))


def by_name_and_payload(ranges: Ranges, known: Mapping[tuple[str, int], int]) -> Int64:
    """Return a figure of each range by its name and payload, ``(R,)``, or `tables.MISSING`."""
    result = np.full(len(ranges), tables.MISSING, np.int64)
    rows = np.flatnonzero(ranges.payload != tables.MISSING)
    if not known or not len(rows):
        return result
    pair = np.stack([ranges.name[rows], ranges.payload[rows]])
    distinct, place = np.unique(pair, axis=1, return_inverse=True)
    values = [
        known.get((ranges.names[name], payload), tables.MISSING)
        for name, payload in distinct.T.tolist()
    ]
    result[rows] = np.array(values, np.int64)[place.ravel()]
    return result


def canonical_labels(ranges: Ranges) -> tuple[list[str], Int64]:
    """Return the canonical names of ranges, ascending, and ``(R,)`` which of them each has."""
    known, label = coded(map(canonical, ranges.names))
    return known, label[ranges.name]


def softmax_convention(softmax_flops: int | None) -> str:
    """Return in words how many FLOPs an element of a softmax counts; None: as it was recorded."""
    if softmax_flops is None:
        return "softmax counted as recorded"
    return f"softmax counted as {softmax_flops} FLOPs an element, forward"


def unscaled_line(count: int) -> str:
    """Return a line on softmax ranges whose FLOPs cannot be rescaled."""
    some = plural(count, "softmax range keeps", "softmax ranges keep")
    return f"{some} the FLOPs recorded: how many elements they are for is not known"


def add_softmax_option(made: argparse.ArgumentParser) -> None:
    """Add to a parser the option ``--softmax-flops`` of the commands that count FLOPs."""
    made.add_argument(
        "--softmax-flops",
        type=count,
        metavar="N",
        default=SOFTMAX_FLOPS,
        help="FLOPs of a softmax element, forward (default %(default)s)",
    )


def whole_numbers(values: Float64) -> npt.NDArray[Any]:
    """Return floats as whole numbers, of Python where NaN is among them, which no int64 holds.

    >>> whole_numbers(np.array([4.0, -1.0, np.nan])).tolist()
    [4, -1, nan]
    >>> whole_numbers(np.array([4.0])).dtype.kind
    'i'
    """
    missing = np.isnan(values)
    return _with_nan(np.where(missing, 0, values).astype(np.int64), missing)


def nan_where_missing(values: Int64) -> npt.NDArray[Any]:
    """Return whole numbers, NaN among them where they are `tables.MISSING`.

    >>> nan_where_missing(np.array([4, tables.MISSING])).tolist()
    [4, nan]
    >>> nan_where_missing(np.array([4])).dtype.kind
    'i'
    """
    return _with_nan(values, values == tables.MISSING)


def _with_nan(values: Int64, missing: Bools) -> npt.NDArray[Any]:
    if not missing.any():
        return values
    # As Python's own numbers: float64, which has a NaN, holds no number above 2**53 exactly.
    result = values.astype(object)
    result[missing] = np.nan
    return result
