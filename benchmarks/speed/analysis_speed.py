"""Time our analysis against NVIDIA's own on one synthetic report, as whole processes.

    NSYS=nsys SYNTHETIC=synthetic-report python -m benchmarks.speed.analysis_speed
    NSYS=nsys SYNTHETIC=synthetic-report python -m benchmarks.speed.analysis_speed --quick
    NSYS=nsys SYNTHETIC=synthetic-report RECIPE_PYTHON=ENV/bin/python \
        python -m benchmarks.speed.analysis_speed --recipe-only --sizes 1m --rounds 3

SYNTHETIC= is a program called as `SYNTHETIC 1m OUT.sqlite`, which writes a report with a million
kernels. RECIPE_PYTHON= is a Python with what NVIDIA's Python recipe needs (recipe_requirements.txt
lists it); the recipe is that of NSYS=, or in the folder nsys_recipe that RECIPE= names. Without the
Python it is left out. Ours and NVIDIA's take turns, ratios are taken round by round, and memory is
the peak of the largest process. Above a million kernels only ours runs. Every answer is compared
with NVIDIA's. --recipe-only times ours and the recipe alone, beside the data of the rest.

The exit status is 0 even where a goal is missed, and 1 where an answer differs from NVIDIA's.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Final, NamedTuple

from analysis.show.command import Parser, run
from benchmarks.conditions import RESULTS, Conditions, conditions, conditions_text, program_version
from benchmarks.speed import agreement, recipe
from benchmarks.speed.processes import ANEW, Command, Runs, contest, keeping, output_of, program
from benchmarks.speed.recipe import Recipe
from benchmarks.speed.speed_table import (
    BY_OPERATOR,
    CHANGED,
    CHANGES,
    LEGEND,
    PROJECTION,
    REPLAY,
    ReportRuns,
    compared_as,
    lines,
    read_before,
    table,
)
from benchmarks.text import BenchmarkError, earlier_data, writable, write

SIZES: Final = ("100k", "1m", "5m")
QUICK: Final = ("100k",)
OURS_ALONE: Final = 1_500_000
"""From this many kernels on NVIDIA's reports take minutes, and only ours are run."""

DEFAULT: Final = RESULTS / "analysis_speed.json"
PACKAGES: Final = ("numpy", "pyarrow", "adbc-driver-sqlite")

WANTED: Final = (
    "set NSYS= to the nsys program and SYNTHETIC= to the program that makes a report"
    " (SYNTHETIC 1m OUT.sqlite)"
)

CHECKS: Final = {
    ("kernels", "cuda_gpu_kern_sum"): agreement.kernels,
    (PROJECTION, "nvtx_gpu_proj_sum"): agreement.letter_for_letter,
    ("ranges", "nvtx_gpu_proj_sum"): agreement.ranges,
    ("nvidia nvtx_kern_sum", "nvtx_kern_sum"): agreement.letter_for_letter,
    **{(PROJECTION, name): agreement.recipe for name in recipe.MODES},
    (read_before("kernels"), "cuda_gpu_kern_sum"): agreement.kernels,
    (read_before("ranges"), "nvtx_gpu_proj_sum"): agreement.ranges,
    (read_before(PROJECTION), "nvtx_gpu_proj_sum"): agreement.letter_for_letter,
}
"""Which answer of ours is compared with which of NVIDIA's, and how."""


class Tools(NamedTuple):
    """The programs of NVIDIA that ours are timed against, and the one that makes reports."""

    nsys: str
    synthetic: str
    recipe: Recipe | None


def find_tools() -> Tools:
    """Return the programs that the environment names.

    Raises:
        BenchmarkError: one that is needed is not there, or RECIPE_PYTHON= cannot be used.
    """
    if not (os.environ.get("NSYS") and os.environ.get("SYNTHETIC")):
        raise BenchmarkError(f"nothing to compare with; {WANTED}")
    nsys, synthetic = program("NSYS", WANTED), program("SYNTHETIC", WANTED)
    return Tools(nsys, synthetic, recipe.find(nsys))


def ours(module: str, report: Path, *arguments: str, keeps: bool = False) -> Command:
    """Return the command line of one of our commands, which reads the report as if for once.

    With ``keeps`` it keeps the report's columns beside the report, and maps what is kept.
    """
    environment = keeping(report.parent / "cache") if keeps else ANEW
    command = [sys.executable, "-m", module, str(report), "--format", "csv", *arguments]
    return [*environment, *command]


def contests(
    tools: Tools, report: Path, recipes: Mapping[str, Command], against: bool
) -> list[dict[str, Command]]:
    """Return the commands that take turns with each other, by name: NVIDIA's if ``against``."""

    def theirs(name: str) -> dict[str, Command]:
        options = ["-q", "--force-export=false", "-f", "csv", "-r", name]
        return {name: [tools.nsys, "stats", *options, str(report)]} if against else {}

    def replaced(name: str) -> dict[str, Command]:
        return {f"nvidia {name}": ours("analysis.nvidia", report, "--report", name), **theirs(name)}

    return [
        {
            "kernels": ours("analysis.kernels", report),
            read_before("kernels"): ours("analysis.kernels", report, keeps=True),
            **theirs("cuda_gpu_kern_sum"),
        },
        {
            "ranges": ours("analysis.ranges", report),
            read_before("ranges"): ours("analysis.ranges", report, keeps=True),
            read_before(PROJECTION): ours(
                "analysis.nvidia", report, "--report", recipe.NAME, keeps=True
            ),
            "budget": ours("analysis.budget", report),
            BY_OPERATOR: ours("analysis.roofline", report, "--by", "operator"),
            **replaced(recipe.NAME),
            **recipes,
            **(replays(report) if against else {}),
        },
        replaced("nvtx_kern_sum"),
    ]


