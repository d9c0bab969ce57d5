"""Two ranks train as one process does. The cases are in ``tests/parallel_cases_*.py``."""

from typing import Any

import pytest

from profiling.processes import ranks
from tests.made.parallel import cases, counts

TIMEOUT_S = 120.0


@pytest.fixture(scope="module")
def ended() -> list[dict[str, Any]]:
    """Return how each case ended, on each of two ranks, all run in one spawn."""
    arguments = {"timeout_s": TIMEOUT_S / 4}
    return ranks.run("tests.made.parallel.cases:run_all", 2, arguments, timeout_s=TIMEOUT_S)


@pytest.mark.parametrize("count", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_one_rank_and_three_train_as_one_process_does(count: int) -> None:
    found = ranks.run("tests.made.parallel.counts:distances", count, {}, timeout_s=TIMEOUT_S)
    for distances in found:
        assert len(distances) == 3 * 5  # of models and ways
        for name, distance in distances.items():
            assert distance == 0 if count == 1 else distance < 5e-6, name


@pytest.mark.slow
def test_ten_steps_of_adamw_on_four_ranks() -> None:
    given = {"adamw": True}
    for found in ranks.run("tests.made.parallel.counts:distances", 4, given, timeout_s=TIMEOUT_S):
        counts.check_adamw(found)


@pytest.mark.parametrize("name", cases.names())
def test_on_two_ranks(name: str, ended: list[dict[str, Any]]) -> None:
    assert [outcome[name] for outcome in ended] == ["", ""]
