"""What a run was, written into its report: ``TOOLKIT_RUN`` and ``TOOLKIT_RANGE_COST``."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from analysis.source.trace import schema


def add(report: Path, facts: Mapping[str, object], costs: Sequence[Sequence[object]]) -> None:
    """Add facts and range costs to a report; lists are kept as JSON."""
    rows = [
        (key, value if isinstance(value, str) else json.dumps(value))
        for key, value in facts.items()
    ]
    with closing(sqlite3.connect(report)) as connection, connection:
        schema.create(connection, "TOOLKIT_RUN")
        connection.executemany("INSERT OR REPLACE INTO TOOLKIT_RUN VALUES (?, ?)", rows)
        if costs:
            schema.insert(connection, "TOOLKIT_RANGE_COST", costs)
