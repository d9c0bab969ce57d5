"""What a report gets besides what was recorded, added at once or kept for later.

Where nsys recorded and cannot make the report (`profiling.recorders.importer`), the notes are kept
beside the recording, in NAME.qdstrm.json, and `python -m profiling.complete` adds them.
"""

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from analysis.show.command import ESCAPED
from analysis.show.errors import one_line
from analysis.show.render import plural
from analysis.show.sheet import say
from analysis.source.json_files import checked, read_json
from analysis.source.trace import schema
from profiling.common.errors import LaunchError
from profiling.recorders.nsys import check_ranges_arrived
from profiling.recorders.recorder import Recorder
from profiling.recorders.report_files import NOTES

KIND: Final = "notes of a recording"
NSYS: Final = "nsys"
MISSING: Final = "missing"
"""The fact that tells what a report lacks."""

_OF_STEPS: Final = ("step_ns", "unprofiled_step_ns", "compiled", "flash_tilings")
"""What a recorded process returns of its steps that the report tells too."""

_END_BYTES: Final = 4096
"""The importer renews the last few hundred bytes of a recording: these may differ."""


@dataclass(frozen=True, kw_only=True)
class RunNotes:
    """Facts of a recorded run that only it and its launcher know.

    Attributes:
        facts: rows of TOOLKIT_RUN.
        costs: rows of TOOLKIT_RANGE_COST, by the names that the report has.
        pushed: how often each range was pushed.
        memory: what the run noted of its memory, and rows of TOOLKIT_RANGE_MEMORY; None where that
            was not asked for.
    """

    facts: dict[str, Any]
    costs: list[list[Any]]
    pushed: dict[str, int]
    memory: dict[str, Any] | None = None

    @classmethod
    def of_run(
        cls,
        recorder: Recorder,
        about: Mapping[str, object],
        result: dict[str, Any],
        *,
        command: str,
        memory: dict[str, Any] | None = None,
    ) -> "RunNotes":
        """Return the notes of a run that a recorder recorded.

        Args:
            recorder: whose names the ranges have.
            about: what the run was.
            result: what the recorded process returned; its ``facts`` are those of its machine.
            command: as it was typed.
            memory: as `RunNotes` has it.
        """
        facts: dict[str, object] = {
            **recorder.facts(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": command,
            **result["facts"],
            **about,
            **{key: result[key] for key in _OF_STEPS if key in result},
        }
        costs = [[recorder.range_name(name), *rest] for name, *rest in result["costs"]]
        return cls(facts=facts, costs=costs, pushed=result["pushed"], memory=memory)

    def add_of_file(self, report: Path, recording: Path) -> None:
        """Complete a report by notes that were read beside a recording.

        Raises:
            LaunchError: as `add` says, or they hold what no run leaves.
        """
        try:
            self.add(report)
        except (ArithmeticError, LookupError, TypeError, ValueError, sqlite3.Error):
            raise LaunchError(f"{notes_path(recording)}: {_NO_NOTES}") from None

    def add(self, report: Path) -> None:
        """Complete a report.

        Raises:
            LaunchError: nsys recorded it, and not all ranges are there.
        """
        if self.facts["recorder"] == NSYS:
            version, nvtx = self.facts[NSYS], str(self.facts.get("nvtx", ""))
            check_ranges_arrived(report, self.pushed, version, nvtx)
        add_run_facts(report, self.facts | self._add_memory(report), self.costs)

    def _add_memory(self, report: Path) -> dict[str, object]:
        if self.memory is None:
            return {}
        from profiling.recorders import memory_report  # here: it needs torch, and nothing else does

        facts, lost = memory_report.add_memory(report, self.memory["note"], self.memory["ranges"])
        for name, count in lost.items():
            ranges = plural(count, "range")
            say(f"note: the memory at {ranges} {one_line(name)} left out: not all arrived")
        return facts

    def keep(self, recording: Path) -> Path:
        """Write the notes beside a recording, with what tells it from a damaged one."""
        path = notes_path(recording)
        size = recording.stat().st_size
        known = {"kind": KIND, "bytes": size, "sha256": _digest(recording, size), **asdict(self)}
        path.write_text(json.dumps(known), encoding="utf-8")
        return path

    @classmethod
    def read(cls, recording: Path) -> "RunNotes | None":
        """Return the notes that lie beside a recording, or nothing where none do.

        Raises:
            LaunchError: they cannot be read, or the recording is not as it was.
        """
        path = notes_path(recording)
        if not path.exists() and not path.is_symlink():
            return None
        known = read_json(path, _BRING_AGAIN)
        try:
            kept = checked(known, _KeptFor)
            notes = checked(known, cls)
            if not all(isinstance(notes.facts[key], str) for key in ("recorder", NSYS)):
                raise ValueError("no version of nsys")
        except (KeyError, ValueError):
            kept = None
        if kept is None or kept.kind != KIND or notes.facts["recorder"] != NSYS:
            raise LaunchError(f"{path}: {_NO_NOTES}")
        _check_whole(recording, kept.bytes, kept.sha256)
        return notes


class _KeptFor(msgspec.Struct):
    """What notes in a file say besides: what they are, and of which recording."""

    kind: str
    bytes: Annotated[int, msgspec.Meta(ge=0)]
    sha256: str


_BRING_AGAIN: Final = "bring it again, or take it away to complete the report without it"
_NO_NOTES: Final = f"damaged, or no notes of profiling.launch; {_BRING_AGAIN}"


def notes_path(recording: Path) -> Path:
    """Return where the notes of a recording lie."""
    return recording.with_name(recording.name + NOTES)


def _check_whole(recording: Path, size: int, digest: str) -> None:
    found = recording.stat().st_size
    if found < size:
        raise LaunchError(
            f"{recording}: cut short, {found:,} of {size:,} bytes are here; bring it again"
        )
    if _digest(recording, size) != digest:
        raise LaunchError(f"{recording}: damaged, not what was recorded; bring it again")


def _digest(recording: Path, size: int) -> str:
    """Return the SHA-256 of a recording but its end, which the importer renews."""
    left, digest = max(0, size - _END_BYTES), hashlib.sha256()
    with recording.open("rb") as file:
        while left and (piece := file.read(min(left, 2**20))):
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()


def add_run_facts(
    report: Path, facts: Mapping[str, object], costs: Sequence[Sequence[object]]
) -> None:
    """Add facts and range costs to a report; lists are kept as JSON."""
    texts = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()
    }
    # An argument that is no UTF-8, as file names may be, is kept as escapes.
    rows = [(key, text.encode(errors=ESCAPED).decode()) for key, text in texts.items()]
    with closing(sqlite3.connect(report)) as connection, connection:
        schema.create(connection, "TOOLKIT_RUN")
        connection.executemany("INSERT OR REPLACE INTO TOOLKIT_RUN VALUES (?, ?)", rows)
        if costs:
            schema.insert(connection, "TOOLKIT_RANGE_COST", costs)
