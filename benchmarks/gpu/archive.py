"""All results in one archive, and what is kept of such an archive on another machine."""

import filecmp
import lzma
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from operator import methodcaller
from pathlib import Path
from typing import Final

from benchmarks.gpu.measure import LOG
from profiling.common.errors import LaunchError
from profiling.processes.starting import child_environment, python_command

LARGEST: Final = "2MB"
"""Of a report that is kept in the repository."""

_WITHOUT_OWNER: Final = methodcaller("replace", uid=0, gid=0, uname="", gname="", deep=False)
_DAMAGE: Final = (tarfile.TarError, lzma.LZMAError, EOFError, ValueError)


def pack(folder: Path, archive: Path) -> None:
    """Write the results of a machine into an archive, compressed, whole or not at all."""
    draft = archive.with_name(f".{archive.name}.part")
    try:
        with tarfile.open(draft, "w:xz", preset=1) as packed:
            for path in sorted(folder.rglob("*")):
                inside = path.relative_to(folder.parent)
                if path.is_file() and not any(part.startswith(".") for part in inside.parts):
                    # Without its owner, who is nobody elsewhere.
                    packed.add(path, str(inside), filter=_WITHOUT_OWNER)
        os.replace(draft, archive)
    finally:
        draft.unlink(missing_ok=True)


def unpack(archive: Path, results: Path) -> list[Path]:
    """Put the results of an archive beside those that are there; return the machines' folders.

    A result that is there stays; where the archive has another one of it, that is said.

    Args:
        archive: made by `pack`.
        results: with a folder for each machine.

    Raises:
        LaunchError: it cannot be read, or one of its paths leads outside.
    """
    results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=results) as name:
        try:
            with tarfile.open(archive) as packed:
                files = [member for member in packed if member.isfile()]
                packed.extractall(name, files, filter="data")
        except OSError as error:
            raise LaunchError(f"{archive}: {error.strerror or error}") from None
        except _DAMAGE as error:
            said = (str(error).splitlines() or ["it ends early"])[0]
            raise LaunchError(f"{archive}: not taken ({said}); give one of make gpu") from None
        machines = sorted(path for path in Path(name).iterdir() if path.is_dir())
        for machine in machines:
            _take(machine, results / machine.name)
    if not machines:
        raise LaunchError(f"{archive}: holds no results; give one of make gpu")
    return [results / machine.name for machine in machines]


def _take(machine: Path, target: Path) -> None:
    """Move what is not there yet: runs, and the logs of those that failed."""
    target.mkdir(exist_ok=True)
    for log in sorted(machine.glob("*.log")):
        os.replace(log, target / log.name)
    for run in sorted(log.parent for log in machine.glob(f"*/{LOG}")):
        there = target / run.name
        if not there.exists():
            os.replace(run, there)
        elif filecmp.cmpfiles(run, there, [LOG], shallow=False)[0] != [LOG]:
            _note(f"{there} is of another run and stays; take it away to keep the new one")
        else:
            for path in run.iterdir():
                if not (there / path.name).exists():
                    os.replace(path, there / path.name)


def finish(folder: Path, reports: Path) -> bool:
    """Complete the recordings of a machine, and keep small reports of them, as ``gpu-NAME.sqlite``.

    Args:
        folder: of a machine.
        reports: for the small ones; one that is there stays.

    Returns:
        Whether all of it could be done.
    """
    done = True
    for recording in _recordings(folder):
        try:
            _complete(recording)
        except LaunchError as error:
            done = False
            _note(str(error))
    for report in sorted(folder.glob("*/*.sqlite")):
        target = reports / f"gpu-{report.name}"
        if target.exists():
            _note(f"{target} is there and stays; take it away to make it of {report}")
            continue
        given = (report, "--output", target, "--max-size", LARGEST)
        command = python_command("analysis.trim", *given)
        trimmed = subprocess.run(command, env=child_environment(), stdout=subprocess.DEVNULL)
        done = done and trimmed.returncode == 0
    return done


def _recordings(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.glob("*/*")):
        if path.suffix in {".qdstrm", ".nsys-rep"} and not path.with_suffix(".sqlite").exists():
            yield path


def _complete(recording: Path) -> None:
    # Here: a machine that only measures need not have what this imports.
    from profiling.launch import complete

    complete.complete(recording, recording.parent, complete.find_nsys(), overwrite=False)


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)
