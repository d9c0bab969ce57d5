"""Where reports go: a name given at the end, to all files or none, and nothing lost on the way."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from analysis.show.called import option, switch
from profiling.common.errors import LaunchError
from profiling.processes.starting import PAGE

REPORTS: Final = Path("nsys_reports")
"""The folder for reports: of the current one."""

NOTES: Final = ".json"
"""After the name of a recording that waits to be completed: of what its report gets besides."""

SUFFIXES: Final = (
    *(".sqlite", PAGE),
    *(".nsys-rep", ".qdstrm", f".nsys-rep{NOTES}", f".qdstrm{NOTES}"),
)
"""The files of one report: it, its page for a browser, nsys' own file, or what is not completed."""


class Taken(LaunchError):
    """A report has the name that another is to get, and is not to be replaced."""

    def __init__(self, path: Path, remedy: str = "", problem: str = "exists") -> None:
        super().__init__(f"{path}: {problem}; {remedy or other_name()}")


def other_name() -> str:
    """Return what to do where a recording's name is taken."""
    return f"choose another {option('--name')}, or give {switch('--overwrite')} to replace it"


def publish(made: Path, destination: Path, overwrite: bool, remedy: str = "") -> None:
    """Give a file its name; one that appeared there meanwhile is not lost.

    Raises:
        Taken: there is one, and it is not to be replaced.
    """
    if overwrite:
        os.replace(made, destination)
        return
    try:
        os.link(made, destination)
    except FileExistsError:
        raise Taken(destination, remedy) from None
    except OSError:  # a disk without hard links
        if destination.exists():
            raise Taken(destination, remedy) from None
        os.replace(made, destination)


def publish_all(made: Mapping[Path, Path], *, overwrite: bool = False, remedy: str = "") -> None:
    """Give all files their names, in order, or none where nothing is replaced.

    Args:
        made: where each goes.
        overwrite: whether what is there is replaced.
        remedy: as `check_free` takes it.

    Raises:
        Taken: one of the names is taken, and not to be replaced.
        OSError: one of the files is not there, and none has got its name.
    """
    for path in made:
        path.stat()
    done: list[Path] = []
    try:
        for path, destination in made.items():
            publish(path, destination, overwrite, remedy)
            done.append(destination)
    except BaseException:
        for destination in () if overwrite else done:
            destination.unlink()
        raise


def files_of(stem: Path) -> list[Path]:
    """Return every file that the report of this name may have, made or not."""
    return [stem.with_name(stem.name + suffix) for suffix in SUFFIXES]


def check_free(*paths: Path, overwrite: bool, remedy: str = "") -> None:
    """Refuse to write over an earlier report.

    Args:
        paths: its files.
        overwrite: whether it may be replaced.
        remedy: what to do otherwise, where a recording's options do not say it.

    Raises:
        Taken: there is one, and it is not to be replaced.
    """
    for path in paths:
        if path.exists() and not overwrite:
            raise Taken(path, remedy)
