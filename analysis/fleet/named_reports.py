"""Which reports the arguments name: a folder stands for the reports in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from analysis.show.errors import ReportError

ENDINGS: Final = (".sqlite", ".nsys-rep", ".qdrep", ".json", ".json.gz")
"""How the names of reports end; a folder may hold anything else beside them."""

COLUMNS: Final = ("*.parquet", "*.arrow")
"""What a folder holds that is one report, as ``nsys export --type=parquetdir`` writes it."""


def reports_of(given: Iterable[str]) -> list[str]:
    """Return the paths of the reports that some paths name, in their order.

    Of a report that stands in a folder both as recorded and as exported, the export counts.

    Raises:
        ReportError: a folder holds none, or a report is named twice.
    """
    found = [path for each in given for path in _of_path(each)]
    known: set[tuple[int, int]] = set()
    for path in found:
        try:
            state = os.stat(path)
        except OSError:
            continue  # who reads it will say so
        if (state.st_dev, state.st_ino) in known:
            raise ReportError(path, "given twice", "name each report once")
        known.add((state.st_dev, state.st_ino))
    return found


def _of_path(path: str) -> Sequence[str]:
    folder = Path(path)
    if not path or not folder.is_dir() or is_report_folder(folder):
        return [path]
    inside = {each.name: each for each in folder.iterdir()}
    names = [
        name
        for name, each in inside.items()
        if not name.startswith(".")
        and (is_report_folder(each) if each.is_dir() else name.endswith(ENDINGS))
    ]
    stems = {name.removesuffix(".sqlite") for name in names if name.endswith(".sqlite")}
    names = [name for name in names if name.endswith(".sqlite") or _stem(name) not in stems]
    if not names:
        raise ReportError(path, "a folder without reports", "name one that holds a report a rank")
    return [os.path.join(path, name) for name in sorted(names, key=_in_order)]


def is_report_folder(folder: Path) -> bool:
    """Return whether a folder is one report: the tables of an export, a file each."""
    return folder.is_dir() and any(any(folder.glob(pattern)) for pattern in COLUMNS)


def _stem(name: str) -> str:
    return next((name.removesuffix(each) for each in ENDINGS if name.endswith(each)), name)


def _in_order(name: str) -> list[tuple[int, str]]:
    """Return a key by which ``rank10`` comes after ``rank9``."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    ]
