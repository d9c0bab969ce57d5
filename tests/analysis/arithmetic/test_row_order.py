from random import Random
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from analysis.arithmetic.row_order import in_order, row_order

Row = tuple[int, int, str]
ROWS = st.lists(
    st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.sampled_from(["", "a", "b"])), max_size=12
)


def columns(rows: list[Row]) -> dict[str, Any]:
    return {
        "name": np.array([row[2] for row in rows], object),
        "start": np.array([row[0] for row in rows], np.int64),
        "end": np.array([row[1] for row in rows], np.int64),
    }


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_is_that_of_what_they_hold(rows: list[Row], random: Random) -> None:
    found = in_order(columns(rows), "start", "-end")
    expected = sorted(rows, key=lambda row: (row[0], -row[1], row[2]))
    assert list(zip(found["start"], found["end"], found["name"], strict=True)) == expected
    shuffled = random.sample(rows, len(rows))
    other = in_order(columns(shuffled), "start", "-end")
    assert all(found[name].tolist() == other[name].tolist() for name in found)


def test_rows_in_order_stay_where_they_are() -> None:
    assert row_order({"start": np.array([1, 2, 3])}, "start") is None
    assert row_order({"start": np.array([], np.int64)}, "start") is None


def test_the_least_number_can_descend() -> None:
    least = np.iinfo(np.int64).min
    found = in_order({"n": np.array([least, 0, 1])}, "-n")
    assert found["n"].tolist() == [1, 0, least]
