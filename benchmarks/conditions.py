"""Where and when a measurement was made: without that, its numbers say nothing."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from profiling.common.host import ROOT as ROOT
from profiling.common.host import command_output, commit, processor, versions

RESULTS: Final = ROOT / "benchmarks" / "results"

BUSY: Final = 0.5
"""From this load average a core on, other work is likely to have been in the way."""

Conditions = dict[str, str | int | float]


def conditions(*packages: str) -> Conditions:
    """Return date, processor, cores, load average and versions, as they are now.

    Args:
        packages: the distributions whose versions matter.
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        **versions(*packages),
        **commit(ROOT),
    }


def program_version(program: str) -> str:
    """Return the version a program gives, or that it gives none."""
    found = re.search(r"\d+(\.\d+)+", command_output(program, "--version"))
    return found[0] if found else "unknown"


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
