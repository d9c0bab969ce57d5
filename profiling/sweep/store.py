"""Finished rows of sweeps: a JSON object a line, written as soon as its row is done."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from analysis.source.json_files import checked, parsed
from profiling import names
from profiling.benchmark.run_file import Times
from profiling.common.json_lines import JsonLines, open_json_lines
from profiling.common.machine import facts
from profiling.common.settings import Settings
from profiling.processes.attempts import OK, OOM, Status

TOTAL: Final = "total"
SAME_MACHINE: Final = ("device_name", "torch", "driver")
"""What must be the same for a row to count as measured already."""


Figure = Annotated[float, msgspec.Meta(ge=0, lt=1 << 62)]


class _Spread(msgspec.Struct):
    """The figures of a part's times that tables and pictures show, in nanoseconds."""

    mean: Figure
    std: Figure
    median: Figure


class _Shown(msgspec.Struct):
    """The entries of a row's result that tables and pictures show."""

    total_ns: Times
    statistics: dict[str, _Spread]
    mfu: Figure | None = None

    def __post_init__(self) -> None:
        timed = {TOTAL, *self.statistics} & {TOTAL, *names.PHASES}
        if not all(part in self.statistics and self.statistics[part].mean for part in timed):
            raise ValueError("a part that took no time")


class SweepRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a sweep, measured or not, as it is kept.

    Attributes:
        fields: of the settings, as `asdict` gives them.
        machine: it was measured on, `SAME_MACHINE` of its facts.
        reason: why it is not `OK`, else "".
        limit_bytes: how much memory it might take; None for all there was.
        result: what `profiling.benchmark` writes as JSON; None unless `OK`.
    """

    fields: dict[str, Any] = msgspec.field(name="settings")
    machine: dict[str, str]
    status: Status
    reason: str = ""
    limit_bytes: int | None = None
    result: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        Settings.from_fields(self.fields)  # raises what is wrong with them
        if (self.status == OK) != (self.result is not None):
            raise ValueError("a row without its result")
        if self.result is not None:
            checked(self.result, _Shown)  # likewise

    @property
    def settings(self) -> Settings:
        """What was run."""
        return Settings.from_fields(self.fields)

    @property
    def key(self) -> str:
        """What tells it from other rows, by its settings as they are now read: there were fewer."""
        return json.dumps([asdict(self.settings), self.machine], sort_keys=True)

    def stands(self, limit_bytes: int | None) -> bool:
        """Return whether a sweep with this limit need not measure it again."""
        return self.status == OK or (self.status == OOM and self.limit_bytes == limit_bytes)


class Store:
    """The rows kept in a file that is open.

    Args:
        file: of rows.
        device: that rows are measured on.
    """

    def __init__(self, file: JsonLines[SweepRow], device: str) -> None:
        self._file = file
        known = facts(device)
        self.machine: dict[str, str] = {
            key: str(known[key]) for key in SAME_MACHINE if key in known
        }
        self._rows = {row.key: row for _, _, row in file.lines}

    def find(self, settings: Settings) -> SweepRow | None:
        """Return the row that was measured with these settings on this machine, the last one."""
        return self._rows.get(json.dumps([asdict(settings), self.machine], sort_keys=True))

    def add(self, row: SweepRow) -> None:
        """Keep a row: it is on the disk when this returns.

        Raises:
            LaunchError: the disk does not take it.
        """
        self._file.add(msgspec.to_builtins(row))
        self._rows[row.key] = row


@contextmanager
def open_store(path: Path, device: str) -> Iterator[Store]:
    """Open the file of rows, which may not exist yet.

    Raises:
        LaunchError: as `open_json_lines` says.
    """

    def row_of(line: bytes) -> SweepRow:
        return checked(parsed(line), SweepRow)

    with open_json_lines(path, row_of, "--results", resume=True) as file:
        yield Store(file, device)
