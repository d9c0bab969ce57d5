"""The results of a machine as a table: each figure against its goal, or beside others'."""

import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from analysis.show.errors import ReportError
from analysis.show.output import replacing
from analysis.show.render import as_csv, as_json, as_markdown, digits, write_text
from analysis.show.sheet import Sheet
from analysis.show.table import Table
from benchmarks.gpu import figures
from benchmarks.gpu.measure import MACHINE
from benchmarks.gpu.runs import Goal, Run
from benchmarks.text import WIDEST

HOLDS, MISSED, BESIDE, NOT_MEASURED = "holds", "missed", "beside", "not measured"
WORDS: Final = ("run", "what", "reached", "goal", "verdict", "source")

Row = dict[str, Any]


def row(folder: Path, run: Run, goal: Goal, kept: float = math.nan) -> Row:
    """Return the row of a goal: `WORDS` and ``value``, which is NaN where nothing was measured.

    Args:
        folder: of a machine.
        run: that was measured, or not.
        goal: what is wanted of it.
        kept: its value of before, for a result that is too large for the repository; NaN for none.
    """
    value, why = kept, ""
    try:
        value = figures.value(folder, goal.figure)
    except (figures.Missing, ReportError) as error:
        why = str(error).removeprefix(f"{run.name}: ")
    except (LookupError, TypeError, ValueError) as error:
        why = f"a result cannot be read ({type(error).__name__}: {error})"
    reached, verdict = why, NOT_MEASURED
    if not math.isnan(value):
        number = f"{value:,.0f}" if value.is_integer() else digits(value)
        reached = f"{number} {goal.figure.unit.rpartition(' ')[2]}".removesuffix(" ratio")
        verdict = HOLDS if goal.least <= value <= goal.most else MISSED
        verdict = BESIDE if math.isinf(goal.least) and math.isinf(goal.most) else verdict
    about = {"run": run.name, "what": goal.what, "reached": reached, "goal": goal.words}
    return {**about, "verdict": verdict, "source": goal.source, "value": value}


def rows(folder: Path, runs: Iterable[Run]) -> list[Row]:
    """Return the rows of all goals, judged as they are now.

    A figure whose result is here no more, as a recording is too large for the repository, has the
    value that was kept of it while its run is there; a run that was taken away has none.
    """
    kept = folder / "goals.json"
    known = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else []
    values = {(each["run"], each["what"]): each["value"] for each in known}

    def value(run: Run, goal: Goal) -> float:
        found = values.get((run.name, goal.what)) if (folder / run.name).is_dir() else None
        return math.nan if found is None else float(found)

    return [row(folder, run, goal, value(run, goal)) for run in runs for goal in run.goals]


def table(found: Sequence[Row], heading: str) -> Table:
    """Return the rows as a table."""
    columns: dict[str, Any] = {name: [str(each[name]) for each in found] for name in WORDS}
    values = [math.nan if each["value"] is None else each["value"] for each in found]
    columns["value"] = np.array(values, np.float64)
    return Table("gpu", columns, heading=heading, hidden=("value", "source"))


def heading(folder: Path) -> str:
    """Return what all results of a machine have in common: its GPU, driver and versions."""
    machines = [json.loads(path.read_text()) for path in sorted(folder.glob(f"*/{MACHINE}"))]
    common = dict(set.intersection(*(set(each.items()) for each in machines))) if machines else {}
    known = ("driver", "torch", "triton", "commit")
    versions = [f"{name} {common[name]}" for name in known if name in common]
    return ", ".join([common.get("device_name", folder.name), *versions])


def show(folder: Path, every: Iterable[Run], runs: Iterable[Run]) -> None:
    """Keep the table of all goals beside the results, as JSON and CSV; print that of some runs."""
    found, above = rows(folder, every), heading(folder)
    for suffix, text in ((".json", as_json), (".csv", as_csv)):
        with replacing(folder / f"goals{suffix}") as draft:
            draft.write_text(text(table(found, above)), encoding="utf-8")
    shown = {run.name for run in runs}
    wanted = table([each for each in found if each["run"] in shown], above)
    write_text(wanted, Sheet(WIDEST), sys.stdout)


def section(results: Path) -> str:
    """Return the tables of all machines in markdown, for docs/gpu.md."""
    tables = [
        as_markdown(table(json.loads(kept.read_text(encoding="utf-8")), heading(kept.parent)))
        for kept in sorted(results.glob("*/goals.json"))
    ]
    return "\n".join(tables) or "Nothing has been measured on a GPU yet; `make gpu` does it."