def replays(report: Path) -> dict[str, Command]:
    """Return the commands that replay a report once, and after some changes too.

    They ask the classes behind `whatif`: of a synthetic report that refuses to predict anything.
    """
    command = [sys.executable, "-m", "benchmarks.speed.replaying", str(report)]
    return {REPLAY: [*command, "0"], CHANGED: [*command, str(CHANGES)]}


def measure_report(
    tools: Tools, size: str, rounds: int, folder: Path, recipe_only: bool = False
) -> ReportRuns:
    """Make a report of a size and run everything on it, or ours beside the recipe alone."""
    report = folder / f"{size}.sqlite"
    say(f"{size}: making the report")
    output_of([tools.synthetic, size, str(report)], f"SYNTHETIC {size}", WANTED)
    if not report.exists():
        raise BenchmarkError(f"SYNTHETIC {size}: it wrote no report; {WANTED}")
    kernels = kernel_count(report)
    runs: dict[str, Runs] = {}
    differences: dict[str, str] = {}
    against = kernels < OURS_ALONE
    recipes = tools.recipe.commands(report, folder) if tools.recipe and against else {}
    together = contests(tools, report, recipes, against)
    if recipe_only:
        if not recipes:
            raise BenchmarkError(f"{size}: too many for NVIDIA's recipe; choose smaller --sizes")
        projections = next(commands for commands in together if PROJECTION in commands)
        together = [{name: projections[name] for name in (PROJECTION, *recipes)}]
    for commands in together:
        say(f"{size}: {', '.join(commands)}: 1 + {rounds} rounds")
        timed, outputs = contest(commands, folder, rounds)
        runs |= timed
        outputs |= {name: recipe.answer(name, folder) for name in recipes if name in outputs}
        differences |= {
            compared_as(mine, other): check(outputs[mine], outputs[other])
            for (mine, other), check in CHECKS.items()
            if mine in outputs and other in outputs
        }
    report.unlink()
    return ReportRuns(size, kernels, runs, differences)


def kernel_count(report: Path) -> int:
    """Return how many kernels a report has."""
    uri = f"{report.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        query = "SELECT count(*) FROM CUPTI_ACTIVITY_KIND_KERNEL"
        return int(connection.execute(query).fetchone()[0])


def say(line: str) -> None:
    """Print a line on stderr, where progress goes."""
    print(line, file=sys.stderr, flush=True)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments; see the module's docstring."""
    parser = Parser("benchmarks.speed.analysis_speed", __doc__)
    parser.add_argument("--sizes", default=",".join(SIZES), help="kernels (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="100k alone, written only with --json")
    parser.add_argument(
        "--recipe-only", action="store_true", help="NVIDIA's Python recipe and ours alone"
    )
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default %(default)s)")
    default = DEFAULT.relative_to(RESULTS.parents[1])
    parser.add_argument("--json", type=Path, metavar="FILE", help=f"default {default}")
    args = parser.parse_args(argv)
    if args.rounds < 1:
        parser.error("--rounds must be 1 or more")
    args.sizes = QUICK if args.quick else tuple(args.sizes.lower().split(","))
    if args.json is None and not args.quick:
        args.json = DEFAULT
    return args


def saved(
    path: Path, found: Conditions, everything: Sequence[ReportRuns], recipe_only: bool = False
) -> None:
    """Write every single time, and the lines of the table; the recipe alone goes to the rest."""
    sizes = {one.size: asdict(one) for one in everything}
    data = {"conditions": found, "lines": lines(everything), "sizes": sizes}
    write(path, earlier_data(path) | {"recipe": data} if recipe_only else data)


def compare(args: argparse.Namespace) -> int:
    """Measure, print the table, write the data; see the module's docstring."""
    tools = find_tools()
    path = writable(args.json) if args.json else None
    found = conditions(*PACKAGES) | {"nsys": program_version(tools.nsys), "rounds": args.rounds}
    if tools.recipe:
        found |= tools.recipe.provenance()
    elif args.recipe_only:
        raise BenchmarkError(f"RECIPE_PYTHON= is not set; {recipe.HOW}")
    else:
        say(f"note: NVIDIA's Python recipe is left out; {recipe.HOW}")
    if path and args.recipe_only:
        earlier_data(path)
    with tempfile.TemporaryDirectory(prefix="analysis-speed-") as folder:
        options = args.rounds, Path(folder), args.recipe_only
        everything = [measure_report(tools, size, *options) for size in args.sizes]
    found["load_average_after"] = round(os.getloadavg()[0], 2)
    print("\n".join([*conditions_text(found), "", table(lines(everything)), LEGEND]))
    if path:
        saved(path, found, everything, args.recipe_only)
    wrong = [(one.size, *pair) for one in everything for pair in one.differences.items() if pair[1]]
    for size, name, difference in wrong:
        say(f"error: {size}: {name}: {difference}")
    return 1 if wrong else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    args = arguments(argv)
    return run(lambda: compare(args))


if __name__ == "__main__":
    sys.exit(main())
