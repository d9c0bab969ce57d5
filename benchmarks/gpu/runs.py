"""The table of runs and goals, `runs.toml`, which says what its words mean."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

TABLE: Final = Path(__file__).with_name("runs.toml")
OURS: Final = "this project's goal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number taken from what a run left."""

    run: str
    of: str
    column: str
    unit: str
    where: Mapping[str, list[str]] = field(default_factory=dict)
    how: str = "median"
    asked: Mapping[str, Any] = field(default_factory=dict)
    per: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a figure of a run should be; with no limit it only stands beside the words."""

    what: str
    figure: Figure
    words: str
    least: float = -math.inf
    most: float = math.inf
    source: str = OURS


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One command that leaves results, and its goals."""

    name: str
    limit_s: float
    command: str
    goals: tuple[Goal, ...] = ()


def read(table: Path = TABLE) -> list[Run]:
    """Return the runs of a table in their order."""
    found = []
    for row in tomllib.loads(table.read_text(encoding="utf-8"))["run"]:
        figures = [Figure(**{"run": row["name"]} | goal["figure"]) for goal in row["goals"]]
        goals = zip(row["goals"], figures, strict=True)
        made = tuple(Goal(**{**goal, "figure": figure}) for goal, figure in goals)
        found.append(Run(**{**row, "goals": made}))
    return found
