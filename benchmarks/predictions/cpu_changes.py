"""Hold predictions for a run on this CPU against runs that were really changed so.

    python -m benchmarks.predictions.cpu_changes
    python -m benchmarks.predictions.cpu_changes --seconds 300

A small model is recorded by the embedded recorder, and `whatif` predicts what steps take without
the optimizer, without the ffn of each block, with half as many blocks, and without the wait for
data. Then all of these run unrecorded, taking turns with the step as it is. The ratio that is
predicted, times the step before, is held against the step after, turn by turn; it is that of
the row `unrecorded` where the report holds the time of unrecorded steps. In brackets: the interval
that holds the true median in 95 % of cases. A missed goal is no failure: the exit status stays 0.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import pandas as pd
import torch

from analysis import Report
from analysis.measures.kept_predictions.record import UNRECORDED
from benchmarks.conditions import RESULTS, conditions
from benchmarks.cost import command
from benchmarks.predictions import cpu_steps as steps
from benchmarks.samples import (
    Goal,
    Sample,
    SideTimes,
    interleaved,
    median_and_interval,
    median_and_range,
)
from benchmarks.speed.processes import output_of
from benchmarks.text import spread, writable
from profiling.common import cli
from profiling.processes.starting import child_environment, python_command
from profiling.spans import recording

MODULE: Final = "benchmarks.predictions.cpu_changes"
DEFAULT: Final = RESULTS / "predictions.json"
BLOCK_S: Final = 1.0
"""How long one side runs before another has its turn, at least one step."""

FEWEST: Final = 6
"""Turns of the sides: with fewer there is no interval."""

WITHIN: Final = Goal("within 10 %", 1.1)
HEADER: Final = (
    *("change", "recorded", "before", "predicted", "after", "predicted / after"),
    *("goal", "verdict"),
)


@dataclass(frozen=True)
class Change:
    """A change that is predicted, and really made.

    Attributes:
        words: what `spanlight whatif` is asked.
        recorded: the side that the report is of, by its name.
        made: the side that is changed so.
        asked: what `Report.whatif` is asked.
    """

    words: str
    recorded: str
    made: str
    asked: dict[str, Any] = field(default_factory=dict)


CHANGES: Final = (
    Change(
        *("remove optimizer", steps.TRAIN, steps.WITHOUT_OPTIMIZER),
        {"remove": ["optimizer"]},
    ),
    Change("remove ffn", steps.WITHOUT_OPTIMIZER, steps.WITHOUT_FFN, {"remove": ["ffn"]}),
    Change(
        *("scale block=0.5", steps.WITHOUT_OPTIMIZER, steps.HALF_THE_BLOCKS),
        {"scale": {"block": 0.5}},
    ),
    Change(f"remove {steps.DATA}", steps.LOADING, steps.TRAIN, {"remove": [steps.DATA]}),
)


@dataclass(frozen=True)
class Predicted:
    """What a report says of a change.

    Attributes:
        before_ms: the median step, as recorded.
        ratio: of the step after the change to that before; of the unrecorded ones where known.
        saved_ms: what the change takes off the median step, as recorded.
    """

    before_ms: float
    ratio: float
    saved_ms: float


def recording_words(side: str, folder: Path) -> list[str]:
    """Return the arguments with which the launcher records a side."""
    place = ["--device", "cpu", "--recorder", "torch", "--reports", str(folder), "--name", side]
    if side == steps.LOADING:
        return [*place, "--script", str(steps.__file__)]
    known = steps.SETTINGS
    options = {**steps.SHAPE, "batch": known.batch, "context": known.context}
    options |= {"steps": known.steps, "warmup": known.warmup}
    numbers = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    return [*place, "--size", known.size, "--mode", side, *numbers]


def recorded(side: str, folder: Path) -> Path:
    """Record a side, and return its report."""
    say(f"{side}: recorded")
    launch = python_command("profiling.launch", *recording_words(side, folder))
    output_of(launch, f"recording {side}", "run it by hand", child_environment())
    return folder / f"{side}.sqlite"


def predicted(report: Path, change: Change) -> Predicted:
    """Return what a report says of a change."""
    with Report(report) as known:
        rows: pd.DataFrame = known.whatif(**change.asked)
    of_steps = rows[rows["step"].str.isdecimal()]
    before_ns, after_ns = of_steps["before_ns"].median(), of_steps["after_ns"].median()
    bare = rows.loc[rows["step"] == UNRECORDED, "ratio"]
    ratio = float(bare.iloc[0]) if len(bare) else after_ns / before_ns
    return Predicted(before_ns / 1e6, ratio, (before_ns - after_ns) / 1e6)


def timed_sides(budget_s: float) -> SideTimes:
    """Return the seconds of a step of each side, unrecorded, in each turn."""

    def seconds(step: Callable[[], None], count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            step()
        return (time.perf_counter() - began) / count

    with recording(None):
        loops = {name: partial(seconds, step) for name, step in steps.sides().items()}
        for step in loops.values():
            step(steps.SETTINGS.warmup)
        return interleaved(loops, budget_s, block_s=BLOCK_S, fewest=FEWEST)


def errors(told: Predicted, change: Change, found: SideTimes) -> Sample:
    """Return the predicted step in the real one, of each turn's pair."""
    pairs = zip(found[change.recorded], found[change.made], strict=True)
    return median_and_interval([told.ratio * before / after for before, after in pairs])


