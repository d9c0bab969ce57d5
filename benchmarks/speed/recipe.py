"""NVIDIA's Python recipe of the projection, run whole and as it is, outside of `nsys recipe`.

`nsys recipe` is `python3 -m nsys_recipe` with its packages on PYTHONPATH, and so is this. Debian's
package of nsys lacks one folder, third_party, and the recipes refuse to start without it. Other
packagers (of CUDA for ALT Linux, of meta-tegra) name what they take out of it: Python's _sqlite3,
built for 3.10. This recipe reads Parquet, and any Python's own sqlite3 can be imported: an empty
folder serves, beside links to NVIDIA's files. Nothing is changed in the installation.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks.speed.processes import Command, output_of, program
from benchmarks.text import BenchmarkError

NAME: Final = "nvtx_gpu_proj_sum"
THIRD_PARTY: Final = "third_party"
REQUIREMENTS: Final = "benchmarks/recipe_requirements.txt"

MODES: Final[Mapping[str, tuple[str, ...]]] = {
    "recipe": (),
    "recipe in one process": ("--mode", "none"),
}
"""What we call a run, and its arguments; a pool of processes is the recipe's default."""

TIMED: Final = (
    f"{NAME}, whole and unmodified: start, reading, projection, output; its tables are ready as"
    " Parquet, and their export from an .nsys-rep is not timed"
)

HOW: Final = (
    "make an environment for it: python3.11 -m venv ENV && ENV/bin/pip install -r"
    f" {REQUIREMENTS}, and set RECIPE_PYTHON=ENV/bin/python"
)

# The second line is what fails with numpy 2, the first what fails from Python 3.12 on.
PROBE: Final = """
from nsys_recipe import data_service
import numpy, pandas, platform, pyarrow
data_service.extract_pid(pandas.Series([1], dtype="uint64"))
for module in (numpy, pandas, pyarrow):
    print(module.__name__, module.__version__, end=", ")
print("Python", platform.python_version())
"""

CLOCK_TICK_S: Final = 0.05
"""Longer than a tick of any clock that stamps files."""


@dataclass(frozen=True)
class Recipe:
    """NVIDIA's recipe: the package nsys_recipe, and a Python with what it needs, in versions."""

    folder: Path
    python: str
    versions: str = ""

    @property
    def whole(self) -> bool:
        """Whether the installation has everything of it."""
        return (self.folder / THIRD_PARTY).is_dir()

    def provenance(self) -> dict[str, str]:
        """Return what was run, for the conditions."""
        found = {"recipe": TIMED, "recipe_environment": self.versions}
        if not self.whole:
            found["recipe_third_party"] = "not in this installation: an empty folder in its place"
        return found

    def environment(self, folder: Path) -> dict[str, str]:
        """Return the variables under which it starts, as `nsys recipe` sets them.

        What the installation lacks is made in a folder.
        """
        packages = self.folder.parent
        if not self.whole:
            packages = folder / "packages"
            beside = packages / self.folder.name
            (beside / THIRD_PARTY).mkdir(parents=True, exist_ok=True)
            for entry in self.folder.iterdir():
                if not (beside / entry.name).exists():
                    (beside / entry.name).symlink_to(entry)
        return {
            "NSYS_DIR": str(self.folder.parents[3]),
            "PYTHONPATH": str(packages),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def commands(self, report: Path, folder: Path) -> dict[str, Command]:
        """Return its commands by name, once the tables of a report are in place, in a folder.

        Raises:
            BenchmarkError: the tables cannot be written.
        """
        capture = tables(report, folder)
        variables = [f"{key}={value}" for key, value in self.environment(folder).items()]
        start = ["env", *variables, self.python, "-m", "nsys_recipe", "--log-stream=stdout", NAME]
        start += ["--input", str(capture), "--csv", "--force-overwrite"]
        return {
            name: [*start, "--output", str(answer(name, folder).parent), *mode]
            for name, mode in MODES.items()
        }


def find(nsys: str) -> Recipe | None:
    """Return the recipe of RECIPE=, or of the nsys given, once RECIPE_PYTHON= was seen to run it.

    Returns:
        None where RECIPE_PYTHON is not set: nothing says what could run it.

    Raises:
        BenchmarkError: it was asked for, and cannot be run.
    """
    if not os.environ.get("RECIPE_PYTHON"):
        return None
    python = program("RECIPE_PYTHON", HOW)
    found = Recipe(package(nsys), python)
    with tempfile.TemporaryDirectory(prefix="recipe-") as folder:
        variables = {**os.environ, **found.environment(Path(folder))}
        probe = [python, "-W", "ignore", "-c", PROBE]
        return replace(found, versions=output_of(probe, f"RECIPE_PYTHON={python}", HOW, variables))


def package(nsys: str) -> Path:
    """Return the folder of the package nsys_recipe, resolved.

    Raises:
        BenchmarkError: it is not there.
    """
    asked = os.environ.get("RECIPE", "")
    candidates = [Path(asked)] if asked else []
    for parent in () if asked else Path(nsys).resolve().parents[:2]:
        candidates += sorted(parent.glob("target-*/python/packages/nsys_recipe"))
    for candidate in candidates:
        if (candidate / "recipes" / NAME).is_dir():
            return candidate.resolve()
    where = f"RECIPE={asked} has" if asked else f"beside {nsys} there is"
    wanted = "set RECIPE= to .../target-linux-x64/python/packages/nsys_recipe of an nsys"
    raise BenchmarkError(f"{where} no recipe {NAME}; {wanted}")


def tables(report: Path, folder: Path, *options: str) -> Path:
    """Write the tables of a report where the recipe finds them, and return the path it is given.

    It reads NAME_pqtdir/TABLE.parquet when those are newer than NAME.nsys-rep, and would otherwise
    have nsys export them. That file is empty here: an export of it fails, and so would the run.

    Args:
        report: SQLite.
        folder: where the recipe finds them.
        options: `recipe_tables.WHOLE`, or none for what the recipe reads alone.

    Raises:
        BenchmarkError: the report cannot be read.
    """
    capture = folder / f"{report.stem}.nsys-rep"
    capture.touch()
    time.sleep(CLOCK_TICK_S)
    # In a process of its own: this one stays small, or its children would seem large.
    target = folder / f"{report.stem}_pqtdir"
    module = "benchmarks.speed.recipe_tables"
    command = [sys.executable, "-m", module, str(report), str(target), *options]
    output_of(command, "the tables for NVIDIA's recipe", f"run {command} by hand")
    return capture


def answer(name: str, folder: Path) -> Path:
    """Return the file with the statistics of each range that a run of that name writes."""
    return folder / name.replace(" ", "-") / "rank_stats.csv"
