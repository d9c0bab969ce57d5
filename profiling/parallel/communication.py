"""Time all-reduces between the ranks of this machine: how long, and at what bandwidth.

    python -m profiling.communication
    python -m profiling.communication --sizes 1MB,100MB --ranks 2,4 --backends gloo --format csv

Each rank is a process: on a CPU with gloo, with NCCL on a GPU of its own. The ranks start each
all-reduce together and wait for their device after it. median, mean, std, min and max are over all
steps of all ranks; `slowest` is the largest of the ranks' own medians. Of the median the algorithm
bandwidth is S/t, and the bus bandwidth 2(N-1)/N S/t, which can be compared with what the hardware
gives. Sizes are in bytes, KB, MB, GB (powers of ten) or KiB, MiB, GiB.

A row that cannot be measured says why, and the rest goes on. --json keeps every time of every rank.
"""

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from analysis.show.render import plural, scaled
from analysis.show.table import Table, columns_of
from model.parallel import costs
from model.parallel.strategies import BACKENDS
from profiling.common import cli, result_file
from profiling.common.errors import LaunchError
from profiling.common.machine import device_name
from profiling.common.options import add_options, listed
from profiling.common.progress import StepsBar
from profiling.common.settings import runs
from profiling.common.spread import Spread
from profiling.parallel.options import RankTiming
from profiling.parallel.rows import DONE, NOT_MEASURED, measure_rows, run_ranks
from profiling.processes import ranks
from profiling.processes.notes import Message
from profiling.processes.running import NotInTime

MODULE: Final = "profiling.communication"
KIND: Final = "communication"
ITEM_BYTES: Final = 4
"""Of a float32."""

_PREFIXES: Final = {"": 1, **{letter: 1000**n for n, letter in enumerate("KMG", 1)}}
_BINARY: Final = {f"{letter}i": 1024**n for n, letter in enumerate("KMG", 1)}


@dataclass
class AllReduceRow:
    """The all-reduce of one size over some ranks.

    Attributes:
        status: `DONE`, or why there are no times.
        times_ns: of each step, by rank.
    """

    backend: str
    ranks: int
    bytes: int
    status: str = NOT_MEASURED
    times_ns: list[list[int]] = field(default_factory=list)

    @property
    def is_on_cpu(self) -> bool:
        """Whether the ranks have no GPU."""
        return self.backend == "gloo"

    def figures(self) -> dict[str, Any]:
        """Return the cells of the row, by column: of `COLUMNS` what is known."""
        known = {
            "backend": self.backend,
            "ranks": self.ranks,
            "bytes": self.bytes,
            "steps": len(self.times_ns[0]) if self.times_ns else 0,
            "slowest_rank": "",
            "status": self.status,
        }
        if not self.times_ns:
            return known
        over = Spread.of_values([time for rank in self.times_ns for time in rank])
        medians = [Spread.of_values(rank).median for rank in self.times_ns]
        seconds = over.median / 1e9
        return {
            **known,
            **over.cells("median", "mean", "std", "min", "max"),
            "slowest_ns": float(max(medians)),
            "slowest_rank": str(medians.index(max(medians))),
            "algorithm_bytes_per_s": self.bytes / seconds,
            "bus_bytes_per_s": costs.bus_bytes_per_s(self.bytes, self.ranks, seconds),
        }


COLUMNS: Final = (
    *("backend", "ranks", "bytes", "steps", "median_ns", "mean_ns", "std_ns", "min_ns", "max_ns"),
    *("slowest_ns", "slowest_rank", "algorithm_bytes_per_s", "bus_bytes_per_s", "status"),
)


