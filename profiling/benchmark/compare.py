"""Say whether a difference between two benchmarks is real, not just which number is smaller.

    python -m profiling.benchmark --compare before.json after.json
    python -m profiling.benchmark --compare before.json after.json --format csv --output FILE

A ratio is the mean step of B over that of A; below 1 is faster. Its interval is Fieller's (1954) at
95 %, as T. Kalibera and R. Jones recommend ("Quantifying Performance Changes with Effect Size
Confidence Intervals", 2012); the test is Welch's (1947). The step as a whole is judged by itself,
its parts together by the procedure of Benjamini and Hochberg (1995), so that of the parts called
faster or slower one in twenty is expected to be chance. With fewer than two steps nothing is.

Files of another model, batch, context, mode or device are refused; what else differs (precision,
attention, compiler, versions) is said: it is what is compared. Slow first steps, outliers and
drifts are said too: the interval takes steps for independent. Two runs may differ by more than
their steps do, through clocks, temperature and neighbours: repeat what matters.
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from analysis.arithmetic import noise
from analysis.compare.changes import relative_change
from analysis.show.render import duration, plural
from analysis.show.table import Table, columns_of
from profiling.benchmark.run_file import StoredRun, read
from profiling.benchmark.steadiness import steadiness_warnings
from profiling.common import cli
from profiling.common.errors import LaunchError
from profiling.common.settings import Settings
from profiling.common.spread import Spread

MODULE: Final = "profiling.benchmark"
TOTAL: Final = "total"
SIDES: Final = ("A", "B")
FASTER, SLOWER, NONE_SHOWN, UNJUDGED = "faster", "slower", "no difference shown", "not judged"

ALIKE: Final[dict[str, Callable[[StoredRun], str]]] = {
    "model": lambda kept: shape(kept.settings),
    "mode": lambda kept: kept.settings.mode,
    "batch": lambda kept: str(kept.settings.batch),
    "context": lambda kept: str(kept.settings.context),
    "device": lambda kept: kept.facts.get("device_name", "unknown"),
}
"""What must be the same."""

OF_THE_MACHINE: Final = ("torch", "cuda", "driver", "triton", "python", "threads", "commit")
APART: Final = ("size", "config", "mode", "batch", "context", "device", "steps", "warmup")
"""Settings that are compared elsewhere, or that make no step another."""

UNSEEN: Final = ("count_a", "count_b", "ratio_low", "ratio_high", "p")


def shape(settings: Settings) -> str:
    """Return a model's shape in a few words."""
    config = asdict(settings.config)
    return ", ".join(f"{key} {value:g}" for key, value in config.items())


def check(before: StoredRun, after: StoredRun) -> list[str]:
    """Return the settings and facts that differ between two runs, one line each.

    Raises:
        LaunchError: they are of another model, batch, context, mode or device.
    """
    alike = [{what: told(kept) for what, told in ALIKE.items()} for kept in (before, after)]
    if grave := differences(alike, "is"):
        raise LaunchError(
            f"{after.path}: not comparable with {before.path}: {'; '.join(grave)}; "
            "measure both alike"
        )
    given = [
        {name: value for name, value in asdict(kept.settings).items() if name not in APART}
        | {key: kept.facts.get(key) or "none" for key in OF_THE_MACHINE}
        for kept in (before, after)
    ]
    return differences(given, "differs:")


def differences(sides: Sequence[dict[str, Any]], word: str) -> list[str]:
    """Return what has other values in A than in B, one line each."""
    before, after = sides
    return [
        f"{name} {word} {first} in A, {after[name]} in B"
        for name, first in before.items()
        if first != after[name]
    ]


def compare(before: StoredRun, after: StoredRun) -> Table:
    """Compare two runs: a row for the step and for each part that both have, as `row` says.

    Raises:
        LaunchError: they cannot be compared.
    """
    notes = check(before, after)
    for word, kept in zip(SIDES, (before, after), strict=True):
        if not kept.complete:
            notes.append(f"{word} was interrupted after {plural(len(kept.times[TOTAL]), 'step')}")
        notes += [f"{word}: {trouble}" for trouble in steadiness_warnings(kept.times[TOTAL])]
    # On a CPU nothing is left over.
    parts = [
        part
        for part in before.times
        if part in after.times and any([*before.times[part], *after.times[part]])
    ]
    rows = [row(part, before.times[part], after.times[part]) for part in parts]
    p = np.array([each["p"] for each in rows])
    told = [*noise.changed(p[:1]), *noise.changed(p[1:])]  # the step by itself, its parts together
    for each, different in zip(rows, told, strict=True):
        each["verdict"] = verdict(each, different)
    return Table(
        "compare_benchmarks",
        columns_of(rows),
        heading=heading(before, after, rows[0]),
        notes=tuple(notes),
        hidden=UNSEEN,
        droppable=("median_ratio", "a_median_ns", "b_median_ns"),
    )


