"""Change against noise: the distribution, the interval, and many names at once."""

import numpy as np
import pytest

from analysis.arithmetic import noise


@pytest.mark.parametrize(
    ("degrees", "one_in_20", "one_in_100"),
    # The two-sided quantiles of any table of Student's distribution.
    [
        *[(1, 12.706, 63.657), (2, 4.303, 9.925), (4, 2.776, 4.604), (10, 2.228, 3.169)],
        *[(30, 2.042, 2.750), (120, 1.980, 2.617), (1000, 1.962, 2.581)],
    ],
)
def test_the_distribution_is_students(degrees: float, one_in_20: float, one_in_100: float) -> None:
    n = np.array([float(degrees)])
    assert noise.student_tail(np.array([one_in_20]), n)[0] == pytest.approx(0.05, rel=2e-3)
    assert noise.student_tail(np.array([one_in_100]), n)[0] == pytest.approx(0.01, rel=2e-3)
    assert noise.student_tail(np.zeros(1), n)[0] == pytest.approx(1)
    assert noise.student_quantile(n)[0] == pytest.approx(one_in_20, rel=1e-3)


def test_degrees_need_not_be_whole() -> None:
    """Against simulation: t = z / sqrt(chi2(1.5) / 1.5), of which 5 % lie beyond the quantile."""
    random = np.random.default_rng(1)
    t = random.standard_normal(400_000) / np.sqrt(random.chisquare(1.5, 400_000) / 1.5)
    beyond = np.abs(t) > noise.student_quantile(np.array([1.5]))[0]
    assert beyond.mean() == pytest.approx(0.05, abs=0.002)


def test_welchs_example_by_hand() -> None:
    # Means 82 and 92, variances of the means 4 and 1: t = 10 / sqrt(5) with 25/17 degrees.
    found = noise.judge(np.array([[80, 84]]), np.array([[91, 93]]))
    t, degrees = np.array([10 / np.sqrt(5)]), np.array([25 / 17])
    assert found.p == pytest.approx(noise.student_tail(t, degrees))
    assert 0.05 < found.p[0] < 0.12
    assert found.low[0] < 1 < found.high[0]


def test_the_interval_leaves_out_1_exactly_where_the_test_finds_a_difference() -> None:
    random = np.random.default_rng(2)
    before = random.integers(900, 1100, (2000, 4))
    after = random.integers(850, 1150, (2000, 5)) + random.integers(-150, 150, (2000, 1))
    found = noise.judge(before, after)
    outside = (found.low > 1) | (found.high < 1)
    # Only the interpolated quantile may tip what lies within a thousandth of the edge.
    clear = np.abs(found.p - 0.05) > 1e-3
    assert (outside == (found.p < 0.05))[clear].all()
    assert 200 < outside.sum() < 1800


def test_one_in_twenty_of_what_did_not_change_is_beyond_the_interval() -> None:
    random = np.random.default_rng(3)
    before, after = (random.normal(1e6, 1e4, (4000, 3)).astype(np.int64) for _ in range(2))
    found = noise.judge(before, after)
    assert 0.02 < (found.p < noise.LEVEL).mean() < 0.06
    assert noise.changed(found.p).sum() <= 4


def test_of_many_names_those_that_changed_are_found() -> None:
    random = np.random.default_rng(4)
    before, after = (random.normal(1e6, 1e4, (200, 5)).astype(np.int64) for _ in range(2))
    after[:20] += 100_000
    changed = noise.changed(noise.judge(before, after).p)
    assert changed[:20].all()
    assert changed[20:].sum() <= 3


def test_steps_all_alike_make_any_difference_a_change() -> None:
    found = noise.judge(np.array([[5, 5], [5, 5]]), np.array([[5, 5], [6, 6]]))
    assert found.p.tolist() == [1, 0]
    assert (found.low.tolist(), found.high.tolist()) == ([1, 1.2], [1, 1.2])


def test_with_one_step_nothing_is_known() -> None:
    found = noise.judge(np.array([[5]]), np.array([[6, 7]]))
    assert np.isnan([found.p, found.low, found.high]).all()
    assert noise.changed(found.p).tolist() == [False]


def test_a_ratio_to_what_is_not_there_has_no_interval() -> None:
    found = noise.judge(np.array([[0, 0], [0, 100]]), np.array([[6, 7], [6, 7]]))
    assert np.isnan(found.low).all()
    assert np.isnan(found.high).all()
