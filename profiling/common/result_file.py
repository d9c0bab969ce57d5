"""Files of results: JSON that says what was run, where, with what versions, and every raw time."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from analysis.show.errors import ReportError
from analysis.show.output import elsewhere, replacing, writable_target
from analysis.source.json_files import read_json
from profiling.common import host
from profiling.common.errors import LaunchError
from profiling.common.machine import facts

KIND: Final = "kind"
"""The key that tells which command wrote a file."""

PARTIAL: Final = ".partial"
"""What the name of an interrupted run's file ends in: the file itself is of whole runs only."""


def header(kind: str, command: str, device: str) -> dict[str, Any]:
    """Return the entries that every result file begins with.

    Args:
        kind: of result: ``benchmark``, ``sweep``, ….
        command: as it was typed.
        device: the measurements were made on; its name, clocks where readable, the versions and
            the commit of the current folder are looked up.
    """
    date = datetime.now(UTC).isoformat(timespec="seconds")
    known = facts(device) | host.commit(Path.cwd())
    return {KIND: kind, "date": date, "command": command, "facts": known}


def check_writable(
    path: Path | None, overwrite: bool = True, *, over_reports: bool = False
) -> None:
    """Refuse a result file that could not be written, before any work is done.

    Args:
        path: of the file; None for none.
        overwrite: whether one that is there is replaced.
        over_reports: whether that may be a report.

    Raises:
        LaunchError: it is a directory, a report or a link that leads back to itself, its folder is
            not there or not writable, or it exists and is not to be replaced.
    """
    if path is None:
        return
    if path.is_dir():
        raise LaunchError(f"{path}: a directory; name a file")
    try:
        folder = writable_target(path, over_reports=over_reports).parent
    except ReportError as error:
        raise LaunchError(str(error).replace(elsewhere(), "name another file")) from None
    if path.exists() and not overwrite:
        raise LaunchError(f"{path}: exists; name another file, or give --overwrite to replace it")
    if not folder.is_dir():
        raise LaunchError(f"{path}: its folder does not exist; make it, or name another file")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise LaunchError(f"{path}: cannot be written to; name another file")


def write(path: Path, content: object, complete: bool = True) -> Path:
    """Write JSON, whole or not at all; an earlier file is replaced only when that is done.

    Args:
        path: the file.
        content: what JSON can hold.
        complete: False where a run was interrupted; the name then ends in `PARTIAL`.

    Returns:
        The file that was written.

    Raises:
        LaunchError: the disk or the folder does not take it.
    """
    path = path if complete else path.with_name(path.name + PARTIAL)
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
    return path


def write_text(path: Path, text: str) -> None:
    """Write text, whole or not at all.

    Raises:
        LaunchError: the disk or the folder does not take it.
    """
    try:
        with replacing(path) as draft:
            draft.write_text(text, encoding="utf-8")
    except ReportError as error:
        raise LaunchError(str(error).replace(elsewhere(), "name another file")) from None


def read(path: Path, kind: str, package: str = "profiling") -> dict[str, Any]:
    """Read a result file that `write` wrote.

    Args:
        path: the file.
        kind: of result, the module that wrote it.
        package: where that module is.

    Raises:
        ReportError: it cannot be read, or is no result of that kind.
    """
    writer = f"{package}.{kind}"
    content = read_json(path, f"give a file that {writer} wrote")
    if not isinstance(content, dict) or content.get(KIND) != kind:
        raise ReportError(path, f"no result of {writer}", "give a file that it wrote")
    return content