def row(part: str, before: Sequence[int], after: Sequence[int]) -> dict[str, Any]:
    """Return how the times of one part compare; the verdict is still to come.

    What is not known is NaN.
    """
    found = noise.judge(np.array([before]), np.array([after]))
    a, b = Spread.of_values(before), Spread.of_values(after)
    ratio, low, high = math.nan, math.nan, math.nan
    if a.mean > 0 and b.mean > 0:  # of a part that takes no time there is none
        ratio, low, high = b.mean / a.mean, float(found.low[0]), float(found.high[0])
    judged = not (math.isnan(ratio) or math.isnan(float(found.p[0])))
    bounds = (
        "unbounded" if math.isnan(low) else f"{relative_change(low)} to {relative_change(high)}"
    )
    return {
        "part": part,
        **a.cells("mean", of="a"),
        **b.cells("mean", of="b"),
        **a.cells("median", of="a"),
        **b.cells("median", of="b"),
        "ratio": ratio,
        "interval": bounds if judged else "",
        "verdict": "",
        "median_ratio": b.median / a.median if a.median > 0 else math.nan,
        "ratio_low": low,
        "ratio_high": high,
        "p": float(found.p[0]),
        "count_a": a.count,
        "count_b": b.count,
    }


def verdict(row: dict[str, Any], different: bool) -> str:
    """Return the verdict on a row, in words."""
    if math.isnan(row["p"]):
        return UNJUDGED
    if not different:
        return NONE_SHOWN
    return FASTER if row["b_mean_ns"] < row["a_mean_ns"] else SLOWER


def heading(before: StoredRun, after: StoredRun, total: dict[str, Any]) -> str:
    """Return the heading of a comparison: both runs, and the answer in a sentence."""
    lines = []
    for word, kept in zip(SIDES, (before, after), strict=True):
        steps = len(kept.times[TOTAL])
        lines.append(f"{word}: {kept.path}, {kept.settings.precision}, {plural(steps, 'step')}")
    settings = before.settings
    lines.append(
        f"{settings.size}, {settings.mode}, batch {settings.batch}, context {settings.context}, "
        f"{before.facts.get('device_name', 'unknown')}"
    )
    return "\n".join([*lines, answer(total)])


def answer(total: dict[str, Any]) -> str:
    """Return whether B's step is faster than A's."""
    times = f"{duration(total['a_mean_ns'])} in A, {duration(total['b_mean_ns'])} in B"
    if total["verdict"] == UNJUDGED:
        return f"the step: not judged ({times}): that takes two steps in each"
    interval = f", 95 % interval {total['interval']}" if total["interval"] else ""
    found = f"({times}: {relative_change(total['ratio'])}{interval}, p = {total['p']:.2g})"
    if total["verdict"] == NONE_SHOWN:
        return f"the step: no difference shown {found}"
    return f"the step: B is {total['verdict']} {found}"


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = cli.Parser(MODULE, __doc__)
    made.add_argument(
        "--compare",
        nargs=2,
        required=True,
        type=Path,
        metavar=("A.json", "B.json"),
        help="two files that --json wrote",
    )
    cli.add_output(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Print the comparison and return the exit status."""
    arguments = parser().parse_args(argv)
    cli.check_outputs(arguments)
    before, after = (read(path) for path in arguments.compare)
    if before.path.samefile(after.path):
        raise LaunchError(f"{after.path}: the same file twice; give two runs")
    arguments.before, arguments.after = arguments.compare  # which are not to be written over
    table = compare(before, after)
    if arguments.format not in cli.FOR_PEOPLE:
        # It is the two bounds, in words.
        columns = {name: column for name, column in table.columns.items() if name != "interval"}
        table = replace(table, columns=columns)
    cli.write(table, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
