"""Ten million kernels beside one million: our time and memory, under a limit of 4 GB.

    SYNTHETIC=synthetic-report python -m benchmarks.cost.large_reports
    SYNTHETIC=synthetic-report python -m benchmarks.cost.large_reports --rounds 3

SYNTHETIC= is a program called as `SYNTHETIC 10m OUT.sqlite`, which writes a report with ten million
kernels. Each command runs on it twice: cold, where no columns of the report are kept, and warm. The
limit is on memory that is no file's (``ulimit -d``); ten times as many kernels may take twelve
times as long. A command that does not get by with that ends this one.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from analysis.source import column_cache
from benchmarks.conditions import RESULTS, conditions
from benchmarks.cost import command
from benchmarks.samples import Goal, median_and_range
from benchmarks.speed.processes import Command, Runs, keeping, measure, output_of, program
from benchmarks.text import spread, writable
from profiling.common import cli

MODULE: Final = "benchmarks.cost.large_reports"
WANTED: Final = "set SYNTHETIC= to the program that makes a report (SYNTHETIC 10m OUT.sqlite)"
SIZES: Final = ("1m", "10m")
LIMIT_KIB: Final = 4 << 20
ASKED: Final = {
    "ranges": ("analysis.ranges", "--format", "csv"),
    "page": ("analysis",),
    "nvidia nvtx_gpu_proj_sum": ("analysis.nvidia", "--report", "nvtx_gpu_proj_sum"),
}
MOST: Final = Goal("<= 12x the time of 1m", 12.0)
HEADER: Final = ("work", *SIZES, "ratio of CPU", "goal", "verdict", "MiB resident")


def commands(report: Path) -> dict[str, Command]:
    """Return the command lines on one report, by name: each cold, then warm."""
    kept = report.parent / "cache"
    limited = f'ulimit -d {LIMIT_KIB}; exec "$@"'
    found: dict[str, Command] = {}
    for name, (module, *options) in ASKED.items():
        asked = [*keeping(kept), sys.executable, "-m", module, str(report), *options]
        found[f"{name}, cold"] = ["sh", "-c", f"rm -rf '{kept}'; {limited}", "sh", *asked]
        found[f"{name}, warm"] = ["sh", "-c", limited, "sh", *asked]
    return found


def measured(synthetic: str, size: str, rounds: int) -> dict[str, Runs]:
    """Return the runs of every command on a report of a size, by name."""
    runs: dict[str, Runs] = {}
    with tempfile.TemporaryDirectory(prefix="large-reports-") as folder:
        report = Path(folder) / f"{size}.sqlite"
        print(f"{size}: making the report", file=sys.stderr, flush=True)
        output_of([synthetic, size, str(report)], f"SYNTHETIC {size}", WANTED)
        # Columns are kept of a file that is not being written any more.
        time.sleep(2 * column_cache.SETTLED_NS / 1e9)
        every = list(commands(report).items())
        if size == SIZES[0]:
            measure(every[0][1], Path(folder), Path(folder) / "out")  # modules are compiled then
        for pair in zip(every[::2], every[1::2], strict=True):
            print(f"{size}: {pair[0][0]} and warm", file=sys.stderr, flush=True)
            for _ in range(rounds):  # a warm run is to follow a cold one
                for name, line in pair:
                    run = measure(line, Path(folder), Path(folder) / "out")
                    runs.setdefault(name, Runs()).add(*run)
    return runs


def row(name: str, small: Runs, large: Runs) -> tuple[str, ...]:
    """Return the cells of one command: seconds at both sizes, and the ratio of processor time."""
    ratio = median_and_range(
        [after / before for before, after in zip(small.cpu_seconds, large.cpu_seconds, strict=True)]
    )
    return (
        name,
        *(spread(median_and_range(runs.seconds), "s") for runs in (small, large)),
        spread(ratio, "x"),
        MOST.words,
        MOST.verdict(ratio),
        f"{max(large.peak_bytes) / (1 << 20):.0f}",
    )


def run(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table and keep the data."""
    made = cli.Parser(MODULE, __doc__)
    made.add_argument("--rounds", type=cli.count, default=1, metavar="N", help="(default: 1)")
    default = RESULTS / "large_reports.json"
    made.add_argument("--json", type=Path, default=default, metavar="FILE", help="the data")
    args = made.parse_args(argv)
    synthetic = program("SYNTHETIC", WANTED)
    writable(args.json)
    known = conditions("numpy", "pyarrow")
    small, large = (measured(synthetic, size, args.rounds) for size in SIZES)
    rows = [row(name, small[name], large[name]) for name in small]
    times = {name: {"1m": vars(small[name]), "10m": vars(large[name])} for name in small}
    command.show(args.json, known, HEADER, rows, {"measured": times})
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    return cli.run(lambda: run(argv))


if __name__ == "__main__":
    sys.exit(main())
