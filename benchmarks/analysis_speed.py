"""Time our analysis against NVIDIA's own on one synthetic report, as whole processes.

    NSYS=nsys SYNTHETIC=synthetic-report python -m benchmarks.analysis_speed
    NSYS=nsys SYNTHETIC=synthetic-report python -m benchmarks.analysis_speed --quick

SYNTHETIC= is a program called as `SYNTHETIC 1m OUT.sqlite`, which writes a report with a million
kernels. RECIPE= may hold the command line of NVIDIA's Python recipe up to its input, as in
`nsys recipe nvtx_gpu_proj_sum --force-overwrite --output proj --input`; without it that line is
left out. Ours and NVIDIA's take turns, ratios are taken round by round, and memory is the peak of
the largest process. Above a million kernels only ours runs. Every answer is compared with NVIDIA's.

The exit status is 0 even where a goal is missed, and 1 where an answer differs from NVIDIA's.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks import agreement
from benchmarks.conditions import RESULTS, Conditions, conditions, program_version, told
from benchmarks.processes import Command, Runs, contest, program
from benchmarks.speed_table import LEGEND, Measured, lines, table
from benchmarks.text import BenchmarkError, writable, write

SIZES: Final = ("100k", "1m", "5m")
QUICK: Final = ("100k",)
OURS_ALONE: Final = 1_500_000
"""From this many kernels on NVIDIA's reports take minutes, and only ours are run."""

DEFAULT: Final = RESULTS / "analysis_speed.json"
PACKAGES: Final = ("numpy", "pyarrow", "adbc-driver-sqlite")

NSYS_FOR: Final = "the nsys program"
SYNTHETIC_FOR: Final = "the program that makes a report (SYNTHETIC 1m OUT.sqlite)"

CHECKS: Final = {
    ("kernels", "cuda_gpu_kern_sum"): agreement.kernels,
    ("nvidia nvtx_gpu_proj_sum", "nvtx_gpu_proj_sum"): agreement.letter_for_letter,
    ("ranges", "nvtx_gpu_proj_sum"): agreement.ranges,
    ("nvidia nvtx_kern_sum", "nvtx_kern_sum"): agreement.letter_for_letter,
}
"""Which answer of ours is compared with which of NVIDIA's, and how."""


@dataclass(frozen=True)
class Tools:
    """The programs of other people."""

    nsys: str
    synthetic: str
    recipe: tuple[str, ...] = ()

    @classmethod
    def find(cls) -> Tools:
        """Return those that the environment names.

        Raises:
            BenchmarkError: one that is needed is not there.
        """
        if not (os.environ.get("NSYS") and os.environ.get("SYNTHETIC")):
            wanted = f"set NSYS= to {NSYS_FOR} and SYNTHETIC= to {SYNTHETIC_FOR}"
            raise BenchmarkError(f"nothing to compare with; {wanted}")
        recipe = tuple(shlex.split(os.environ.get("RECIPE", "")))
        if not (recipe and shutil.which(recipe[0])):
            say("note: RECIPE= names no program: NVIDIA's Python recipe is left out")
            recipe = ()
        nsys, synthetic = program("NSYS", NSYS_FOR), program("SYNTHETIC", SYNTHETIC_FOR)
        return cls(nsys, synthetic, recipe)


def contests(tools: Tools, report: Path, against: bool) -> list[dict[str, Command]]:
    """Return the commands that take turns with each other, by name.

    Args:
        tools: whose they are.
        report: what they all read.
        against: whether NVIDIA's run, too.
    """

    def ours(module: str, *arguments: str) -> Command:
        return [sys.executable, "-m", module, str(report), "--format", "csv", *arguments]

    def theirs(name: str) -> dict[str, Command]:
        options = ["-q", "--force-export=false", "-f", "csv", "-r", name]
        return {name: [tools.nsys, "stats", *options, str(report)]} if against else {}

    def replaced(name: str) -> dict[str, Command]:
        return {f"nvidia {name}": ours("analysis.nvidia", "--report", name), **theirs(name)}

    recipe = {"recipe": [*tools.recipe, str(report)]} if tools.recipe and against else {}
    return [
        {"kernels": ours("analysis.kernels"), **theirs("cuda_gpu_kern_sum")},
        {"ranges": ours("analysis.ranges"), **replaced("nvtx_gpu_proj_sum"), **recipe},
        replaced("nvtx_kern_sum"),
    ]


def measured(tools: Tools, size: str, rounds: int, folder: Path) -> Measured:
    """Make a report of a size and run everything on it."""
    report = folder / f"{size}.sqlite"
    say(f"{size}: making the report")
    made = subprocess.run([tools.synthetic, size, str(report)], capture_output=True, text=True)
    if made.returncode or not report.exists():
        said = made.stderr.strip().splitlines() or [f"exit {made.returncode}"]
        raise BenchmarkError(f"SYNTHETIC {size}: {said[-1]}; set SYNTHETIC= to {SYNTHETIC_FOR}")
    kernels = kernel_count(report)
    runs: dict[str, Runs] = {}
    differences: dict[str, str] = {}
    for commands in contests(tools, report, against=kernels < OURS_ALONE):
        say(f"{size}: {', '.join(commands)}: 1 + {rounds} rounds")
        timed, outputs = contest(commands, folder, rounds)
        runs |= timed
        differences |= compared(outputs)
    report.unlink()
    return Measured(size, kernels, runs, differences)


def compared(outputs: Mapping[str, Path]) -> dict[str, str]:
    """Return how each answer differs from NVIDIA's, by our name; nothing where it does not."""
    return {
        mine: check(outputs[mine], outputs[other])
        for (mine, other), check in CHECKS.items()
        if mine in outputs and other in outputs
    }


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
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.analysis_speed",
        description=(__doc__ or "").strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sizes", default=",".join(SIZES), help="kernels (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="100k alone, written only with --json")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default %(default)s)")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help=f"default {DEFAULT.relative_to(RESULTS.parents[1])}",
    )
    args = parser.parse_args(argv)
    if args.rounds < 1:
        parser.error("--rounds must be 1 or more")
    args.sizes = QUICK if args.quick else tuple(args.sizes.lower().split(","))
    if args.json is None and not args.quick:
        args.json = DEFAULT
    return args


def saved(path: Path, found: Conditions, everything: Sequence[Measured]) -> None:
    """Write every single time, and the lines of the table."""
    sizes = {one.size: asdict(one) for one in everything}
    write(path, {"conditions": found, "lines": lines(everything), "sizes": sizes})


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the data; see the module's docstring."""
    args = arguments(argv)
    try:
        tools = Tools.find()
        path = writable(args.json) if args.json else None
        found = conditions(*PACKAGES) | {"nsys": program_version(tools.nsys), "rounds": args.rounds}
        with tempfile.TemporaryDirectory(prefix="analysis-speed-") as folder:
            everything = [measured(tools, size, args.rounds, Path(folder)) for size in args.sizes]
        print("\n".join([*told(found), "", table(lines(everything)), LEGEND]))
        if path:
            saved(path, found, everything)
    except BenchmarkError as error:
        say(f"error: {error}")
        return 1
    wrong = [(one.size, *pair) for one in everything for pair in one.differences.items() if pair[1]]
    for size, name, difference in wrong:
        say(f"error: {size}: {name}: {difference}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
