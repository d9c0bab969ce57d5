"""What it costs to start a command: the CPU time of every --help, beside that of Python alone.

    python -m benchmarks.cost.start_cost
    python -m benchmarks.cost.start_cost --rounds 9

Each is a process of its own; the commands take turns. A missed goal is no failure: the exit status
stays 0.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.conditions import RESULTS, ROOT, conditions
from benchmarks.cost import command
from benchmarks.samples import Goal, median_and_range
from benchmarks.speed.processes import contest
from benchmarks.text import spread, writable
from profiling.common import cli

MODULE: Final = "benchmarks.cost.start_cost"
PYTHON: Final = "python"
LIST: Final = "spanlight"
HEADER: Final = ("command", "CPU", "goal", "verdict")
LIST_GOAL: Final = Goal("<= 0.25 s", 0.25)
"""Of the list of the commands."""

GOAL: Final = Goal("<= 0.6 s", 0.6)
"""Of the help of one."""


def names_in(listed: str) -> list[str]:
    """Return the commands that a list of them names."""
    found = re.findall(r"^  ([a-z]\S*) ", listed, re.MULTILINE)
    return [name for name in found if name != LIST]


def commands() -> dict[str, list[str]]:
    """Return the command line of each help, by the command's name."""
    program = [sys.executable, "-m", LIST]
    listed = subprocess.run(
        [*program, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {
        PYTHON: [sys.executable, "-c", "pass"],
        LIST: [*program, "--help"],
        **{name: [*program, name, "--help"] for name in names_in(listed.stdout)},
    }


def row(name: str, seconds: Sequence[float]) -> tuple[str, ...]:
    """Return the cells of a command's line."""
    found = median_and_range(seconds)
    goal = None if name == PYTHON else LIST_GOAL if name == LIST else GOAL
    held = (goal.words, goal.verdict(found)) if goal else ("", "")
    return (name, spread(found, "s"), *held)


def run(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table and keep the data."""
    made = cli.Parser(MODULE, __doc__)
    made.add_argument("--rounds", type=cli.count, default=5, metavar="N", help="(default: 5)")
    default = RESULTS / "start_cost.json"
    made.add_argument("--json", type=Path, default=default, metavar="FILE", help="the data")
    args = made.parse_args(argv)
    writable(args.json)
    known = conditions("numpy", "pandas", "torch")
    with TemporaryDirectory() as folder:
        runs, _ = contest(commands(), Path(folder), args.rounds)
    rows = [row(name, each.cpu_seconds) for name, each in runs.items()]
    data = {name: each.cpu_seconds for name, each in runs.items()}
    command.show(args.json, known, HEADER, rows, {"cpu_seconds": data})
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    return cli.run(lambda: run(argv))


if __name__ == "__main__":
    sys.exit(main())
