"""Where reports go: room made for them, a name given at the end, nothing lost on the way."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from profiling.errors import LaunchError

REPORTS: Final = Path(__file__).resolve().parent.parent / "nsys_reports"
_FREE_BYTES: Final = 100 * 2**20
"""Room a recording is sure to want: traces of a few steps take 10 to 50 MB, twice."""


@contextmanager
def scratch(reports: Path) -> Iterator[Path]:
    """Give a folder on the same disk as the reports, gone afterwards.

    Raises:
        LaunchError: the disk is full, or cannot be written to.
    """
    made = [folder for folder in (reports, *reports.parents) if not folder.exists()]
    try:
        reports.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".recording-", dir=reports))
    except OSError as error:
        raise LaunchError(
            f"{reports}: cannot be written to ({error.strerror}); give another with REPORTS="
        ) from None
    try:
        free = shutil.disk_usage(folder).free
        if free < _FREE_BYTES:
            raise LaunchError(
                f"{reports}: {free // 2**20} MiB are free on its disk and a recording wants "
                f"{_FREE_BYTES // 2**20}; make room, or give another with REPORTS="
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


def check_free(*paths: Path, overwrite: bool) -> None:
    """Refuse to write over an earlier report.

    Raises:
        LaunchError: there is one, and it is not to be replaced.
    """
    for path in paths:
        if path.exists() and not overwrite:
            raise LaunchError(_taken(path))


def shown(path: Path) -> Path:
    """Return a path as a person would type it here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _taken(path: Path) -> str:
    return f"{path}: exists; choose another NAME, or set OVERWRITE=1 to replace it"
