"""Time `fleet` on many ranks against NVIDIA's recipes on Dask, as whole processes.

    NSYS=nsys SYNTHETIC=synthetic-report RECIPE_PYTHON=ENV/bin/python \
        python -m benchmarks.speed.fleet_speed --ranks 16 --size 100k

One report stands for every rank, a file of its own each. NVIDIA answers with two recipes: kernels
(cuda_gpu_kern_sum) and ranges (nvtx_gpu_proj_sum), each with --mode dask-futures, which starts a
cluster of this machine. They read tables in Parquet, which are ready and whose making is not timed.
Ours has the ranges alone, which is the second recipe's question, and all tables, each from the same
Parquet and from SQLite. What both say of the ranges is compared. CPU seconds, of all processes, say
more where other work runs on the machine.
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from analysis.show.command import Parser, count, run
from benchmarks.conditions import RESULTS, conditions, conditions_text
from benchmarks.samples import Goal, Sample, median_and_range, ratios
from benchmarks.speed import recipe
from benchmarks.speed.analysis_speed import Tools, find_tools, say
from benchmarks.speed.processes import ANEW, Command, Runs, contest, output_of
from benchmarks.speed.recipe_tables import WHOLE
from benchmarks.text import BenchmarkError, aligned, spread, writable, write

RECIPES: Final = ("cuda_gpu_kern_sum", "nvtx_gpu_proj_sum")
KINDS: Final = {"Parquet": "_pqtdir", "SQLite": ".sqlite"}
"""What ours reads, and how the name of such a report ends."""

RANGES: Final = {f"fleet --show ranges, {kind}": kind for kind in KINDS}
EVERYTHING: Final = {f"fleet, all tables, {kind}": kind for kind in KINDS}
AGAINST: Final = {
    **dict.fromkeys(RANGES, ("nvtx_gpu_proj_sum",)),
    **dict.fromkeys(EVERYTHING, RECIPES),
}
"""What of NVIDIA's each of ours is held against: the sum of these."""

GOAL: Final = Goal(">= 4x faster", 4.0, at_least=True)

PACKAGES: Final = ("numpy", "pyarrow", "adbc-driver-sqlite", "dask", "distributed")


def reports(tools: Tools, size: str, ranks: int, folder: Path) -> None:
    """Write a report a rank, and beside each the tables that the recipes read."""
    say(f"{ranks} ranks of {size}: making the reports")
    first = folder / "run.rank0.sqlite"
    output_of([tools.synthetic, size, str(first)], f"SYNTHETIC {size}", "see --help")
    recipe.tables(first, folder, WHOLE)
    for rank in range(1, ranks):
        (folder / f"run.rank{rank}.nsys-rep").touch()
    time.sleep(recipe.CLOCK_TICK_S)  # the exports must be newer
    for rank in range(ranks):
        columns = folder / f"run.rank{rank}_pqtdir"
        if rank:
            shutil.copytree(folder / "run.rank0_pqtdir", columns)
            shutil.copyfile(first, folder / f"run.rank{rank}.sqlite")
        for path in (*columns.iterdir(), folder / f"run.rank{rank}.sqlite"):
            os.utime(path)


def commands(tools: Tools, ranks: int, inputs: Path, folder: Path) -> dict[str, Command]:
    """Return ours and NVIDIA's, by name."""
    assert tools.recipe is not None, "who calls this has looked for it"

    def ours(kind: str, *options: str) -> Command:
        named = [str(inputs / f"run.rank{rank}{KINDS[kind]}") for rank in range(ranks)]
        return [*ANEW, sys.executable, "-m", "analysis.fleet", *named, *options]

    variables = [f"{key}={value}" for key, value in tools.recipe.environment(folder).items()]
    start = ["env", *variables, tools.recipe.python, "-m", "nsys_recipe", "--log-stream=stdout"]
    mode = ["--input", str(inputs), "--csv", "--force-overwrite", "--mode", "dask-futures"]
    return {
        **{
            name: ours(kind, "--show", "ranges", "--format", "csv") for name, kind in RANGES.items()
        },
        **{name: ours(kind, "--format", "json") for name, kind in EVERYTHING.items()},
        **{name: [*start, name, *mode, "--output", str(folder / name)] for name in RECIPES},
    }


