"""The rows of `analysis.ranges` on a report."""

from pathlib import Path
from typing import Any

from analysis import Report
from analysis.ranges.summary import summary


def rows(path: Path, **options: Any) -> list[dict[str, Any]]:
    with Report(path) as report:
        return summary(report, **options).rows()


def by_range(path: Path, column: str, **options: Any) -> dict[str, Any]:
    return {row["range"]: row[column] for row in rows(path, **options)}
