"""Measure on a GPU all that is wanted of one, and hold it against the goals.

    make gpu                              what has no result yet, on a machine with a GPU
    make gpu ONLY=flash,mfu
    make gpu FROM=gpu.tar                 elsewhere: keep what was measured; the same table

Results are in benchmarks/results/gpu/, in a folder for each kind of GPU, and in --tar, recordings
and logs included. A run that failed or was interrupted is tried again by the next call. This
program needs nothing but Python, its runs need torch: PYTHON= is an interpreter that has it,
PYTHONPATH= a folder with whatever else that lacks, NSYS= the nsys program, with or without its
importer. With --from, recordings are completed by the whole nsys, and small reports of them go into
nsys_reports/.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.gpu.archive import finish, pack, unpack
from benchmarks.gpu.measure import facts, folder_name, measure
from benchmarks.gpu.runs import Run, read
from profiling.common import cli
from profiling.common.errors import LaunchError, UsageError
from profiling.processes.starting import ended_by_signals

ROOT: Final = Path(__file__).resolve().parents[2]
RESULTS: Final = ROOT / "benchmarks" / "results" / "gpu"
REPORTS: Final = ROOT / "nsys_reports"


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = cli.Parser("benchmarks.gpu", __doc__)
    made.add_argument("--from", dest="archive", type=Path, metavar="TAR", help="keep its results")
    made.add_argument("--only", default="", metavar="NAME,NAME", help="these runs (default: all)")
    made.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu (default: cuda)")
    made.add_argument(
        "--tar", type=Path, default=Path("gpu.tar"), help="all results (default: gpu.tar)"
    )
    return made


def chosen_runs(runs: Sequence[Run], only: str) -> list[Run]:
    """Return the runs that are asked for, all of them where none is.

    Raises:
        UsageError: there is no such run.
    """
    asked, known = only.replace(",", " ").split(), [run.name for run in runs]
    if unknown := [name for name in asked if name not in known]:
        raise UsageError(f"no run is called {unknown[0]!r}; there are: {', '.join(known)}")
    return [run for run in runs if not asked or run.name in asked]


def _run(given: argparse.Namespace, every: Sequence[Run], results: Path, reports: Path) -> int:
    runs = chosen_runs(every, given.only)
    if given.archive:
        status = 0
        for folder in unpack(given.archive, results):
            status = status if finish(folder, reports) else 1
            _show(folder, every, runs)
        return status
    if not given.tar.resolve().parent.is_dir():
        raise LaunchError(f"{given.tar}: its folder does not exist; make it, or name another file")
    known = facts(given.device)
    folder = results / folder_name(known)
    try:
        failed = measure(runs, folder, known, given.device)
    finally:
        pack(folder, given.tar)
        print(f"all results: {given.tar}", file=sys.stderr)
    _show(folder, every, runs)
    return int(bool(failed))


def _show(folder: Path, every: Sequence[Run], runs: Sequence[Run]) -> None:
    try:
        from benchmarks.gpu import goals
    except ImportError as error:  # this interpreter has torch for the runs, perhaps not all else
        print(f"note: no table ({error}); make gpu FROM= prints it", file=sys.stderr)
    else:
        goals.show(folder, every, runs)


def main(
    argv: Sequence[str] | None = None,
    runs: Sequence[Run] | None = None,
    results: Path = RESULTS,
    reports: Path = REPORTS,
) -> int:
    """Measure, or keep what was measured elsewhere; return 1 where a run failed."""
    given = parser().parse_args(argv)

    def run() -> int:
        with ended_by_signals():
            return _run(given, read() if runs is None else runs, results, reports)

    return cli.run(run)


if __name__ == "__main__":
    sys.exit(main())