def size(text: str) -> int:
    """Read a size, such as 100MB.

    >>> size("1GB"), size("1MiB"), size("400")
    (1000000000, 1048576, 400)
    """
    found = re.fullmatch(r"([0-9]{1,15})([KMG]i?|)B?", text, re.IGNORECASE)
    units = {key.lower(): value for key, value in (_PREFIXES | _BINARY).items()}
    count = int(found[1]) * units[found[2].lower()] if found else 0
    if not count or count % ITEM_BYTES:
        raise argparse.ArgumentTypeError(
            f"must be a size such as 1MB, a multiple of {ITEM_BYTES} bytes, not {text!r}"
        )
    return count


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What is combined; each is a list on the command line."""

    sizes: tuple[int, ...] = listed(
        "1MB,10MB,100MB,1GB", "--sizes", "of the float32 tensor", read=size
    )
    ranks: tuple[int, ...] = listed((2, 4, 6), "--ranks", "how many processes", read=cli.count)
    backends: tuple[str, ...] = listed(BACKENDS, "--backends", choices=BACKENDS)


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = cli.Parser(MODULE, __doc__)
    add_options(made, Grid)
    add_options(made, RankTiming)
    cli.add_output(made, json="write everything there, raw too")
    return made


def measure(rows: Sequence[AllReduceRow], arguments: argparse.Namespace, bar: StepsBar) -> None:
    """Fill in rows of one backend and number of ranks; a size that fails costs one more start."""
    import torch

    backend, count = rows[0].backend, rows[0].ranks
    gpus = torch.cuda.device_count()
    if backend == "nccl" and gpus < count:
        for row in rows:
            row.status = f"needs {count} GPUs, this machine has {gpus}"
            bar.done(_what(row), 0)
        return
    left = {row.bytes: row for row in rows}
    times_ns: dict[int, dict[int, list[int]]] = defaultdict(dict)

    def on_told(rank: int, told: Message) -> None:
        row = left.get(told["bytes"])
        if row is None or "started" in told:
            return
        if "lacks" in told:
            row.status = told["lacks"]
        else:
            times_ns[row.bytes][rank] = told["times_ns"]
            if len(times_ns[row.bytes]) < count:
                return
            row.times_ns = [times_ns[row.bytes][each] for each in range(count)]
            row.status = DONE
        del left[row.bytes]
        bar.done(_what(row), 0)

    while left:
        plan = {"sizes": list(left), "warmup": arguments.warmup, "steps": arguments.steps}
        try:
            run_ranks("communication_rank:measure", count, backend, plan, arguments, on_told)
        except ranks.PortTaken:
            raise
        except LaunchError as error:
            # The first left is the one that failed; where time is wanting, so do those after it.
            for each in list(left) if isinstance(error, NotInTime) else list(left)[:1]:
                row = left.pop(each)
                row.status = str(error)
                bar.done(_what(row), 0)


def _what(row: AllReduceRow) -> str:
    return f"{row.backend}, {plural(row.ranks, 'rank')}, {scaled(row.bytes, 'B')}"


def table(rows: Sequence[AllReduceRow], arguments: argparse.Namespace) -> Table:
    """Return the rows as a table."""
    import torch

    where = device_name("cuda" if _on_gpu(rows) else "cpu")
    return Table(
        name=KIND,
        columns=columns_of([row.figures() for row in rows], names=COLUMNS),
        heading=f"all-reduce of float32, {runs(arguments.warmup, arguments.steps)}\n"
        f"{where}, torch {torch.__version__}",
        notes=tuple(_notes(rows)),
        droppable=("min_ns", "max_ns", "mean_ns", "std_ns", "steps", "slowest_rank"),
    )


def _notes(rows: Sequence[AllReduceRow]) -> list[str]:
    """Return what was not measured and why, and what to think of the rest."""
    whys: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.status != DONE:
            whys[row.status].append(_what(row))
    notes = [f"{'; '.join(which)}: {why}" for why, which in whys.items()]
    return notes + ranks.crowding(row.ranks for row in rows if row.times_ns and row.is_on_cpu)


def _on_gpu(rows: Sequence[AllReduceRow]) -> bool:
    return any(row.times_ns and not row.is_on_cpu for row in rows)


@cli.memory_advice("use smaller --sizes or fewer --ranks")
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table and return the exit status."""
    given = sys.argv[1:] if argv is None else list(argv)
    arguments = parser().parse_args(given)
    cli.check_outputs(arguments)
    groups = [
        [AllReduceRow(backend, count, each) for each in arguments.sizes]
        for backend in arguments.backends
        for count in arguments.ranks
    ]
    rows = [row for group in groups for row in group]

    def measure_all(bar: StepsBar) -> None:
        for group in groups:
            measure(group, arguments, bar)

    def content() -> dict[str, Any]:
        device = "cuda" if _on_gpu(rows) else "cpu"
        about = result_file.header(KIND, cli.command_line(MODULE, given), device)
        return about | {"rows": [asdict(row) for row in rows]}

    return measure_rows(
        rows,
        measure_all,
        lambda: table(rows, arguments),
        content,
        arguments,
        steps=len(rows),
        what=("row", "rows"),
    )
