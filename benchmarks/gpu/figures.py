"""Figures taken from what runs left, as `runs.toml` describes them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from analysis import Report
from analysis.advice.advise import advise
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Selection
from analysis.measures.window import MeasuredWindow
from benchmarks.gpu.measure import LOG, last_words

if TYPE_CHECKING:
    from benchmarks.gpu.runs import Figure

UNITS: Final = {"%": 100.0, "ns to ms": 1e-6, "ns to µs": 1e-3}
"""What a value is multiplied by to be shown in its unit; others are shown as they are."""

OPTIONS: Final[dict[str, dict[str, Any]]] = {"ranges": {"instances": True}}
"""What a question of a report is asked with, beside what the figure says."""


class Missing(Exception):
    """A figure was not measured: why, in one line."""


def value(folder: Path, figure: Figure) -> float:
    """Return a figure in its unit, from the folder of a machine.

    Raises:
        Missing: there is no such result, or no such value in it.
    """
    found = _values(folder, figure).dropna()
    if found.empty:
        cells = " ".join(cell for cells in figure.where.values() for cell in cells)
        raise Missing(f"{figure.run}: no {figure.column} {cells}".rstrip())
    number = float(getattr(found, figure.how)()) * UNITS.get(figure.unit, 1.0)
    if figure.per is None:
        return number
    return number / value(folder, replace(figure, **{"unit": "", **figure.per, "per": None}))


def _values(folder: Path, figure: Figure) -> pd.Series[float]:
    """Return the values that a figure is made of."""
    match figure.of:
        case "log":
            said = last_words(_result(folder, figure.run, LOG))
            return pd.Series(re.findall(rf"(\d+) {figure.column}", said), dtype=float)
        case "json":
            known = json.loads(_result(folder, figure.run, f"{figure.run}.json").read_text())
            return pd.Series(reduce(lambda part, key: part[key], figure.column.split("."), known))
        case "csv":
            rows = pd.read_csv(_result(folder, figure.run, f"{figure.run}.csv"), dtype=str)
        case question:
            with Report(_result(folder, figure.run, f"{figure.run}.sqlite")) as report:
                if question == "run":
                    return pd.Series(json.loads(report.run[figure.column]))
                if question == "gemms":
                    said = " ".join(report.answers()["answer"])
                    return pd.Series(re.findall(rf"([\d.]+) {figure.column}\b", said), dtype=float)
                if question == "advice":
                    rows = _advice(report)
                else:
                    asked = {**OPTIONS.get(question, {}), **figure.asked}
                    rows = getattr(report, question)(**asked)
    for column, cells in figure.where.items():
        rows = rows[rows[column].isin(cells)]
    return pd.to_numeric(rows[figure.column])


def _advice(report: Report) -> pd.DataFrame:
    """Return the advice on a report, a row each, with what it is predicted to gain."""
    advice = advise(MeasuredWindow(Selected.of(report, Selection())))
    return pd.DataFrame([finding.record for finding in advice.findings], dtype=object)


def _result(folder: Path, run: str, name: str) -> Path:
    path = folder / run / name
    if not path.is_file():
        why = "its result is not here" if path.parent.is_dir() else "not run"
        raise Missing(f"{run}: {last_words(folder / f'{run}.log') or why}")
    return path
