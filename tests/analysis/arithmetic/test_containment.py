import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from analysis.arithmetic.containment import (
    Clock,
    CorrelationKeys,
    Intervals,
    contained,
    distinct,
    innermost,
)
from analysis.arithmetic.intervals import NONE, ordered, parents
from analysis.nvidia.tree import levels_of, tightest_parents

Interval = tuple[int, int, int]
Int64 = npt.NDArray[np.int64]

few = st.integers(0, 9)
intervals = st.lists(
    st.tuples(st.integers(1, 3), few, few).map(lambda it: (it[0], min(it[1:]), max(it[1:]))),
    max_size=14,
)


def spans(rows: list[Interval]) -> Intervals:
    """Return intervals, ordered by thread, then start, the longer first."""
    columns = np.array(rows, np.int64).reshape(-1, 3)
    thread, start, end = columns.T
    return Intervals(thread, start, end).take(ordered(start, end, thread))


def inside(outer: Intervals, one: int, inner: Intervals, other: int) -> bool:
    """Return whether an interval lies in another of its thread."""
    return bool(
        outer.thread[one] == inner.thread[other]
        and outer.start_ns[one] <= inner.start_ns[other]
        and inner.end_ns[other] <= outer.end_ns[one]
    )


@given(intervals, intervals)
def test_ranges_contain_the_calls_that_looking_at_every_pair_finds(
    some: list[Interval], others: list[Interval]
) -> None:
    ranges, calls = spans(some), spans(others)
    slices = contained(ranges, calls)
    expected = [
        [call for call in range(len(calls)) if inside(ranges, one, calls, call)]
        for one in range(len(ranges))
    ]
    owner, call = slices.pairs()
    pairs = [(one, other) for one, own in enumerate(expected) for other in own]
    assert list(zip(owner.tolist(), call.tolist(), strict=True)) == pairs
    assert slices.counts().tolist() == [len(own) for own in expected]
    value = np.arange(len(calls)) * 7 % 5
    assert slices.sums(value).tolist() == [int(value[own].sum()) for own in expected]
    held = [own for own in expected if own]
    assert slices.holders().tolist() == [one for one, own in enumerate(expected) if own]
    assert slices.least(value).tolist() == [int(value[own].min()) for own in held]
    assert slices.most(value).tolist() == [int(value[own].max()) for own in held]
    known = {other for own in expected for other in own}
    assert np.flatnonzero(slices.covered(len(calls))).tolist() == sorted(known)


@given(intervals, intervals)
def test_the_innermost_range_is_the_last_to_begin_of_those_around_a_call(
    some: list[Interval], others: list[Interval]
) -> None:
    ranges, calls = spans(some), spans(others)
    expected = [
        max((one for one in range(len(ranges)) if inside(ranges, one, calls, call)), default=NONE)
        for call in range(len(calls))
    ]
    assert innermost(ranges, calls).tolist() == expected


@given(intervals)
def test_parents_are_those_that_looking_at_every_pair_finds(rows: list[Interval]) -> None:
    found = spans(rows)
    expected = [
        max((one for one in range(child) if inside(found, one, found, child)), default=NONE)
        for child in range(len(found))
    ]
    assert parents(found.start_ns, found.end_ns, found.thread).tolist() == expected


@given(intervals)
def test_nvidias_parent_is_the_tightest_and_the_first_of_equally_tight(
    rows: list[Interval],
) -> None:
    found = spans(rows)
    length = (found.end_ns - found.start_ns).tolist()
    expected = [
        min(
            (
                (length[one], one)
                for one in range(len(found))
                if one != child and inside(found, one, found, child)
            ),
            default=(0, NONE),
        )[1]
        for child in range(len(found))
    ]
    row = np.arange(len(found))
    assert tightest_parents(found.thread, found.start_ns, found.end_ns, row).tolist() == expected


def test_ranges_that_are_each_others_parent_and_all_inside_have_no_level() -> None:
    found = spans([(1, 0, 90), (1, 10, 50), (1, 10, 50), (1, 15, 40), (1, 60, 80)])
    parent = tightest_parents(found.thread, found.start_ns, found.end_ns, np.arange(5))
    assert parent.tolist() == [-1, 2, 1, 1, 0]
    assert levels_of(parent).tolist() == [0, -1, -1, -1, 1]


def test_a_call_that_another_call_contains_is_taken_apart() -> None:
    # 0 ── outer call ── 20, with 2 ─ 5 and 8 ─ 9 inside; the range has the two alone.
    calls = spans([(1, 0, 20), (1, 2, 5), (1, 8, 9)])
    assert contained(spans([(1, 0, 10)]), calls).pairs()[1].tolist() == [1, 2]
    assert contained(spans([(1, 0, 20)]), calls).pairs()[1].tolist() == [0, 1, 2]


def test_bounds_are_included_and_one_nanosecond_too_early_is_outside() -> None:
    calls = spans([(1, 10, 20)])
    ranges = spans([(1, 10, 20), (1, 10, 19), (1, 11, 20), (2, 0, 99)])
    assert contained(ranges, calls).counts().tolist() == [1, 0, 0, 0]


def test_thousands_of_nested_ranges_take_no_recursion() -> None:
    depth = 6000
    rows = [(1, number, 3 * depth - number) for number in range(depth)]
    found, call = spans(rows), spans([(1, depth, depth + 1)])
    assert contained(found, call).counts().sum() == depth
    assert innermost(found, call).tolist() == [depth - 1]
    parent = tightest_parents(found.thread, found.start_ns, found.end_ns, np.arange(depth))
    assert levels_of(parent).tolist() == list(range(depth))


def test_a_clock_keeps_threads_apart_however_long_the_recording_was() -> None:
    long = 1 << 61
    found = Intervals(np.array([7, 7, 9]), np.array([0, long, 5]), np.array([5, long + 1, 6]))
    clock = Clock(found)
    assert clock.ranks is not None
    assert (np.diff(clock(found.thread, found.start_ns)) > 0).all()
    assert contained(found, found).counts().tolist() == [1, 1, 1]


def test_correlation_ids_are_told_apart_by_process() -> None:
    keys = CorrelationKeys(np.array([1, 2, 1]), np.array([7, 7, 8]))
    assert keys.count == 3
    wanted = np.array([2, 1, 3, 1, 1]), np.array([7, 8, 7, 9, -5])
    assert keys.find(*wanted)[[0, 1]].tolist() == keys.number[[1, 2]].tolist()
    assert keys.find(*wanted)[2:].tolist() == [NONE, NONE, NONE]


FAR = [1, 2, 1 << 40, 1 << 60, -(1 << 63), (1 << 63) - 1]


@given(st.lists(st.tuples(few, st.sampled_from(FAR)), max_size=9), few)
def test_ids_far_apart_are_found_like_those_close_together(
    pairs: list[tuple[int, int]], other: int
) -> None:
    process, correlation = np.array(pairs, np.int64).reshape(-1, 2).T
    keys = CorrelationKeys(process, correlation)
    assert keys.find(process, correlation).tolist() == keys.number.tolist()
    assert keys.count == len(set(pairs))
    missing = keys.find(np.array([other]), np.array([3]))
    assert missing.tolist() == [NONE]


@given(st.lists(few))
def test_distinct_numbers_are_those_of_a_set(numbers: list[int]) -> None:
    assert distinct(np.array(numbers, np.int64)).tolist() == sorted(set(numbers))
