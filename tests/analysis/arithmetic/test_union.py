"""Unions of intervals: those of many groups at once are those of each by itself."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.union import IntervalUnion, covered_by_group

GROUPS = 4

Made = list[tuple[int, int, int]]

intervals = st.lists(
    st.tuples(st.integers(0, GROUPS - 1), st.integers(-9, 30), st.integers(0, 12)), max_size=25
)


def columns(made: Made) -> tuple[Int64, ...]:
    group, start, length = np.array(made, np.int64).reshape(-1, 3).T
    return group, start, start + length


@given(intervals)
def test_many_groups_at_once_are_as_busy_as_each_by_itself(
    made: Made,
) -> None:
    group, start, end = columns(made)
    each = [
        IntervalUnion.of(start[group == number], end[group == number]).busy_ns
        for number in range(GROUPS)
    ]
    assert covered_by_group(group, start, end, GROUPS).tolist() == each


@given(intervals, st.integers(-12, 45))
def test_an_instant_is_contained_from_a_start_to_before_an_end(made: Made, instant: int) -> None:
    _, start, end = columns(made)
    inside = bool(((start <= instant) & (instant < end)).any())
    assert IntervalUnion.of(start, end).contains(np.array([instant])).tolist() == [inside]


@given(intervals, intervals)
def test_a_joined_union_is_that_of_all_intervals(
    one: list[tuple[int, int, int]], other: list[tuple[int, int, int]]
) -> None:
    unions = [IntervalUnion.of(*columns(made)[1:]) for made in (one, other)]
    _, start, end = columns(one + other)
    together, joined = IntervalUnion.of(start, end), unions[0].joined(unions[1])
    assert joined.start_ns.tolist() == together.start_ns.tolist()
    assert joined.end_ns.tolist() == together.end_ns.tolist()
