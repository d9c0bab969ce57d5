"""Finished rows of sweeps: a JSON object a line, written as soon as its row is done."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from profiling.common.errors import LaunchError
from profiling.common.machine import facts
from profiling.common.settings import Settings

SAME_MACHINE: Final = ("device_name", "torch", "driver")
"""What must be the same for a row to count as measured already."""

OK, OOM, FAILED = "ok", "OOM", "failed"


@dataclass(frozen=True, slots=True)
class SweepRow:
    """One row of a sweep, measured or not.

    Attributes:
        status: `OK`, `OOM` or `FAILED`.
        reason: why it is not `OK`, else "".
        result: what `profiling.benchmark` writes as JSON; None unless `OK`.
        limit_bytes: how much memory it might take; None for all there was.
    """

    settings: Settings
    status: str
    reason: str
    result: dict[str, Any] | None
    limit_bytes: int | None = None

    def stands(self, limit_bytes: int | None) -> bool:
        """Return whether a sweep with this limit need not measure it again."""
        return self.status == OK or (self.status == OOM and self.limit_bytes == limit_bytes)


class Store:
    """The rows kept in a file.

    Args:
        path: may not exist yet.
        device: that rows are measured on.

    Raises:
        LaunchError: the file cannot be read or written, or is something else.
    """

    def __init__(self, path: Path, device: str) -> None:
        self.path = path
        known = facts(device)
        self.machine = {key: known[key] for key in SAME_MACHINE if key in known}
        self._torn_bytes = 0
        self._rows = self._read()

    def find(self, settings: Settings) -> SweepRow | None:
        """Return the row that was measured with these settings on this machine, the last one."""
        return self._rows.get(self._key(asdict(settings), self.machine))

    def add(self, row: SweepRow) -> None:
        """Keep a row: it is on the disk when this returns.

        Raises:
            LaunchError: the disk does not take it.
        """
        line = {
            "settings": asdict(row.settings),
            "machine": self.machine,
            "status": row.status,
            "reason": row.reason,
            "limit_bytes": row.limit_bytes,
            "result": row.result,
        }
        try:
            with self.path.open("ab") as stream:
                # What a crash left of a line goes first: it would read as damage in the middle.
                stream.truncate(stream.tell() - self._torn_bytes)
                stream.write(json.dumps(line).encode() + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise _unwritable(self.path, error) from None
        self._torn_bytes = 0
        self._rows[self._key(line["settings"], self.machine)] = row

    def _key(self, settings: object, machine: object) -> str:
        return json.dumps([settings, machine], sort_keys=True)

    def _read(self) -> dict[str, SweepRow]:
        try:
            content = self.path.read_bytes() if self.path.exists() else b""
            if not self.path.exists() and not self.path.resolve().parent.is_dir():
                raise LaunchError(f"{self.path}: its folder does not exist; make it")
            if self.path.exists() and not os.access(self.path, os.W_OK):
                raise LaunchError(f"{self.path}: cannot be written to; name another --results")
        except OSError as error:
            raise _unwritable(self.path, error) from None
        lines = content.split(b"\n")
        rows: dict[str, SweepRow] = {}
        for number, text in enumerate(lines, start=1):
            if not text.strip():
                continue
            try:
                line = json.loads(text)
                row = _row(line)
            except (ValueError, KeyError, TypeError, AttributeError):
                if number == len(lines):  # cut off in the middle, by a crash: measured again
                    self._torn_bytes = len(text)
                    continue
                raise LaunchError(
                    f"{self.path}: line {number} is no row of a sweep; name another --results"
                ) from None
            # By the settings as they are read: an earlier version wrote fewer of them.
            rows[self._key(asdict(row.settings), line["machine"])] = row
        return rows


def _row(line: Mapping[str, Any]) -> SweepRow:
    status = str(line["status"])
    result = line["result"]
    if (status == OK) != isinstance(result, dict):
        raise ValueError("a row without its result")
    settings = Settings.from_fields(line["settings"])
    return SweepRow(settings, status, str(line["reason"]), result, line["limit_bytes"])


def _unwritable(path: Path, error: OSError) -> LaunchError:
    reason = (error.strerror or str(error)).lower()
    return LaunchError(f"{path}: cannot be used ({reason}); name another --results")
