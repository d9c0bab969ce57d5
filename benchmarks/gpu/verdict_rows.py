"""What a GPU's evidence is held against, row by row, and what its stages left in their folder."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from analysis import Report
from analysis.show.errors import ReportError
from benchmarks.gpu.evidence import STATE
from benchmarks.text import BenchmarkError

REFERENCES: Final[dict[str, Any]] = json.loads(
    Path(__file__).with_name("references.json").read_text(encoding="utf-8")
)
"""Goals, and the figures that others published, each with its source."""

RECORDERS: Final = ("torch", "nsys")

HOLDS: Final = "holds"
MISSED: Final = "missed"
NOT_MEASURED: Final = "not measured"
BESIDE: Final = "beside"
"""A figure that stands beside others' and has no goal."""


class Missing(Exception):
    """Something could not be measured: why, in one line."""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was to be shown.

    Attributes:
        point: under "It must show", from 1.
        what: was to be shown.
        reached: what was found, in words; of what was not measured, why.
        goal: what it should be, or the figures it stands beside.
        verdict: `HOLDS`, `MISSED`, `NOT_MEASURED` or `BESIDE`.
        source: of the goal.
        value: what the verdict is about, as a number in the goal's unit; NaN where there is none.
    """

    point: int
    what: str
    reached: str
    goal: str
    verdict: str
    source: str
    value: float = math.nan


@dataclass(frozen=True, slots=True)
class Found:
    """What was measured.

    Attributes:
        words: as a person reads it.
        value: the number that decides.
        holds: the decision, where it is no comparison with a limit.
    """

    words: str
    value: float = math.nan
    holds: bool | None = None


@dataclass(frozen=True, slots=True)
class Aim:
    """What a row is held against.

    Attributes:
        words: how a person writes it.
        source: who says so.
        at_least: the least that holds, or None.
        at_most: the most that holds, or None; with neither `Found.holds` decides.
        compared: False for figures that only stand beside others.
    """

    words: str
    source: str = "this project's goal"
    at_least: float | None = None
    at_most: float | None = None
    compared: bool = True

    def verdict(self, found: Found) -> str:
        """Return what becomes of a measurement.

        >>> Aim("≥ 2", at_least=2.0).verdict(Found("three", 3.0))
        'holds'
        """
        if not self.compared:
            return BESIDE
        held = found.holds
        if held is None:
            low = -math.inf if self.at_least is None else self.at_least
            high = math.inf if self.at_most is None else self.at_most
            held = low <= found.value <= high
        return HOLDS if held else MISSED


def percent(share: float, decimals: int = 1) -> str:
    """Return a share of 1 as a percentage.

    >>> percent(0.99987, 2)
    '99.99 %'
    """
    return f"{share * 100:.{decimals}f} %"


def aim(key: str, source: str = "this project's goal") -> Aim:
    """Return a goal of the references."""
    known = REFERENCES["goals"][key]
    return Aim(known["words"], source, known.get("at_least"), known.get("at_most"))


def row(point: int, what: str, wanted: Aim, measure: Callable[[], Found]) -> Row:
    """Measure, and say what became of it; what is missing or damaged is said, too."""
    try:
        found = measure()
    except (Missing, ReportError) as error:
        return Row(point, what, str(error), wanted.words, NOT_MEASURED, wanted.source)
    except (KeyError, TypeError, ValueError) as error:
        said = f"the file is damaged ({type(error).__name__}: {error})"
        return Row(point, what, said, wanted.words, NOT_MEASURED, wanted.source)
    verdict = wanted.verdict(found)
    return Row(point, what, found.words, wanted.words, verdict, wanted.source, found.value)


class Left:
    """What `benchmarks.gpu.evidence` left in its folder.

    Raises:
        BenchmarkError: it left nothing there.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        try:
            steps = json.loads((out / STATE).read_text(encoding="utf-8"))["steps"]
            self.status: dict[str, int | str] = {
                name: each["status"] for name, each in steps.items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise BenchmarkError(
                f"{out}: no evidence here; make it with python -m benchmarks.gpu.evidence {out}"
            ) from None

    def why(self, step: str) -> str:
        """Return why a step left nothing."""
        status = self.status.get(step, "not run")
        if status == 0:
            return f"{step}: ran, but what it left is not here"
        if isinstance(status, str):
            return f"{step}: {status}"
        said = self._last_line(step)
        return f"{step}: ended with status {status}" + (f" ({said})" if said else "")

    def _last_line(self, step: str) -> str:
        try:
            lines = (self.out / f"{step}.log").read_text(errors="replace").split("\n")
        except OSError:
            return ""
        # The first is the command; the last, in brackets, says how it ended.
        said = [line.strip() for line in lines[1:] if line.strip() and line[0] != "["]
        errors = [line for line in said if line.startswith("error: ")]
        return (errors or said)[-1][:200] if said else ""

    def path(self, name: str, step: str) -> Path:
        """Return a file that a step leaves.

        Raises:
            Missing: it is not there.
        """
        path = self.out / name
        if not path.is_file():
            raise Missing(self.why(step))
        return path

    def json(self, step: str) -> dict[str, Any]:
        """Return the JSON of a step, of its own name.

        Raises:
            Missing: it is not there, or damaged.
        """
        path = self.path(f"{step}.json", step)
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise Missing(f"{path.name}: no JSON") from None
        if not isinstance(known, dict):
            raise Missing(f"{path.name}: another JSON than was expected")
        return known

    def csv(self, step: str) -> list[dict[str, str]]:
        """Return the rows of the table of a step.

        Raises:
            Missing: it is not there.
        """
        path = self.path(f"{step}.csv", step)
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    def lines(self, name: str, step: str) -> Iterator[dict[str, Any]]:
        """Yield the JSON objects of a file, one a line; a line that was cut short is left out.

        Raises:
            Missing: it is not there.
        """
        for line in self.path(name, step).read_text(encoding="utf-8").splitlines():
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict):
                yield found

    def report(self, name: str, recorder: str) -> Report:
        """Return an open report; the caller closes it.

        Raises:
            Missing: it was not recorded.
            ReportError: it cannot be read.
        """
        step = f"recording-{name}-{recorder}"
        return Report(self.path(f"{name}-{recorder}.sqlite", step))
