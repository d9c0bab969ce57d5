"""Finished rows of sweeps: a JSON object a line, written as soon as its row is done."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from analysis.source.json_files import checked, parsed
from profiling.common.json_lines import JsonLines, open_json_lines
from profiling.common.machine import facts
from profiling.common.settings import Settings

SAME_MACHINE: Final = ("device_name", "torch", "driver")
"""What must be the same for a row to count as measured already."""

Status = Literal["ok", "OOM", "failed"]
OK: Final = "ok"
OOM: Final = "OOM"
FAILED: Final = "failed"


@dataclass(frozen=True, slots=True)
class SweepRow:
    """One row of a sweep, measured or not.

    Attributes:
        reason: why it is not `OK`, else "".
        result: what `profiling.benchmark` writes as JSON; None unless `OK`.
        limit_bytes: how much memory it might take; None for all there was.
    """

    settings: Settings
    status: Status
    reason: str
    result: dict[str, Any] | None
    limit_bytes: int | None = None

    def stands(self, limit_bytes: int | None) -> bool:
        """Return whether a sweep with this limit need not measure it again."""
        return self.status == OK or (self.status == OOM and self.limit_bytes == limit_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRow:
    """A row as it is kept: its settings as `asdict` gives them, and where it was measured."""

    settings: dict[str, Any]
    machine: dict[str, str]
    status: Status
    reason: str
    limit_bytes: int | None
    result: dict[str, Any] | None

    def __post_init__(self) -> None:
        if (self.status == OK) != (self.result is not None):
            raise ValueError("a row without its result")

    @property
    def row(self) -> SweepRow:
        """The row of the sweep."""
        settings = Settings.from_fields(self.settings)
        return SweepRow(settings, self.status, self.reason, self.result, self.limit_bytes)


class Store:
    """The rows kept in a file that is open.

    Args:
        file: of rows.
        device: that rows are measured on.
    """

    def __init__(self, file: JsonLines[tuple[StoredRow, SweepRow]], device: str) -> None:
        self._file = file
        known = facts(device)
        self._machine: dict[str, str] = {key: known[key] for key in SAME_MACHINE if key in known}
        # By the settings as they are read: an earlier version wrote fewer of them.
        self._rows = {_key(row.settings, stored.machine): row for _, _, (stored, row) in file.lines}

    def find(self, settings: Settings) -> SweepRow | None:
        """Return the row that was measured with these settings on this machine, the last one."""
        return self._rows.get(_key(settings, self._machine))

    def add(self, row: SweepRow) -> None:
        """Keep a row: it is on the disk when this returns.

        Raises:
            LaunchError: the disk does not take it.
        """
        stored = StoredRow(machine=self._machine, **asdict(row))
        self._file.add(asdict(stored))
        self._rows[_key(row.settings, self._machine)] = row


@contextmanager
def open_store(path: Path, device: str) -> Iterator[Store]:
    """Open the file of rows, which may not exist yet.

    Raises:
        LaunchError: as `open_json_lines` says.
    """

    def rows_of(line: bytes) -> tuple[StoredRow, SweepRow]:
        stored = checked(parsed(line), StoredRow)
        return stored, stored.row

    with open_json_lines(path, rows_of, "--results", resume=True) as file:
        yield Store(file, device)


def _key(settings: Settings, machine: dict[str, str]) -> str:
    return json.dumps([asdict(settings), machine], sort_keys=True)
