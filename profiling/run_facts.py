"""What a run was, written into its report: ``TOOLKIT_RUN`` and ``TOOLKIT_RANGE_COST``."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from profiling import report_schema
from profiling.settings import Settings


def of_settings(settings: Settings) -> dict[str, str]:
    """Return the facts that the settings hold."""
    config = settings.config
    return {
        "size": settings.size,
        "d_model": str(config.d_model),
        "d_ff": str(config.d_ff),
        "num_layers": str(config.num_layers),
        "num_heads": str(config.num_heads),
        "vocab_size": str(config.vocab_size),
        "parameters": str(config.parameter_count),
        "mode": settings.mode,
        "batch": str(settings.batch),
        "context": str(settings.context),
        "dtype": settings.dtype,
        "autocast": settings.autocast or "none",
        "attention": settings.attention,
        "compile": str(settings.compile).lower(),
        "optimizer": settings.optimizer,
        "checkpoint": str(settings.checkpoint),
        "steps": str(settings.steps),
        "warmup": str(settings.warmup),
        "seed": str(settings.seed),
    }


def add(report: Path, facts: Mapping[str, object], costs: Sequence[Sequence[object]]) -> None:
    """Add facts and range costs to a report; lists are kept as JSON."""
    rows = [
        (key, value if isinstance(value, str) else json.dumps(value))
        for key, value in facts.items()
    ]
    with closing(sqlite3.connect(report)) as connection, connection:
        report_schema.create(connection, "TOOLKIT_RUN")
        connection.executemany("INSERT OR REPLACE INTO TOOLKIT_RUN VALUES (?, ?)", rows)
        if costs:
            report_schema.insert(connection, "TOOLKIT_RANGE_COST", costs)
