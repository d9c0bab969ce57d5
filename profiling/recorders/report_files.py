"""Where reports go: room made for them, a name given at the end, nothing lost on the way."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from profiling.common.errors import LaunchError

REPORTS: Final = Path("nsys_reports")
"""The folder for reports: of the current one."""

ELSEWHERE: Final = "choose another NAME, or set OVERWRITE=1 to replace it"
"""What to do where a report is in the way: the launcher's words."""

NOTES: Final = ".json"
"""After the name of a recording that waits to be completed: of what its report gets besides."""

SUFFIXES: Final = (".sqlite", ".nsys-rep", ".qdstrm", f".nsys-rep{NOTES}", f".qdstrm{NOTES}")
"""The files of one report: it, nsys' own file, or what waits to be completed."""

_FREE_BYTES: Final = 100 * 2**20
"""Room a recording is sure to want: traces of a few steps take 10 to 50 MB, twice."""


@contextmanager
def scratch_folder(reports: Path, elsewhere: str = "give another with REPORTS=") -> Iterator[Path]:
    """Give a folder on the same disk as the reports, gone afterwards.

    Args:
        reports: their folder, made where it is missing.
        elsewhere: how to name another.

    Raises:
        LaunchError: the disk is full, or cannot be written to.
    """
    made = [folder for folder in (reports, *reports.parents) if not folder.exists()]
    try:
        reports.mkdir(parents=True, exist_ok=True)
        # Whole: a script that is recorded may change the current folder.
        folder = Path(tempfile.mkdtemp(prefix=".recording-", dir=reports.resolve()))
    except OSError as error:
        raise LaunchError(
            f"{reports}: cannot be written to ({error.strerror}); {elsewhere}"
        ) from None
    try:
        free = shutil.disk_usage(folder).free
        if free < _FREE_BYTES:
            raise LaunchError(
                f"{reports}: {free // 2**20} MiB are free on its disk and a recording wants "
                f"{_FREE_BYTES // 2**20}; make room, or {elsewhere}"
            )
        yield folder
    except (OSError, sqlite3.OperationalError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise LaunchError(f"{reports}: the report could not be written ({reason})") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in made:
            if not any(parent.iterdir()):
                parent.rmdir()


def publish(made: Path, destination: Path, overwrite: bool) -> None:
    """Give a file its name; one that appeared there meanwhile is not lost.

    Raises:
        LaunchError: there is one, and it is not to be replaced.
    """
    if overwrite:
        os.replace(made, destination)
        return
    try:
        os.link(made, destination)
    except FileExistsError:
        raise LaunchError(_taken(destination)) from None
    except OSError:  # a disk without hard links
        if destination.exists():
            raise LaunchError(_taken(destination)) from None
        os.replace(made, destination)


def publish_all(made: Mapping[Path, Path], *, overwrite: bool = False) -> None:
    """Give all files their names, in order, or none where nothing is replaced.

    Raises:
        LaunchError: one of the names is taken, and not to be replaced.
        OSError: one of the files is not there, and none has got its name.
    """
    for path in made:
        path.stat()
    done: list[Path] = []
    try:
        for path, destination in made.items():
            publish(path, destination, overwrite)
            done.append(destination)
    except BaseException:
        for destination in () if overwrite else done:
            destination.unlink()
        raise


def files_of(stem: Path) -> list[Path]:
    """Return every file that the report of this name may have, made or not."""
    return [stem.with_name(stem.name + suffix) for suffix in SUFFIXES]


def check_free(*paths: Path, overwrite: bool) -> None:
    """Refuse to write over an earlier report.

    Raises:
        LaunchError: there is one, and it is not to be replaced.
    """
    for path in paths:
        if path.exists() and not overwrite:
            raise LaunchError(_taken(path))


def _taken(path: Path) -> str:
    return f"{path}: exists; {ELSEWHERE}"
