"""The table of runs and goals, `runs.toml`, read."""

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TABLE: Final = Path(__file__).with_name("runs.toml")
OURS: Final = "this project's goal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a figure of a run should be.

    Attributes:
        what: the figure is of.
        measure: the function of `benchmarks.gpu.figures` that finds it, and what it takes.
        words: of the goal, or the figures that others found.
        least: that holds; with no limit at all the figure only stands beside the words.
        most: that holds.
        source: of the words.
    """

    what: str
    measure: tuple[str, ...]
    words: str = ""
    least: float = -math.inf
    most: float = math.inf
    source: str = OURS


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One command that leaves results.

    Attributes:
        name: of the run, of the folder with its results, and of each result without its suffix.
        limit_s: after that it is ended.
        command: what stands after ``python -m``, with places to be filled in (`runs.toml`).
        goals: what is held against what.
    """

    name: str
    limit_s: float
    command: str
    goals: tuple[Goal, ...] = ()


def read(table: Path = TABLE) -> list[Run]:
    """Return the runs of a table in their order."""
    found = []
    for row in tomllib.loads(table.read_text(encoding="utf-8"))["run"]:
        goals = [goal | {"measure": tuple(goal["measure"])} for goal in row.pop("goals", ())]
        found.append(Run(**row, goals=tuple(Goal(**goal) for goal in goals)))
    return found
