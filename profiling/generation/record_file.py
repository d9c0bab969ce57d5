"""The file of records, which holds each one from the moment its prompt is done.

A record is one line, written and pushed to the disk before the next prompt begins; a process that
is killed loses the prompt it was at and nothing else, and leaves at most half a line, which
``--resume`` takes away. Two processes cannot write to one file.
"""

import fcntl
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from os.path import samestat
from pathlib import Path
from typing import IO, Any

from analysis.show.errors import ReportError
from analysis.show.output import replacing
from profiling.common.errors import LaunchError
from profiling.generation.record import Prompt, Record, line


@dataclass(slots=True)
class EarlierRecords:
    """The records that a file holds from an earlier run.

    Attributes:
        lines: of the records that stay, as they are.
        done: ids of the prompts that need not be run again.
        failed: ids of prompts that failed, which are tried again.
        torn: how many lines were cut short, the last one or none.
    """

    lines: list[bytes] = field(default_factory=list)
    done: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    torn: int = 0


def read_earlier(
    path: Path, prompts: Iterable[Prompt], models: Mapping[str, str | None]
) -> EarlierRecords:
    """Read the records that an earlier run left.

    Args:
        path: of the file.
        prompts: all of the data set.
        models: ``model_config`` of this run.

    Raises:
        LaunchError: it cannot be read, a line is no record, or it is of another run.
    """
    earlier = EarlierRecords()
    texts = {prompt.id: prompt.text for prompt in prompts}
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from None
    *lines, rest = content.split(b"\n")
    earlier.torn = int(bool(rest))
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        record = _record(path, number, text)
        _check_same_run(path, number, record, texts, models)
        if "error" in record:
            earlier.failed.add(record["id"])
        elif record["id"] not in earlier.done:
            earlier.done.add(record["id"])
            earlier.lines.append(text + b"\n")
    earlier.failed -= earlier.done
    return earlier


def _record(path: Path, number: int, text: bytes) -> Record:
    try:
        record: Any = json.loads(text)
    except (ValueError, RecursionError):
        record = None
    known = isinstance(record, dict) and isinstance(record.get("id"), int)
    if not known or not ("error" in record or "timing" in record):
        raise LaunchError(
            f"{path}: line {number} is no record of a generation; mend it or take it out, "
            "or name another --output"
        )
    made: Record = record
    return made


def _check_same_run(
    path: Path,
    number: int,
    record: Record,
    texts: Mapping[int, str],
    models: Mapping[str, str | None],
) -> None:
    """Refuse to go on with a file that another data set or another pair of models has begun."""
    where = f"{path}: line {number}"
    if texts.get(record["id"], record.get("prompt")) != record.get("prompt"):
        raise LaunchError(
            f"{where} has another prompt for id {record['id']}; it is of another data set: "
            "name another --output"
        )
    if "model_config" in record and record["model_config"] != dict(models):
        raise LaunchError(f"{where} is of other models; name another --output")


class RecordFile:
    """A file that is open for records; until the first one comes, it is as it was.

    Args:
        path: of the file.
        stream: open for appending, locked.
        begin: what the file is to hold before the first record of this run; None for what it does.
    """

    def __init__(self, path: Path, stream: IO[bytes], begin: bytes | None) -> None:
        self._path, self._stream, self._begin = path, stream, begin

    def add(self, record: Record) -> None:
        """Write a record, and return when it is on the disk.

        Raises:
            LaunchError: the disk does not take it.
        """
        self.rewrite_beginning()
        self._put(line(record).encode("utf-8") + b"\n", self._stream)

    def rewrite_beginning(self) -> None:
        """Leave in the file what it is to begin with.

        Raises:
            LaunchError: the disk does not take it.
        """
        if self._begin is None:
            return
        begin, self._begin = self._begin, None
        try:
            # Not in place: a process killed here must leave the old file or the new one.
            with replacing(self._path) as draft:
                stream = draft.open("ab")
                _lock(self._path, stream)  # before it has its name, so that nobody comes between
                self._put(begin, stream)
        except ReportError as error:
            raise _unwritable(self._path, error.problem) from None
        self._stream, before = stream, self._stream
        before.close()

    def _put(self, content: bytes, stream: IO[bytes]) -> None:
        try:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        except OSError as error:
            raise _unwritable(self._path, error.strerror or str(error)) from None

    def close(self) -> None:
        """Let others write to the file; one that holds nothing is taken away."""
        held = os.fstat(self._stream.fileno())
        if held.st_size == 0 and self._path.exists() and samestat(held, self._path.stat()):
            self._path.unlink()
        # A line that the disk would not take must not be tried again.
        with suppress(OSError):
            self._stream.close()


@contextmanager
def open_record_file(
    path: Path,
    prompts: Sequence[Prompt],
    models: Mapping[str, str | None],
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> Iterator[tuple[RecordFile, EarlierRecords]]:
    """Open a file for records, which no other process writes meanwhile.

    Args:
        path: of the file.
        prompts: all of the data set, for `read_earlier`.
        models: ``model_config`` of this run, likewise.
        resume: go on with what is there, less torn lines and prompts that failed.
        overwrite: replace what is there.

    Raises:
        LaunchError: it exists and is neither gone on with nor replaced; it is of another run; it is
            being written by another process, or cannot be written.
    """
    stream = _opened(path, resume or overwrite)
    try:
        _lock(path, stream)
    except LaunchError:
        stream.close()
        raise
    found = RecordFile(path, stream, None)
    try:
        earlier = read_earlier(path, prompts, models) if resume else EarlierRecords()
        begin = b"".join(earlier.lines)
        same = path.read_bytes() == begin
        found = RecordFile(path, stream, None if same else begin)
        yield found, earlier
        if resume:
            found.rewrite_beginning()
    finally:
        found.close()


def _opened(path: Path, there: bool) -> IO[bytes]:
    flags = os.O_CREAT | os.O_APPEND | os.O_RDWR
    # An empty one is what is left of a run that was killed before its first prompt was done.
    if not there and not (path.is_file() and path.stat().st_size == 0):
        flags |= os.O_EXCL
    try:
        stream = os.fdopen(os.open(path, flags, 0o666), "ab")
    except FileExistsError:
        raise LaunchError(
            f"{path}: exists; give --resume to go on with it, --overwrite to replace it, "
            "or name another --output"
        ) from None
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from None
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise _unwritable(path, "no regular file")
    return stream


def _lock(path: Path, stream: IO[bytes]) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LaunchError(f"{path}: another process is writing it; name another --output") from None
    except OSError:
        return  # a disk without locks


def _unwritable(path: Path, reason: str) -> LaunchError:
    reason = reason.lower().removeprefix("cannot be written (").removesuffix(")")
    return LaunchError(f"{path}: cannot be written ({reason}); name another --output")