def disagreement(ours: Path, theirs: Path) -> str:
    """Return how our ranges differ from the recipe's, "" where they do not."""
    with ours.open() as mine, theirs.open() as other:
        told = {row["Text"]: int(row["Sum"]) for row in csv.DictReader(other)}
        found = {row["range"]: int(row["max_ns"]) for row in csv.DictReader(mine)}
    wrong = [name for name in told if found.get(name) != told[name]]
    return f"{len(wrong)} of {len(told)} ranges differ, {wrong[0]} first" if wrong else ""


def lines(runs: Mapping[str, Runs]) -> list[dict[str, str]]:
    """Return the lines of the table: times, and ratios taken round by round."""
    made = []
    for name, one in runs.items():
        cells = {
            "command": name,
            "wall": spread(median_and_range(one.seconds), "s"),
            "CPU": spread(median_and_range(one.cpu_seconds), "s"),
        }
        if name in AGAINST:
            wall, cpu = (ratio(name, runs, field) for field in ("seconds", "cpu_seconds"))
            cells |= {"NVIDIA's wall by ours": spread(wall, "x", 1), "goal": GOAL.words}
            cells |= {"verdict": GOAL.verdict(wall), "NVIDIA's CPU by ours": spread(cpu, "x", 1)}
        made.append(cells)
    return made


def ratio(name: str, runs: Mapping[str, Runs], field: str) -> Sample:
    """Return what of time NVIDIA's take of what one of ours takes, round by round."""
    theirs = zip(*(getattr(runs[other], field) for other in AGAINST[name]), strict=True)
    return median_and_range(ratios([sum(each) for each in theirs], getattr(runs[name], field)))


def compare(ranks: int, size: str, rounds: int, path: Path) -> int:
    """Measure, print the table, write the data; return the exit status."""
    tools = find_tools()
    if tools.recipe is None:
        raise BenchmarkError(f"RECIPE_PYTHON= is not set; {recipe.HOW}")
    found = conditions(*PACKAGES) | {"ranks": ranks, "size": size, "rounds": rounds}
    writable(path)
    with tempfile.TemporaryDirectory(prefix="fleet-speed-") as made:
        folder, inputs = Path(made), Path(made) / "reports"
        inputs.mkdir()
        reports(tools, size, ranks, inputs)
        runs, outputs = contest(commands(tools, ranks, inputs, folder), folder, rounds)
        theirs = folder / "nvtx_gpu_proj_sum" / "rank_stats.csv"
        told = [disagreement(outputs[name], theirs) for name in RANGES]
    found["load_average_after"] = round(os.getloadavg()[0], 2)
    table = lines(runs)
    header = list(dict.fromkeys(name for line in table for name in line))
    rows = [[line.get(name, "") for name in header] for line in table]
    print("\n".join([*conditions_text(found), "", aligned(header, rows)]))
    data = {name: asdict(one) for name, one in runs.items()}
    write(path, {"conditions": found, "lines": table, "runs": data})
    differences = [difference for difference in told if difference]
    for difference in differences:
        say(f"error: {difference}")
    return 1 if differences else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    parser = Parser("benchmarks.speed.fleet_speed", __doc__)
    parser.add_argument("--ranks", type=count, default=16, help="default %(default)s")
    parser.add_argument("--size", default="100k", help="kernels a rank (default %(default)s)")
    parser.add_argument("--rounds", type=count, default=3, help="timed (default %(default)s)")
    default = RESULTS / "fleet_speed.json"
    parser.add_argument("--json", type=Path, default=default, metavar="FILE", help="the data")
    args = parser.parse_args(argv)
    return run(lambda: compare(args.ranks, args.size, args.rounds, args.json))


if __name__ == "__main__":
    sys.exit(main())
