"""What timing the parts of a step costs the step: marks and a synchronize, against a bare loop.

    python -m benchmarks.cost.timing_cost
    python -m benchmarks.cost.timing_cost --sizes small --device cuda --seconds 60

A training step (batch 1, context 64) runs bare, and as `profiling.benchmark` times it: a mark
before, between and after its parts, and one synchronize. The two take turns, in blocks; the ratio
is of each turn's pair. `control` is the bare loop against itself: what noise alone looks like. On a
GPU `synchronized` is the bare step with a synchronize after each, and no marks: what is lost when
launches cannot run ahead, which is the price of a step from an idle device to an idle device. `by
itself` is the timing of a step whose parts do nothing. In brackets: the interval that holds the
true median in 95 % of cases. A missed goal is no failure: the exit status stays 0.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import torch

from benchmarks.conditions import conditions
from benchmarks.cost import command
from benchmarks.cost.command import FEWEST, overhead, overhead_text
from benchmarks.samples import SideTimes, interleaved, median_and_range
from model import SIZES
from profiling.common import cli
from profiling.common.machine import device_name
from profiling.common.settings import Settings
from profiling.common.timing import synchronize, time_parts
from profiling.spans import recording
from profiling.training.training import Training

MODULE: Final = "benchmarks.cost.timing_cost"
BATCH: Final = 1
CONTEXT: Final = 64
BLOCK_S: Final = 0.05
"""How long one side runs before the other has its turn, at least one step."""

BARE, TIMED, AGAIN, SYNCHRONIZED = "bare", "timed", "bare again", "synchronized"
EMPTY_REPEATS: Final = 20
EMPTY_LOOPS: Final = 1000

Loop = Callable[[int], object]
"""Runs so many steps."""


def sides(training: Training) -> dict[str, Loop]:
    """Return the ways to run steps, by name."""
    device, parts = training.settings.device, training.parts()

    def bare(steps: int) -> None:
        for _ in range(steps):
            training.step()

    def synchronized(steps: int) -> None:
        for _ in range(steps):
            training.step()
            synchronize(device)

    def timed(steps: int) -> None:
        for _ in range(steps):
            time_parts(parts, device)

    found: dict[str, Loop] = {BARE: bare, TIMED: timed, AGAIN: bare}
    return found | ({SYNCHRONIZED: synchronized} if device.startswith("cuda") else {})


def seconds(loop: Loop, device: str, steps: int) -> float:
    """Return how long one of ``steps`` steps takes, from an idle device to an idle device."""
    synchronize(device)
    began = time.perf_counter()
    loop(steps)
    synchronize(device)
    return (time.perf_counter() - began) / steps


def empty_ns(device: str) -> list[float]:
    """Return what timing three parts that do nothing takes, in nanoseconds, for each repeat."""
    parts = dict.fromkeys(("forward", "backward", "optimizer"), _nothing)

    def loop(steps: int) -> None:
        for _ in range(steps):
            time_parts(parts, device)

    return [seconds(loop, device, EMPTY_LOOPS) * 1e9 for _ in range(EMPTY_REPEATS)]


def _nothing() -> None:
    """Stand in for a part."""


def step_times(size: str, device: str, budget_s: float) -> SideTimes:
    """Return the seconds of a training step of each side in each turn."""
    settings = Settings(
        size=size, config=SIZES[size], batch=BATCH, context=CONTEXT, device=device, mode="train"
    )
    with recording(None):
        every = sides(Training(settings)).items()
        loops = {name: partial(seconds, loop, device) for name, loop in every}
        return interleaved(loops, budget_s, block_s=BLOCK_S, fewest=FEWEST)


HEADER: Final = (*("step", BARE, TIMED, *command.COMPARED, "by itself", SYNCHRONIZED),)


def row(size: str, found: SideTimes, by_itself_ns: Sequence[float]) -> list[str]:
    """Return the line of a size: its times, the ratio, the goal, and what to hold it against."""
    ratio, control = overhead(found, TIMED, BARE), overhead(found, AGAIN, BARE)
    alone = median_and_range(by_itself_ns).middle
    share = alone / (median_and_range(found[BARE]).middle * 1e9)
    waits = SYNCHRONIZED in found
    return [
        size,
        *command.compared(found, (BARE, TIMED), ratio, control),
        f"{alone / 1e3:.1f} µs, {share:+.2%}",
        overhead_text(overhead(found, SYNCHRONIZED, BARE)) if waits else "no GPU",
    ]


def run(argv: Sequence[str] | None) -> int:
    """Measure, print the table, write the data; see the module's docstring."""
    args = command.read(command.parser(MODULE, __doc__, None), argv)
    device = args.device
    threads = torch.get_num_threads()
    known = conditions("torch") | {"device": device_name(device), "threads": threads}
    alone = empty_ns(device)
    found = {size: step_times(size, device, args.seconds) for size in args.sizes}
    rows = [row(size, times, alone) for size, times in found.items()]
    command.show(args.json, known, HEADER, rows, {"by_itself_ns": alone, "seconds": found})
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    return cli.run(lambda: run(argv))


if __name__ == "__main__":
    sys.exit(main())