def verdict(error: Sample) -> str:
    """Return whether a prediction, in what came, is within the goal to either side.

    >>> verdict(Sample(0.95, 0.85, 0.99, 9)), verdict(Sample(1.2, 1.15, 1.3, 9))
    ('met, narrowly', 'missed')
    """
    folded = [max(value, 1 / value) for value in (error.middle, error.low, error.high)]
    return WITHIN.verdict(Sample(folded[0], min(folded), max(folded), error.count))


def row(change: Change, told: Predicted, found: SideTimes) -> list[str]:
    """Return the line of a change: the steps before and after, and the prediction beside them."""
    before, after = (
        median_and_range([seconds * 1e3 for seconds in found[side]])
        for side in (change.recorded, change.made)
    )
    error = errors(told, change, found)
    return [
        *(change.words, f"{told.before_ms:.1f} ms", spread(before, "ms", 1)),
        *(f"{told.ratio * before.middle:.1f} ms", spread(after, "ms", 1)),
        *(spread(error, "x", 3), WITHIN.words, verdict(error)),
    ]


def predictions_of(changes: Sequence[Change], folder: Path) -> dict[str, Predicted]:
    """Record what changes are of, each side once, and return what is predicted of each change."""
    reports = {side: recorded(side, folder) for side in {each.recorded: 0 for each in changes}}
    return {each.words: predicted(reports[each.recorded], each) for each in changes}


def data(told: Mapping[str, Predicted], found: SideTimes) -> dict[str, object]:
    """Return the numbers behind the table."""
    predicted_of = {words: asdict(each) for words, each in told.items()}
    turns = {len(each) for each in found.values()}
    about = {"settings": steps.SETTINGS.describe(), "turns": max(turns)}
    return {**about, "predicted": predicted_of, "seconds": found}


def say(line: str) -> None:
    """Print a line on stderr, where progress goes."""
    print(line, file=sys.stderr, flush=True)


def run(argv: Sequence[str] | None) -> int:
    """Record, predict, measure; print the table, and keep the data."""
    made = cli.Parser(MODULE, __doc__)
    made.add_argument("--seconds", type=float, default=90.0, help="of turns (default: 90)")
    made.add_argument("--json", type=Path, default=DEFAULT, metavar="FILE", help="the data")
    args = made.parse_args(argv)
    if not args.seconds > 0:
        made.error("--seconds is above 0")
    writable(args.json)
    known = conditions("torch", "numpy") | {"threads": torch.get_num_threads()}
    with tempfile.TemporaryDirectory(prefix="predictions-") as folder:
        told = predictions_of(CHANGES, Path(folder))
    say("unrecorded, in turns")
    found = timed_sides(args.seconds)
    rows = [row(change, told[change.words], found) for change in CHANGES]
    about = steps.SETTINGS.describe()
    command.show(args.json, known, HEADER, rows, data(told, found), about)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    return cli.run(lambda: run(argv))


if __name__ == "__main__":
    sys.exit(main())
