"""Where and when a measurement was made: without that, its numbers say nothing."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = ROOT / "benchmarks" / "results"

BUSY: Final = 0.5
"""From this load average a core on, other work is likely to have been in the way."""

Conditions = dict[str, str | int | float]


def conditions(*packages: str) -> Conditions:
    """Return date, processor, cores, load average and versions, as they are now.

    Args:
        packages: the distributions whose versions matter.
    """
    found: Conditions = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    if commit := command_output(
        "git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"
    ):
        found["commit"] = commit
    return found


def processor() -> str:
    """Return the model of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def program_version(program: str) -> str:
    """Return the version a program gives, or that it gives none."""
    found = re.search(r"\d+(\.\d+)+", command_output(program, "--version"))
    return found[0] if found else "unknown"


def command_output(*command: str) -> str:
    """Return what a command prints on stdout, nothing where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def conditions_text(found: Mapping[str, str | int | float]) -> list[str]:
    """Return the lines above a table: the machine, the versions, and a warning if it was busy."""
    cores, load = found["cores"], float(found["load_average_before"])
    after = f", {found['load_average_after']:.2f} after" if "load_average_after" in found else ""
    first = ("date", "processor", "cores", "load_average_before", "load_average_after")
    long = [key for key in found if key.startswith("recipe")]
    rest = [f"{key} {value}" for key, value in found.items() if key not in (*first, *long)]
    lines = [
        f"{found['processor']}, {cores} cores, load average {load:.2f} before{after},"
        f" {found['date']}",
        ", ".join(rest),
        *(f"{key.replace('_', ' ')}: {found[key]}" for key in long),
    ]
    if load > BUSY * int(cores):
        lines.append("warning: other work runs here, so times wander; repeat on a quiet machine")
    return lines
