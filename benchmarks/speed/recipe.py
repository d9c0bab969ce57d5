"""NVIDIA's Python recipe of the projection, run whole and as it is, outside of `nsys recipe`.

`nsys recipe` is `python3 -m nsys_recipe` with its packages on PYTHONPATH, and so is this. Debian's
package of nsys lacks one folder, third_party, and the recipes refuse to start without it. Other
packagers (of CUDA for ALT Linux, of meta-tegra) name what they take out of it: Python's _sqlite3,
built for 3.10. This recipe reads Parquet, and any Python's own sqlite3 can be imported: an empty
folder serves, beside links to NVIDIA's files. Nothing is changed in the installation.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.conditions import ROOT
from benchmarks.speed.processes import Command
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
    """Where NVIDIA's recipe is and what runs it.

    Attributes:
        folder: the package nsys_recipe of an nsys installation.
        python: the interpreter that has what it needs.
        versions: what that is.
    """

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

        Args:
            folder: where what the installation lacks may be made.
        """
        packages = self.folder.parent if self.whole else completed(self.folder, folder)
        return {
            "NSYS_DIR": str(self.folder.parents[3]),
            "PYTHONPATH": str(packages),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def commands(self, report: Path, folder: Path) -> dict[str, Command]:
        """Return its commands by name, once the tables of a report are in place.

        Args:
            report: what ours read, an .sqlite.
            folder: for the tables, and for the answers: see `answer`.

        Raises:
            BenchmarkError: the tables cannot be written.
        """
        capture = tables(report, folder)
        variables = [f"{key}={value}" for key, value in self.environment(folder).items()]
        start = ["env", *variables, self.python, "-m", "nsys_recipe", "--log-stream=stdout", NAME]
        return {
            name: [
                *(*start, "--input", str(capture), "--csv", "--force-overwrite"),
                *("--output", str(answer(name, folder).parent), *mode),
            ]
            for name, mode in MODES.items()
        }


def find(nsys: str) -> Recipe | None:
    """Return the recipe of RECIPE=, or of the nsys given, run by RECIPE_PYTHON=.

    Returns:
        None where RECIPE_PYTHON is not set: nothing says what could run it.

    Raises:
        BenchmarkError: it was asked for, and cannot be run.
    """
    asked = os.environ.get("RECIPE_PYTHON", "")
    if not asked:
        return None
    python = shutil.which(asked)
    if python is None:
        raise BenchmarkError(f"RECIPE_PYTHON={asked} is no program; {HOW}")
    return probed(Recipe(package(nsys), os.path.abspath(python)))


def package(nsys: str) -> Path:
    """Return the folder of the package nsys_recipe, resolved.

    Raises:
        BenchmarkError: it is not there.
    """
    asked = os.environ.get("RECIPE", "")
    if asked:
        candidates = [Path(asked)]
    else:
        parents = Path(nsys).resolve().parents[:2]
        pattern = "target-*/python/packages/nsys_recipe"
        candidates = [found for parent in parents for found in sorted(parent.glob(pattern))]
    for candidate in candidates:
        if (candidate / "recipes" / NAME).is_dir():
            return candidate.resolve()
    where = f"RECIPE={asked} has" if asked else f"beside {nsys} there is"
    wanted = "set RECIPE= to .../target-linux-x64/python/packages/nsys_recipe of an nsys"
    raise BenchmarkError(f"{where} no recipe {NAME}; {wanted}")


def probed(recipe: Recipe) -> Recipe:
    """Return the recipe with the versions under which its code was seen to work.

    Raises:
        BenchmarkError: it does not.
    """
    with tempfile.TemporaryDirectory(prefix="recipe-") as folder:
        variables = {**os.environ, **recipe.environment(Path(folder))}
        command = [recipe.python, "-W", "ignore", "-c", PROBE]
        done = subprocess.run(command, env=variables, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        raise BenchmarkError(f"RECIPE_PYTHON={recipe.python}: {said[-1]}; {HOW}")
    return Recipe(recipe.folder, recipe.python, done.stdout.strip())


def completed(package: Path, folder: Path) -> Path:
    """Return a folder of packages in which the package has everything it asks for."""
    packages = folder / "packages"
    beside = packages / package.name
    (beside / THIRD_PARTY).mkdir(parents=True, exist_ok=True)
    for entry in package.iterdir():
        if not (beside / entry.name).exists():
            (beside / entry.name).symlink_to(entry)
    return packages


def tables(report: Path, folder: Path) -> Path:
    """Write the tables of a report where the recipe finds them, and return the path it is given.

    It reads NAME_pqtdir/TABLE.parquet when those are newer than NAME.nsys-rep, and would otherwise
    have nsys export them. That file is empty here: an export of it fails, and so would the run.

    Raises:
        BenchmarkError: the report cannot be read.
    """
    capture = folder / f"{report.stem}.nsys-rep"
    capture.touch()
    time.sleep(CLOCK_TICK_S)
    # In a process of its own: this one stays small, or its children would seem large.
    target = folder / f"{report.stem}_pqtdir"
    command = [sys.executable, "-m", "benchmarks.speed.recipe_tables", str(report), str(target)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        raise BenchmarkError(f"the tables for NVIDIA's recipe: {said[-1]}; run {command} by hand")
    return capture


def answer(name: str, folder: Path) -> Path:
    """Return the file with the statistics of each range that a run of that name writes."""
    return folder / name.replace(" ", "-") / "rank_stats.csv"
