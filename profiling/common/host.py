"""The host of a run, asked without torch: its processor, and the versions of what runs there."""

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
"""The folder that this project's packages lie in."""

_ELSEWHERE: Final = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR")
"""Variables by which git, started by a hook of its own, is in one repository wherever it looks."""


def processor() -> str:
    """Return the model of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of those packages that are installed, and of Python."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit(folder: Path) -> dict[str, str]:
    """Return the commit that a folder is at, marked where files differ from it.

    Nothing is returned where it is in no repository, or in one that git will not read, or there is
    no git.
    """
    git = ("git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12")
    own = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    known = command_output(*git, environment=own)
    return {"commit": known} if known else {}


def command_output(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """Return what a command prints on stdout, nothing where it fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=60, env=environment
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
