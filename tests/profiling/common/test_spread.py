"""Statistics of repeated measurements, against numpy and Python's own."""

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.common.spread import Spread

TIMES = st.lists(st.integers(0, 10**13), min_size=1, max_size=40)


@given(TIMES)
def test_it_agrees_with_numpy(times: list[int]) -> None:
    found, array = Spread.of_values(times), np.array(times, np.float64)
    assert (found.count, found.total) == (len(times), sum(times))
    assert (found.min, found.max) == (array.min(), array.max())
    assert found.mean == pytest.approx(array.mean(), rel=1e-12)
    assert found.median == pytest.approx(np.median(array), rel=1e-12)
    expected = array.std(ddof=1) if len(times) > 1 else 0.0
    assert found.std == pytest.approx(expected, rel=1e-6, abs=1e-3)


def test_it_is_exact_where_numbers_can_be_added_by_eye() -> None:
    found = Spread.of_values([2, 4, 4, 4, 5, 5, 7, 9])
    assert (found.mean, found.median, found.min, found.max) == (5, 4.5, 2, 9)
    assert found.std == statistics.stdev([2, 4, 4, 4, 5, 5, 7, 9]) == pytest.approx((32 / 7) ** 0.5)
    assert found.relative_std == pytest.approx(found.std / 5)


def test_one_value_has_no_deviation() -> None:
    assert Spread.of_values([7]) == Spread(1, 7, 7, 7, 0.0, 7, 7)


def test_the_order_does_not_matter_and_the_values_stay() -> None:
    values = [3, 1, 2]
    assert Spread.of_values(values) == Spread.of_values(sorted(values))
    assert values == [3, 1, 2]


def test_of_nothing_there_is_nothing_to_say() -> None:
    with pytest.raises(ValueError, match="no values"):
        Spread.of_values([])


def test_a_share_of_a_mean_of_zero_is_zero() -> None:
    assert Spread.of_values([0, 0]).relative_std == 0.0


@given(TIMES)
def test_its_quantiles_are_those_of_numpy(times: list[int]) -> None:
    expected = np.quantile(np.array(times, np.float64), [0.5, 0.1, 0.9])
    assert Spread.quantiles(times) == pytest.approx(expected, rel=1e-9, abs=1e-3)
