"""A file of records, one JSON object a line, which holds each from the moment it is made.

A record is written and pushed to the disk before the next one is worked on; a process that is
killed loses the record it was at and nothing else, and leaves at most half a line, which the next
run takes away. Two processes cannot write to one file.
"""

import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from os.path import samestat
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from analysis.show.errors import ReportError, reason
from analysis.show.output import replacing
from analysis.source.json_files import as_line
from profiling.common.errors import LaunchError

R = TypeVar("R")


class JsonLines(Generic[R]):
    """A file that is open for records; until the first one comes, it is as it was.

    Args:
        path: of the file.
        elsewhere: the option that names another file.
        stream: open for appending.

    Attributes:
        lines: the whole lines that were there, less empty ones, each with its number, from 1, and
            its record.
        torn: whether the last line was cut short.
    """

    def __init__(self, path: Path, elsewhere: str, stream: IO[bytes]) -> None:
        self.lines: list[tuple[int, bytes, R]] = []
        self.torn = False
        self._path, self._elsewhere, self._stream = path, elsewhere, stream
        self._begin: bytes | None = None

    def read(self, record_of: Callable[[bytes], R]) -> None:
        """Read what is there.

        Args:
            record_of: makes a record of a line, or raises a ValueError that says what is wrong.

        Raises:
            LaunchError: it cannot be read, or a line is no such record.
        """
        try:
            *lines, rest = self._path.read_bytes().split(b"\n")
        except OSError as error:
            raise self._unwritable(reason(error)) from None
        # Half a line of ours begins as all of them do; anything else is not ours to take away.
        self.torn = rest.startswith(b"{")
        for number, line in enumerate(lines if self.torn else [*lines, rest], 1):
            if not line.strip():
                continue
            try:
                self.lines.append((number, line, record_of(line)))
            except ValueError as error:
                raise self.refusal(number, f"is no record of this command ({error})") from None

    def refusal(self, number: int, what: str) -> LaunchError:
        """Return the error of a line on which one cannot go on."""
        return LaunchError(
            f"{self._path}: line {number} {what}; mend it or take it out, or name another "
            f"{self._elsewhere}"
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
        self.rewrite_beginning()
        self._put(as_line(record), self._stream)

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
                self.lock(stream)  # before it has its name, so that nobody comes between
                self._put(begin, stream)
        except ReportError as error:
            problem = error.problem.removeprefix("cannot be written (").removesuffix(")")
            raise self._unwritable(problem) from None
        self._stream, before = stream, self._stream
        before.close()

    def lock(self, stream: IO[bytes]) -> None:
        """Keep other processes from writing.

        Raises:
            LaunchError: one does already.
        """
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LaunchError(
                f"{self._path}: another process is writing it; name another {self._elsewhere}"
            ) from None
        except OSError:
            return  # a disk without locks

    def close(self) -> None:
        """Let others write to the file; one that holds nothing is taken away."""
        held = os.fstat(self._stream.fileno())
        if held.st_size == 0 and self._path.exists() and samestat(held, self._path.stat()):
            self._path.unlink()
        # A line that the disk would not take must not be tried again.
        with suppress(OSError):
            self._stream.close()

    def _put(self, content: bytes, stream: IO[bytes]) -> None:
        try:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        except OSError as error:
            raise self._unwritable(reason(error)) from None

    def _unwritable(self, why: str) -> LaunchError:
        return LaunchError(
            f"{self._path}: cannot be written ({why}); name another {self._elsewhere}"
        )


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
        record_of: as `JsonLines.read` takes it.
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
    try:
        stream = os.fdopen(os.open(path, flags, 0o666), "ab")
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            stream.close()
            raise OSError("no regular file")
    except FileExistsError:
        raise LaunchError(
            f"{path}: exists; give --resume to go on with it, --overwrite to replace it, "
            f"or name another {elsewhere}"
        ) from None
    except OSError as error:
        raise LaunchError(
            f"{path}: cannot be written ({reason(error)}); name another {elsewhere}"
        ) from None
    file: JsonLines[R] = JsonLines(path, elsewhere, stream)
    try:
        file.lock(stream)
    except LaunchError:
        stream.close()
        raise
    try:
        if resume:
            file.read(record_of)
        file.keep([line for _, line, _ in file.lines])
        yield file
        if resume:
            file.rewrite_beginning()
    finally:
        file.close()
