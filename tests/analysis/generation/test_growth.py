"""Whether decode steps grow with the cache."""

from typing import Any

import numpy as np
import pytest

from analysis.generation.tables import FALLS, GROWS, UNCLEAR, UNKNOWN, step_growth

Record = dict[str, Any]
PAIR = ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-4B-Base")


def drifting(slope_ns: float, prompts: int, steps: int, seed: int = 0) -> list[Any]:
    """Return steps that drift, on prompts each of another speed: 1 ms, noise of 10 µs."""
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(prompts):
        places = np.arange(steps + int(generator.integers(0, steps)))
        speed = 1e6 + generator.normal(0, 1e5)
        noise = generator.normal(0, 1e4, len(places))
        made.append((speed + slope_ns * places + noise).round().astype(np.int64))
    return made


def test_the_slope_is_that_of_least_squares_with_a_height_for_each_prompt() -> None:
    made = drifting(300.0, prompts=7, steps=60)
    found = step_growth(made)
    columns, times = [], []
    for number, steps in enumerate(made):
        for place, time in enumerate(steps[1:], 1):
            columns.append([place, *(float(number == other) for other in range(7))])
            times.append(time)
    expected = np.linalg.lstsq(np.array(columns), np.array(times), rcond=None)[0][0]
    assert found.slope_ns == pytest.approx(expected)
    assert found.low_ns < 300 < found.high_ns
    assert found.verdict == GROWS
    assert found.share == pytest.approx(100 * found.slope_ns / found.mean_ns)


@pytest.mark.parametrize("prompts", [1, 2, 20])
def test_growth_is_told_from_none_and_the_first_step_does_not_count(prompts: int) -> None:
    steps = 400
    verdicts = []
    for seed in range(5):
        made = drifting(0.0, prompts, steps, seed)
        for each in made:
            each[0] *= 50  # of a first step, which would tilt the line
        verdicts.append(step_growth(made).verdict)
    assert verdicts.count(UNCLEAR) >= 4  # chance is allowed to pass for growth now and then
    assert step_growth(drifting(-900.0, prompts, steps)).verdict == FALLS
    assert step_growth(drifting(900.0, prompts, steps)).verdict == GROWS


def test_chance_passes_for_growth_as_rarely_as_it_says() -> None:
    wrong = sum(step_growth(drifting(0.0, 6, 30, seed)).verdict != UNCLEAR for seed in range(300))
    assert 3 <= wrong <= 30  # of 300, at 5 %


def test_of_a_few_steps_nothing_is_said() -> None:
    found = step_growth([np.array([5, 1, 2, 3]), np.array([9])])
    assert found.verdict == UNKNOWN
    assert np.isnan(found.slope_ns)
