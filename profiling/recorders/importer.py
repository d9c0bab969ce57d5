"""The half of nsys that makes a report of a recording: QdstrmImporter.

Where only the half that records is installed (``target-linux-x64``: containers, clusters), nsys
leaves a ``.qdstrm``. The importer is in ``host-linux-x64``, which a whole installation has as well.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from profiling.common.errors import LaunchError
from profiling.recorders.nsys import Nsys

NAME: Final = "QdstrmImporter"
_HOST: Final = f"[Hh]ost-*/{NAME}"
_INSTALLED: Final = Path("/opt/nvidia/nsight-systems")
"""Where NVIDIA's own packages go, a folder for each version."""

_STREAM: Final = re.compile(rb"NVIDIA Nsight Systems Stream (\d+(?:\.\d+)+)")
_NOT_ITS_WORDS: Final = ("[QuadD", "Dynamic exception type", "Throw in function")


def find(nsys: Nsys) -> Path | None:
    """Return the importer that belongs to an nsys, or nothing.

    It lies beside the folder of the real nsys (NVIDIA's archives), or in ``nsight-systems`` of a
    folder above (Debian), or in that of its version (NVIDIA's packages, and the CUDA toolkit, whose
    ``nsys`` is a script that looks for it).
    """
    for pattern_folder, pattern in _places(nsys):
        for found in sorted(pattern_folder.glob(pattern)):
            if found.is_file():
                return found
    return None


def _places(nsys: Nsys) -> Iterator[tuple[Path, str]]:
    real = nsys.real_path
    above = real.parents
    yield from ((folder, _HOST) for folder in above)
    yield from ((folder, f"nsight-systems/{_HOST}") for folder in above)
    release = ".".join(nsys.version.split(".")[:3])
    yield from ((folder, f"nsight-systems-{release}*/{_HOST}") for folder in above)
    yield _INSTALLED, f"{release}*/{_HOST}"


def make_report(importer: Path, recording: Path, destination: Path) -> None:
    """Make the ``.nsys-rep`` of a ``.qdstrm``.

    Args:
        recording: is written to, by the importer (it renews the end of the file): give a copy.
        destination: does not exist yet.

    Raises:
        LaunchError: the importer could not, with what it said.
    """
    command = [str(importer), "-i", str(recording), "-o", str(destination)]
    # Its own bar, where somebody sees it.
    bar = sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=bar,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise LaunchError(f"{importer} cannot be run: {error.strerror}") from None
    if done.returncode or not destination.exists():
        status = done.returncode
        how = f"exit status {status}" if status >= 0 else f"ended by signal {-status}"
        raise LaunchError(f"the importer failed ({_words(done.stderr) or how})")


def _words(said: str) -> str:
    r"""Return what the importer says of a failure, without where in its source it was found.

    >>> _words('x.h(9): Throw in function f()\nstd::exception::what: ParseException\n')
    'ParseException'
    """
    lines = [line.strip() for line in said.splitlines()]
    lines = [line for line in lines if line and not any(word in line for word in _NOT_ITS_WORDS)]
    return lines[0].removeprefix("std::exception::what: ") if lines else ""


def version(importer: Path) -> str:
    """Return an importer's version, as in ``2023.4.4.54``; empty where it does not say."""
    return Nsys(str(importer)).version


def recorded_by(recording: Path) -> str:
    """Return the version of the nsys that made a ``.qdstrm``; empty where it does not say."""
    with recording.open("rb") as file:
        found = _STREAM.search(file.read(512))
    return found[1].decode() if found else ""
