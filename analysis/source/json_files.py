"""JSON that a command of ours wrote: read, and checked against the dataclasses it was made of.

The dataclasses are the schema of those who write and those who read. What is wrong with a file, or
with a record in it, is one line.
"""

import json
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from analysis.show.errors import ReportError, reason

T = TypeVar("T")

MOST_LISTED: Final = 10
"""How many malformed records of a file are named; the others are counted."""

ABOUT: Final = ".about"
"""What the name of the file ends in, after that of the records, that says what they are of."""


def read_file(path: str | os.PathLike[str], remedy: str) -> bytes:
    """Return what a file holds.

    Args:
        path: of the file.
        remedy: what to do where it cannot be read.

    Raises:
        ReportError: it cannot be.
    """
    try:
        found = os.stat(path)
        # Reading may wait for ever, or never end.
        if not stat.S_ISREG(found.st_mode) and not os.path.samestat(found, os.stat(os.devnull)):
            kinds = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a pipe"}
            what = kinds.get(stat.S_IFMT(found.st_mode), "a device or a socket")
            raise ReportError(path, f"cannot be read (is {what})", remedy)
        return Path(path).read_bytes()
    except OSError as error:
        raise ReportError(path, f"cannot be read ({reason(error)})", remedy) from None
    except ValueError as error:  # a NUL byte in the name
        raise ReportError(ascii(os.fspath(path)), str(error), remedy) from None


def read_json(path: str | os.PathLike[str], remedy: str) -> Any:
    """Return the JSON of a file.

    Raises:
        ReportError: it cannot be read, or is no JSON.
    """
    try:
        return parsed(read_file(path, remedy))
    except ValueError as error:
        raise ReportError(path, str(error), remedy) from None


def parsed(text: bytes) -> Any:
    """Return the JSON that a text is.

    Raises:
        ValueError: it is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("no JSON") from None


def checked(value: Any, schema: type[T]) -> T:
    """Return a value of JSON as what its schema, a dataclass, says it is.

    Raises:
        ValueError: it is something else, in one line with the place.

    >>> from dataclasses import make_dataclass
    >>> checked({"count": "3"}, make_dataclass("Counted", [("count", int)]))
    Traceback (most recent call last):
    msgspec.ValidationError: Expected `int`, got `str` - at `$.count`
    """
    return msgspec.convert(value, schema)


def left_out(path: str | os.PathLike[str], wrong: Sequence[str], what: str) -> list[str]:
    """Return a line on each of the first records that are left out, and how many more there are.

    Args:
        path: of the file.
        wrong: what is the matter with each, its place first.
        what: these are: lines, records.
    """
    notes = [f"{path}: {each}; left out" for each in wrong[:MOST_LISTED]]
    more = len(wrong[MOST_LISTED:])
    return [*notes, *([f"{path}: {more:,} more {what} left out"] if more else [])]


def as_line(content: object) -> bytes:
    r"""Return content as one line of JSON, its end included.

    Half a surrogate pair, which a prompt may hold, has no UTF-8: such a line is all ASCII.

    Raises:
        ValueError: a number is NaN or infinite.

    >>> as_line({"prompt": "é"}).decode(), as_line({"prompt": "\ud800"})
    ('{"prompt": "é"}\n', b'{"prompt": "\\ud800"}\n')
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    try:
        return f"{text}\n".encode()
    except UnicodeEncodeError:
        return f"{json.dumps(content, allow_nan=False)}\n".encode()


def about(path: Path) -> str:
    """Return of which model, in which format and on what, the records of a file are; "" if unknown.

    What measured them leaves that beside them, an object for each run of the command.
    """
    beside = path.with_name(path.name + ABOUT)
    try:
        said = read_json(beside, "") if beside.exists() else []
    except ReportError:
        return ""
    known = said[-1] if isinstance(said, list) and said and isinstance(said[-1], dict) else {}
    facts = known.get("facts")
    device = (facts if isinstance(facts, dict) else {}).get("device_name") or known.get("device")
    parts = [str(known[key]) for key in ("model", "dtype") if known.get(key)]
    return ", ".join(parts) + (f" on {device}" if parts and device else "")


def about_all(paths: Iterable[Path]) -> str:
    """Return what the records of some files are of; "" where they are not of the same."""
    said = {about(path) for path in paths}
    return said.pop() if len(said) == 1 else ""
