"""Numbers as a person reads them, in aligned columns, and as JSON for other programs."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from analysis.show.errors import CommandError
from benchmarks.samples import Sample

WIDEST: Final = 1000
"""Of a table, in columns: no cell is cut."""


class BenchmarkError(CommandError):
    """A benchmark cannot be measured: why, in one line, with what to do about it."""


def spread(sample: Sample, unit: str, digits: int = 2) -> str:
    """Return ``median unit (low-high)``.

    >>> spread(Sample(1.25, 1.0, 2.0, 3), "s")
    '1.25 s (1.00-2.00)'
    """
    middle, low, high = (f"{x:.{digits}f}" for x in (sample.middle, sample.low, sample.high))
    return f"{middle}{unit if unit == 'x' else ' ' + unit} ({low}-{high})"


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return cells as a table with columns as wide as they need to be, by `analysis.show`."""
    # Here: a process that measures the memory of others must be small until it has done so.
    from analysis.show.render import write_text
    from analysis.show.sheet import Sheet
    from analysis.show.table import Column, Table

    columns: dict[str, Column] = {
        name: [row[place] for row in rows] for place, name in enumerate(header)
    }
    stream = io.StringIO()
    write_text(Table("lines", columns), Sheet(WIDEST), stream)
    return stream.getvalue().rstrip("\n")


def writable(path: Path) -> Path:
    """Return the path when a file can be written there: asked before measuring for minutes.

    Raises:
        BenchmarkError: it cannot.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchmarkError(f"{path.parent}: {error.strerror}; choose another --json") from None
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise BenchmarkError(f"{path}: cannot be written; choose another --json")
    return path


def earlier_data(path: Path) -> dict[str, object]:
    """Return the data of an earlier run, nothing where there was none.

    Raises:
        BenchmarkError: the file holds something else.
    """
    if not path.exists():
        return {}
    try:
        data = json.loads(path.read_bytes())
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise BenchmarkError(f"{path}: no data of an earlier run; choose another --json")
    return data


def write(path: Path, data: Mapping[str, object]) -> None:
    """Write data as JSON."""
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
