"""Runs of the step benchmark on a model of no size, in this process, and with a clock of ours."""

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from profiling.benchmark import __main__ as benchmark
from profiling.benchmark.run import Measurements, run
from profiling.common import cli
from profiling.common.settings import Settings, shape
from profiling.training.training import Training

TINY = ("--size", "tiny", "--num-layers", "1", "--context-length", "8", "--batch-size", "2")
STEPS = ("--num-steps", "3", "--warmup-steps", "1", "--device", "cpu")
MS = 1_000_000


def settings(**changes: object) -> Settings:
    plain = {"size": "tiny", "config": shape("tiny", num_layers=1), "batch": 2, "context": 8}
    return Settings(**{**plain, "device": "cpu", "steps": 3, **changes})  # type: ignore[arg-type]


def growing() -> Callable[[], float]:
    """Return a clock whose n-th reading is 1 + 2 + … + n milliseconds: no two gaps are equal."""
    gaps = count(1)
    now = 0

    def clock() -> float:
        nonlocal now
        now += next(gaps)
        return now / 1000

    return clock


def measured(chosen: Settings, clock: Callable[[], float] | None = None) -> Measurements:
    """Measure with the made-up clock."""
    training = Training(chosen, optimizer=False)
    if chosen.mode != "forward":
        training.make_optimizer()
    return run(training, Measurements(), lambda *_: None, clock or growing())


def command(*arguments: str) -> int:
    """Run the command as ``python -m profiling.benchmark`` would."""
    return cli.run(lambda: benchmark.main(list(arguments)))


def kept(path: Path, *arguments: str) -> dict[str, Any]:
    """Run it on the tiny model and return its JSON."""
    assert command(*TINY, *STEPS, *arguments, "--json", str(path)) == 0
    found: dict[str, Any] = json.loads(path.read_text())
    return found
