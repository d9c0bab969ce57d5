"""Ways of doing one thing, timed by turns: what disturbs the machine disturbs all of them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from random import Random

Times = dict[str, list[float]]
"""What was measured of each side, a value a turn."""

Side = Callable[[int], float]
"""Runs so many steps; returns how many seconds one of them took, on average."""

FIRST_STEPS = 3
"""Of each side before the turns, one by one; the fastest says how many steps fill a block."""


def interleaved(
    sides: Mapping[str, Side], budget_s: float, *, block_s: float, fewest: int
) -> Times:
    """Return the seconds of a step of each side; they take turns, in shuffled order.

    Args:
        sides: what to time, by name.
        budget_s: for all turns together.
        block_s: how long one side runs before another has its turn, at least one step.
        fewest: turns, however long a step takes.

    Returns:
        Seconds by side, a value a turn: values at one place were measured in one turn.
    """
    once = min(side(1) for side in sides.values() for _ in range(FIRST_STEPS))
    steps = max(1, round(block_s / once))
    turns = max(fewest, round(budget_s / (len(sides) * steps * once)))
    found: Times = {name: [] for name in sides}
    names, order = list(sides), Random(0)
    gc.collect()
    gc.disable()
    try:
        for _ in range(turns):
            order.shuffle(names)
            for name in names:
                found[name].append(sides[name](steps))
    finally:
        gc.enable()
    return found
