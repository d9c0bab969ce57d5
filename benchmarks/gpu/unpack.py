"""Unpack what `benchmarks.gpu.evidence` packed on the GPU machine, and complete its recordings.

    python -m benchmarks.gpu.unpack DIR OUT       DIR holds evidence.tar.xz.00, .01, …

Every file is compared with what was packed. Recordings that nsys could not finish over there are
made reports of, where the whole nsys is here (NSYS= or the PATH); else how to do that is said.
"""

import argparse
import hashlib
import io
import json
import lzma
import os
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.gpu.pack import MANIFEST, MIB, PACKED
from profiling.common import cli
from profiling.common.cli import relative_to_here
from profiling.common.errors import LaunchError
from profiling.processes.starting import child_environment, ended_by_signals, python_command
from profiling.recorders import importer
from profiling.recorders.nsys import Nsys

MODULE: Final = "benchmarks.gpu.unpack"
_AGAIN: Final = "bring all parts again"


class Joined(io.RawIOBase):
    """Files one after the other, read as one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._left = list(paths)
        self._file: io.BufferedReader | None = None

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; 0 is the end."""
        while self._file or self._left:
            self._file = self._file or self._left.pop(0).open("rb")
            if count := self._file.readinto(buffer):
                return count
            self._file.close()
            self._file = None
        return 0

    def close(self) -> None:
        """Close the file that is read."""
        if self._file:
            self._file.close()
        super().close()


def parts(folder: Path) -> list[Path]:
    """Return the parts in a folder, in order.

    Raises:
        LaunchError: there are none, or one is missing.
    """
    pattern = re.compile(re.escape(PACKED) + r"\.([0-9]{2,})")
    if not folder.is_dir():
        raise LaunchError(f"{folder}: no such folder; name the one with {PACKED}.00")
    found = {
        int(match[1]): path
        for path in folder.iterdir()
        if (match := pattern.fullmatch(path.name)) and path.is_file()
    }
    if not found:
        raise LaunchError(f"{folder}: holds no {PACKED}.00; name the folder with the parts")
    for number in range(max(found) + 1):
        if number not in found:
            raise LaunchError(f"{folder}: {PACKED}.{number:02} is missing; {_AGAIN}")
    return [found[number] for number in sorted(found)]


def unpack(folder: Path, out: Path, overwrite: bool) -> list[Path]:
    """Put every packed file into a folder, or none; return them.

    Raises:
        LaunchError: a part is missing or damaged, or a file is there already.
    """
    found = parts(folder)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=out) as name:
            _extract(found, Path(name))
            manifest = _checked(Path(name), folder)
            names = sorted(manifest["files"])
            if not overwrite and (taken := [each for each in names if (out / each).exists()]):
                raise LaunchError(
                    f"{out / taken[0]}: exists; name another folder, or give --overwrite"
                )
            for each in names:
                (out / each).parent.mkdir(parents=True, exist_ok=True)
                os.replace(Path(name) / each, out / each)
    except (lzma.LZMAError, tarfile.TarError, EOFError) as error:
        said = (str(error).splitlines() or ["it ends early"])[0]
        raise LaunchError(f"{folder}: a part is missing or damaged ({said}); {_AGAIN}") from None
    except OSError as error:
        raise LaunchError(f"{error.filename or out}: {error.strerror}") from None
    for each in manifest["left_out"]:
        print(f"left out over there, too large: {each}")
    return [out / each for each in names]


def _extract(found: Sequence[Path], folder: Path) -> None:
    with (
        io.BufferedReader(Joined(found), MIB) as joined,
        lzma.open(joined) as stream,
        tarfile.open(fileobj=stream, mode="r|") as archive,
    ):
        for member in archive:
            if not member.isfile():
                raise tarfile.TarError(f"{member.name} is no file")
            archive.extract(member, folder, filter="data")


def _checked(folder: Path, given: Path) -> dict[str, Any]:
    """Return the manifest, if all is as it was packed."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        files = manifest["files"].items()
    except (FileNotFoundError, ValueError, KeyError, AttributeError):
        raise LaunchError(f"{given}: the last part is missing or damaged; {_AGAIN}") from None
    for name, known in files:
        path = folder / name
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != known["sha256"]:
            raise LaunchError(f"{given}: {name} is damaged; {_AGAIN}")
    return manifest


def complete(files: Sequence[Path], overwrite: bool) -> int:
    """Make reports of the recordings among some files, or say how; return the exit status."""
    recordings = [path for path in files if path.suffix == ".qdstrm"]
    if not recordings:
        return 0
    nsys = Nsys.find()
    words = [*map(str, map(relative_to_here, recordings)), *(["--overwrite"] if overwrite else [])]
    if nsys is None or importer.find(nsys) is None:
        print(
            f"to complete where the whole nsys is: python -m profiling.complete {shlex.join(words)}"
        )
        return 0
    command = python_command("profiling.complete", *words, "--no-page")
    return subprocess.run(command, env=child_environment(), check=False).returncode


def _run(given: argparse.Namespace) -> int:
    made = unpack(given.folder, given.out, given.overwrite)
    print(f"unpacked {len(made)} files into {given.out}", flush=True)
    return complete(made, given.overwrite)


def main(argv: Sequence[str] | None = None) -> int:
    """Unpack and complete."""
    parser = cli.Parser(MODULE, __doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="with the parts")
    parser.add_argument("out", type=Path, metavar="OUT", help="for what is in them")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    given = parser.parse_args(argv)

    def run() -> int:
        with ended_by_signals():
            return _run(given)

    return cli.run(run)


if __name__ == "__main__":
    sys.exit(main())
