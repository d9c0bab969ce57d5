"""Fill a folder with the packages that a bare GPU machine may lack, as wheels.

    python -m benchmarks.gpu.carry DIR                    for Python 3.12 on x86-64 Linux
    python -m benchmarks.gpu.carry DIR --python 3.11

`benchmarks.gpu.evidence --carry DIR` unpacks those that are missing over there: nothing of that
machine is replaced by what was carried. Too large to be carried, and left out: torch, triton,
numpy, pandas, pyarrow, transformers; any wheel may be put into the folder by hand.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final
from zipfile import ZipFile

from profiling.common import cli
from profiling.common.errors import LaunchError

ROOT: Final = Path(__file__).resolve().parents[2]
MODULE: Final = "benchmarks.gpu.carry"

PACKAGES: Final = {
    "nvtx": "nvtx",
    "psutil": "psutil",
    "adbc_driver_manager": "adbc-driver-manager",
    "adbc_driver_sqlite": "adbc-driver-sqlite",
    "typing_extensions": "typing_extensions",
    "rich": "rich",
    "pygments": "Pygments",
    "markdown_it": "markdown-it-py",
    "mdurl": "mdurl",
    "sqlite_utils": "sqlite-utils",
    "sqlite_fts4": "sqlite-fts4",
    "click": "click",
    "click_default_group": "click-default-group",
    "tabulate": "tabulate",
    "dateutil": "python-dateutil",
    "tzdata": "tzdata",
    "pytest": "pytest",
    "pluggy": "pluggy",
    "iniconfig": "iniconfig",
    "packaging": "packaging",
    "hypothesis": "hypothesis",
    "sortedcontainers": "sortedcontainers",
}
"""What is imported, and the package it is of; what each needs is among them."""

GLIBC: Final = (*range(17, 40), 12, 5)
"""Wheels for these minor versions of glibc 2 are taken: pip wants each of them named."""


def wheels(folder: Path) -> dict[str, Path]:
    """Return the wheels of a folder by what is imported of each."""
    imported = {_normal(package): module for module, package in PACKAGES.items()}
    found = {}
    for wheel in sorted(folder.glob("*.whl")):
        package = _normal(wheel.name.split("-")[0])
        found[imported.get(package, package.replace("-", "_"))] = wheel
    return found


def _normal(package: str) -> str:
    return re.sub("[-_.]+", "-", package).lower()


def unpack(found: Iterable[Path], folder: Path) -> Path:
    """Unpack wheels into a folder, which then holds nothing else, and return it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for wheel in found:
        with ZipFile(wheel) as archive:
            archive.extractall(folder)
    return folder


def fill(folder: Path, python: str, machine: str) -> int:
    """Put the wheels of `PACKAGES` into a folder, older ones out of it, and return their bytes.

    The versions are those of `constraints.txt`.

    Raises:
        LaunchError: a package is not to be had, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as scratch:
            _fetch(python, machine, Path(scratch))
            found = wheels(Path(scratch))
            if missing := {*PACKAGES} - {*found}:
                raise LaunchError(f"pip fetched no wheel of {min(missing)}; fetch it by hand")
            for module, wheel in wheels(folder).items():
                if module in found:
                    wheel.unlink()
            return sum(
                wheel.replace(folder / wheel.name).stat().st_size for wheel in found.values()
            )
    except OSError as error:
        raise LaunchError(f"{folder}: {error.strerror}; name another folder") from None


def _fetch(python: str, machine: str, folder: Path) -> None:
    tags = [f"manylinux_2_{minor}_{machine}" for minor in GLIBC]
    tags += [f"manylinux{year}_{machine}" for year in ("2014", "2010", "1")]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    command += [word for tag in tags for word in ("--platform", tag)]
    command += ["--constraint", str(ROOT / "constraints.txt"), "--dest", str(folder)]
    done = subprocess.run(
        [*command, *PACKAGES.values()], capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = (said or done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise LaunchError(f"pip could not fetch the packages ({reason}); is an index within reach?")


def main(argv: Sequence[str] | None = None) -> int:
    """Fill the folder and say what is in it."""
    parser = cli.Parser(MODULE, __doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="for the wheels")
    parser.add_argument("--python", default="3.12", help="version over there (%(default)s)")
    parser.add_argument("--machine", default="x86_64", help="processor over there (%(default)s)")
    given = parser.parse_args(argv)
    if not re.fullmatch(r"3\.[0-9]+", given.python):
        parser.error(f"--python is a version such as 3.12, not {given.python!r}")
    return cli.run(lambda: _fill(given))


def _fill(given: argparse.Namespace) -> int:
    size = fill(given.folder, given.python, given.machine)
    print(
        f"{given.folder}: {len(PACKAGES)} packages for Python {given.python} on {given.machine}, "
        f"{size / 2**20:.1f} MiB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
