"""Budgets of steps add up to the nanosecond, and are what looking at every nanosecond gives."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from analysis.arithmetic.intervals import self_intervals
from analysis.measures.step_budget import (
    CLASSES,
    COMMUNICATION,
    COPIES,
    LEFT_OUT,
    MATRIX,
    MEMORY,
    NOT_MODELLED,
    PARTS,
    Pieces,
    split,
)

PIECE = st.tuples(
    st.integers(0, 60), st.integers(0, 12), st.integers(0, CLASSES - 1), st.integers(0, 9)
)
OF_CLASS = {
    MATRIX: ("matrix_ideal", "matrix_lost"),
    MEMORY: ("memory_ideal", "memory_lost"),
    NOT_MODELLED: ("not_modelled",),
    COMMUNICATION: ("communication",),
    COPIES: ("copies",),
    LEFT_OUT: ("left_out",),
}


@given(
    st.lists(PIECE, max_size=12), st.lists(st.integers(0, 70), min_size=2, max_size=6, unique=True)
)
def test_each_nanosecond_counts_for_the_first_class_that_is_going_on(
    drawn: list[tuple[int, int, int, int]], bounds: list[int]
) -> None:
    columns = np.array(drawn, np.int64).reshape(-1, 4)
    start, took, kind, ideal = columns.T
    pieces = Pieces(start, start + took, kind, np.where(ideal == 9, math.nan, ideal))
    edges = np.array(sorted(bounds), np.int64)
    parts = split(pieces, edges[:-1], edges[1:])
    assert (parts >= 0).all()
    for row, (low, high) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        expected = dict.fromkeys(OF_CLASS, 0)
        for instant in range(low, high):
            going_on = [what for at, length, what, _ in drawn if at <= instant < at + length]
            if going_on:
                expected[min(going_on)] += 1
        for what, names in OF_CLASS.items():
            found = sum(int(parts[row, PARTS.index(name)]) for name in names)
            assert found == expected[what]


def test_ideal_time_is_that_of_the_part_in_the_window_and_never_more_than_it_took() -> None:
    pieces = Pieces(
        np.array([0, 20]), np.array([10, 30]), np.array([MATRIX, MEMORY]), np.array([4.0, 99.0])
    )
    parts = split(pieces, np.array([5, 20]), np.array([20, 40]))
    of_name = {name: parts[:, place].tolist() for place, name in enumerate(PARTS)}
    assert (of_name["matrix_ideal"], of_name["matrix_lost"]) == ([2, 0], [3, 0])
    assert (of_name["memory_ideal"], of_name["memory_lost"]) == ([0, 10], [0, 0])


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9), st.integers(0, 1)), max_size=8))
def test_self_intervals_are_where_an_interval_is_innermost(
    drawn: list[tuple[int, int, int]],
) -> None:
    start, took, thread = np.array(drawn, np.int64).reshape(-1, 3).T
    begin, finish, owner = self_intervals(start, start + took, thread)
    assert (begin < finish).all()
    for one in range(2):
        rows = np.flatnonzero(thread == one)
        for instant in range(30):
            around = [
                row for row in rows.tolist() if start[row] <= instant < start[row] + took[row]
            ]
            found = [
                int(owner[place])
                for place in range(len(owner))
                if begin[place] <= instant < finish[place] and thread[owner[place]] == one
            ]
            assert len(found) == len(set(found))
            if around and is_nested(start, start + took, rows):
                assert len(found) == 1
                shortest = min(took[row] for row in around)
                assert took[found[0]] == shortest


def is_nested(start: np.ndarray, end: np.ndarray, rows: np.ndarray) -> bool:
    """Return whether of any two intervals one contains the other or they do not overlap."""
    return not any(
        start[one] < start[other] < end[one] < end[other] for one in rows for other in rows
    )
