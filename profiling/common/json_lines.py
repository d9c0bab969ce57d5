"""A file of records, one JSON object a line, which holds each from the moment it is made.

A record is written and pushed to the disk before the next one is worked on; a process that is
killed loses the record it was at and nothing else, and leaves at most half a line, which the next
run takes away. Two processes cannot write to one file.
"""

import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from os.path import samestat
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from analysis.show.errors import ReportError, reason
from analysis.show.output import replacing
from analysis.source.json_files import as_line, parsed
from profiling.common.errors import LaunchError

R = TypeVar("R")


class JsonLines(Generic[R]):
    """A file that is open for records; until the first one comes, it is as it was.

    Attributes:
        lines: those that were there, less empty ones and one that was cut short: the number of
            each, from 1, its text and its record.
        torn: whether the last line was cut short.
    """

    def __init__(self, path: Path, elsewhere: str, stream: IO[bytes]) -> None:
        self.lines: list[tuple[int, bytes, R]] = []
        self.torn = False
        self._path, self._elsewhere, self._stream = path, elsewhere, stream
        self._begin: bytes | None = None

    def read(self, record_of: Callable[[bytes], R]) -> None:
        """Read what is there, each line by ``record_of``; see `open_json_lines`."""
        *lines, rest = self._path.read_bytes().split(b"\n")
        # Half a line of ours begins as all of them do; anything else is not ours to take away.
        self.torn = rest.startswith(b"{") and not _is_json(rest)
        for number, line in enumerate(lines if self.torn else [*lines, rest], 1):
            try:
                if line.strip():
                    self.lines.append((number, line, record_of(line)))
            except ValueError as error:
                raise self.refusal(number, f"is no record of this command ({error})") from None

    def refusal(self, number: int, what: str) -> LaunchError:
        """Return the error of a line on which one cannot go on."""
        where = f"{self._path}: line {number}"
        return LaunchError(
            f"{where} {what}; mend it or take it out, or name another {self._elsewhere}"
        )

    def keep(self, lines: Sequence[bytes]) -> None:
        """Say what the file is to hold before the first record of this run."""
        begin = b"".join(line + b"\n" for line in lines)
        self._begin = None if self._path.read_bytes() == begin else begin

    def add(self, record: dict[str, Any]) -> None:
        """Write a record, and return when it is on the disk.

        Raises:
            LaunchError: the disk does not take it.
        """
        with _one_line(self._path, self._elsewhere):
            self.rewrite_beginning()
            _put(as_line(record), self._stream)

    def rewrite_beginning(self) -> None:
        """Leave in the file what it is to begin with."""
        if self._begin is None:
            return
        begin, self._begin = self._begin, None
        # Not in place: a process killed here must leave the old file or the new one.
        with replacing(self._path) as draft:
            stream = draft.open("ab")
            _lock(stream)  # before it has its name, so that nobody comes between
            _put(begin, stream)
        self._stream, before = stream, self._stream
        before.close()

    def close(self) -> None:
        """Let others write to the file; one that holds nothing is taken away."""
        held = os.fstat(self._stream.fileno())
        if held.st_size == 0 and self._path.exists() and samestat(held, self._path.stat()):
            self._path.unlink()
        # A line that the disk would not take must not be tried again.
        with suppress(OSError):
            self._stream.close()


@contextmanager
def open_json_lines(
    path: Path,
    record_of: Callable[[bytes], R],
    elsewhere: str = "--output",
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> Iterator[JsonLines[R]]:
    """Open a file for records, which no other process writes meanwhile.

    Args:
        path: of the file.
        record_of: makes a record of a line, or raises a ValueError that says what is wrong.
        elsewhere: the option that names another file.
        resume: go on with what is there.
        overwrite: replace what is there.

    Raises:
        LaunchError: it exists and is neither gone on with nor replaced, or holds something else; it
            is being written by another process, or cannot be written.
    """
    flags = os.O_CREAT | os.O_APPEND | os.O_RDWR
    # An empty one is what is left of a run that was killed before its first record was made.
    if not (resume or overwrite or (path.is_file() and path.stat().st_size == 0)):
        flags |= os.O_EXCL
    with ExitStack() as opened:
        with _one_line(path, elsewhere):
            stream = opened.enter_context(os.fdopen(os.open(path, flags, 0o666), "ab"))
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise OSError("no regular file")
            _lock(stream)
            file: JsonLines[R] = JsonLines(path, elsewhere, stream)
            opened.callback(file.close)
            if resume:
                file.read(record_of)
            file.keep([line for _, line, _ in file.lines])
        yield file
        if resume:
            with _one_line(path, elsewhere):
                file.rewrite_beginning()


@contextmanager
def _one_line(path: Path, elsewhere: str) -> Iterator[None]:
    """Say in one line why a file cannot be written."""
    try:
        yield
    except FileExistsError:
        problem = "exists; give --resume to go on with it, --overwrite to replace it, or"
    except BlockingIOError:
        problem = "another process is writing it;"
    except OSError as error:
        problem = f"cannot be written ({reason(error)});"
    except ReportError as error:
        problem = f"{error.problem};"
    else:
        return
    raise LaunchError(f"{path}: {problem} name another {elsewhere}")


def _is_json(text: bytes) -> bool:
    try:
        parsed(text)
    except ValueError:
        return False
    return True


def _lock(stream: IO[bytes]) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return  # a disk without locks


def _put(content: bytes, stream: IO[bytes]) -> None:
    stream.write(content)
    stream.flush()
    os.fsync(stream.fileno())
