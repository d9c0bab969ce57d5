"""The folder of a run while it lasts: beside its reports, on their disk, and gone afterwards.

Its owner holds a lock on a file in it, which the system takes back however the owner ends. So the
next run knows what a killed one has left, and removes it; and what a run is called, which stands
in that file, is taken by one run at a time.
"""

import errno
import fcntl
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Self

from analysis.show.called import option
from profiling.common.errors import LaunchError, OutOfMemory
from profiling.processes.strays import end_strays

_PREFIX: Final = ".recording-"
_OWNER: Final = "owner"
"""The file that is locked, and holds what the run is called."""

_WANTED_BYTES: Final = 100 * 2**20
"""Room a recording is sure to want: traces of a few steps take 10 to 50 MB, twice."""

_FULL_BYTES: Final = 2**20
"""A disk with less than this has no room for what is to be written next."""

_LOOK_S: Final = 0.1
_OF_A_FULL_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Choose = Callable[[Collection[str]], str]
"""Takes the names of the runs that go on now, and returns that of the new one."""


@contextmanager
def scratch_folder(reports: Path, elsewhere: str = "") -> Iterator[Path]:
    """Give a folder on the same disk as the reports, gone afterwards.

    Args:
        reports: their folder, made where it is missing.
        elsewhere: how to name another; where it is empty, by the option of a recording.

    Raises:
        LaunchError: the disk is full, or cannot be written to.
    """
    with named_folder(reports, lambda _: "", elsewhere) as made:
        yield made.folder


@contextmanager
def named_folder(reports: Path, choose: Choose, elsewhere: str = "") -> Iterator["Scratch"]:
    """Give a `scratch_folder` to a run that has a name.

    Args:
        reports: as above.
        choose: the name; nobody else chooses meanwhile.
        elsewhere: as above.

    Raises:
        LaunchError: as above, or of ``choose``.
    """
    elsewhere = elsewhere or f"give another with {option('--reports')}"
    made = [folder for folder in (reports, *reports.parents) if not folder.exists()]
    folder: Path | None = None
    owner: IO[str] | None = None
    try:
        try:
            reports.mkdir(parents=True, exist_ok=True)
            with _alone(reports):
                others = _going_on(reports)
                if others and not made:  # one of them may have made the folder, and end first
                    made = [reports]
                name = choose(others)
                # Whole: a script that is recorded may change the current folder.
                folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=reports.resolve()))
                owner = _owned(folder, name)
        except OSError as error:
            raise _unwritable(reports, error, elsewhere) from None
        _check_room(folder, reports, elsewhere)
        with _Disk(folder) as disk, _full_disk_told(disk, reports, elsewhere):
            try:
                yield Scratch(folder, name, disk)
            except BaseException:
                end_strays(folder)
                raise
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        if owner is not None:
            owner.close()
        for parent in made:
            with suppress(OSError):  # somebody else has put something there
                parent.rmdir()


def check_takes_reports(reports: Path, elsewhere: str) -> None:
    """Make the folder of reports where it is missing, and refuse one that could take none.

    Args:
        reports: the folder.
        elsewhere: how to name another.

    Raises:
        LaunchError: it cannot be written to, or its disk is full.
    """
    try:
        reports.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=reports):
            _check_room(reports, reports, elsewhere)
    except OSError as error:
        raise _unwritable(reports, error, elsewhere) from None


def _unwritable(reports: Path, error: OSError, elsewhere: str) -> LaunchError:
    return LaunchError(f"{reports}: cannot be written to ({error.strerror}); {elsewhere}")


def _check_room(folder: Path, reports: Path, elsewhere: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < _WANTED_BYTES:
        raise LaunchError(
            f"{reports}: {free // 2**20} MiB are free on its disk and a recording wants "
            f"{_WANTED_BYTES // 2**20}; make room, or {elsewhere}"
        )


@contextmanager
def _alone(reports: Path) -> Iterator[None]:
    """Let one run at a time see what others there are, and take its place among them."""
    descriptor = os.open(reports, os.O_RDONLY)
    try:
        with suppress(OSError):  # a disk without locks: reports are still given names one by one
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _owned(folder: Path, name: str) -> IO[str]:
    owner = (folder / _OWNER).open("w", encoding="utf-8")
    owner.write(name)
    owner.flush()
    with suppress(OSError):
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return owner


def _going_on(reports: Path) -> set[str]:
    """Return the names of the runs that go on, and remove what dead ones have left."""
    names = set()
    for folder in reports.glob(f"{_PREFIX}*"):
        try:
            with (folder / _OWNER).open("r+", encoding="utf-8") as owner:
                name = owner.read()
                try:
                    fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    names.add(name)
                else:
                    end_strays(folder)
                    shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:  # it ended this moment, or died before it had an owner
            with suppress(OSError):
                folder.rmdir()
        except OSError:  # another user's, or nobody can tell
            continue
    return names


class _Disk:
    """The least room there was on a disk, looked at time and again: what fills it may be gone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._least_bytes = shutil.disk_usage(folder).free

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def was_full(self) -> bool:
        """Return whether there was no room at some moment, now for one."""
        self._look()
        return self._least_bytes < _FULL_BYTES

    def _look(self) -> None:
        with suppress(OSError):
            self._least_bytes = min(self._least_bytes, shutil.disk_usage(self._folder).free)

    def _watch(self) -> None:
        while not self._done.wait(_LOOK_S):
            self._look()


@dataclass(frozen=True)
class Scratch:
    """The folder of a run, and what the run is called."""

    folder: Path
    name: str
    _disk: _Disk

    def check_disk(self) -> None:
        """Refuse what is recorded on a disk that was full: it may lack anything, or never end.

        Raises:
            LaunchError: there was no room.
        """
        if self._disk.was_full():
            raise LaunchError("the disk was full")


@contextmanager
def _full_disk_told(disk: _Disk, reports: Path, elsewhere: str) -> Iterator[None]:
    """Tell of a full disk in one line, whatever failed because of it: recorders do not say so."""
    try:
        yield
    except OutOfMemory:
        raise
    except (LaunchError, OSError, sqlite3.OperationalError) as error:
        if _is_full(error) or disk.was_full():
            problem = "its disk became full, and the run is not kept"
            raise LaunchError(f"{reports}: {problem}; make room, or {elsewhere}") from None
        if isinstance(error, LaunchError):
            raise
        said = getattr(error, "strerror", None) or str(error)
        raise LaunchError(
            f"{reports}: the report could not be written ({said}); {elsewhere}"
        ) from None


def _is_full(error: Exception) -> bool:
    if isinstance(error, sqlite3.OperationalError):
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in _OF_A_FULL_DISK
