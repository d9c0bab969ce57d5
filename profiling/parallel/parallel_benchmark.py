"""Time training on several ranks by each strategy, and what of its communication is exposed.

    python -m profiling.parallel_benchmark --size small --ranks 2
    python -m profiling.parallel_benchmark --strategies naive,flat,bucketed --bucket-mbs 1,25

Strategies: none (each rank by itself: what a step costs without communication); naive, flat,
overlapped and bucketed average gradients in four ways; sharded is overlapped with a sharded
optimizer; fsdp shards all: its weights are float32, and --dtype is what it computes in and sends.
Ranks are processes: on GPUs with NCCL, on CPUs with gloo.

Times are medians over the steps of the rank whose steps take longest. communication is the time in
which any collective was under way; exposed, that of it for which the rank's computation waited;
finish is the wait between backward pass and optimizer. Peaks of memory are the largest of any rank:
until the model and optimizer are made, then of one step up to the optimizer, then in the optimizer.
All after that is computed: bytes a rank holds, bytes it sends in a step, and what reducing in
buckets is expected to add to it, s/(n_b w) + n_b o, from an all-reduce measured alone.

A strategy that fails says why, and the rest goes on. --json keeps every step of every rank.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from analysis.show.sheet import say
from profiling.common import cli, result_file
from profiling.common.errors import LaunchError
from profiling.common.progress import StepsBar
from profiling.common.settings import Settings
from profiling.common.spread import Spread
from profiling.parallel.options import choose_backend, parser, rank_settings, strategies
from profiling.parallel.rows import DONE, measure_rows, run_ranks
from profiling.parallel.table import KIND, Network, StrategyRow, computed_costs, table
from profiling.processes import ranks
from profiling.processes.notes import Message
from profiling.processes.running import OnTold

MODULE: Final = "profiling.parallel_benchmark"
SMALL_BYTES: Final = 4096
LARGE_BYTES: Final = 64 * 10**6
"""What the network is measured with: the time of a call alone, and the rate of a long one."""


class Benchmark:
    """The strategies to time, and what has been measured of them."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        import torch

        self.arguments = arguments
        self.backend = choose_backend(arguments, torch.cuda.device_count())
        self.settings: Settings = rank_settings(arguments, self.backend)
        self.rows = [StrategyRow(strategy) for strategy in strategies(arguments)]
        self.network: Network | None = None

    @property
    def rounds(self) -> int:
        """How often the progress bar moves."""
        return 1 + len(self.rows) * (self.settings.warmup + 1 + self.settings.steps)

    def run(self, bar: StepsBar) -> None:
        """Measure everything, in order; what fails is noted in its row."""
        self._measure_network()
        bar.done("the network", 0)
        for row in self.rows:
            self._measure(row, bar)

    def _run(self, function: str, plan: dict[str, Any], on_told: OnTold) -> list[dict[str, Any]]:
        arguments = self.arguments
        return run_ranks(function, arguments.ranks, self.backend, plan, arguments, on_told)

    def _measure_network(self) -> None:
        sizes = [SMALL_BYTES, LARGE_BYTES]
        times_ns: dict[int, list[int]] = {size: [] for size in sizes}

        def on_told(_: int, told: Message) -> None:
            times_ns[told["bytes"]] += told.get("times_ns", [])

        steps = {"warmup": 5, "steps": 10}
        try:
            self._run("communication_rank:measure", {"sizes": sizes, **steps}, on_told)
        except ranks.PortTaken:
            raise
        except LaunchError as error:
            # Each strategy will say as much; the rest of the table does without.
            say(f"note: the network could not be measured: {error}")
            return
        if not all(times_ns.values()):
            return  # there was no room for the large one
        small, big = (Spread.of_values(times_ns[size]).median for size in sizes)
        self.network = Network.from_times(small, big, LARGE_BYTES)

    def _measure(self, row: StrategyRow, bar: StepsBar) -> None:
        def on_told(rank: int, _: Message) -> None:
            if rank == 0:
                bar.done(str(row.strategy), 0)

        plan = {"settings": asdict(self.settings), "strategy": asdict(row.strategy)}
        try:
            row.results = self._run("parallel_benchmark_rank:measure", plan, on_told)
            row.status = DONE
        except ranks.PortTaken:
            raise
        except LaunchError as error:
            row.status = str(error)

    def content(self, command: str) -> dict[str, Any]:
        """Return the content of the result file."""
        about = result_file.header(KIND, command, "cuda" if self.backend == "nccl" else "cpu")
        costs = computed_costs(self.rows, self.settings, self.arguments.ranks)
        rows = [
            {**asdict(row.strategy), "status": row.status, "ranks": row.results}
            | {"computed": asdict(cost)}
            for row, cost in zip(self.rows, costs, strict=True)
        ]
        network = asdict(self.network) if self.network else None
        settings = asdict(self.settings)
        return about | {"backend": self.backend, "rank": settings, "network": network, "rows": rows}


@cli.memory_advice("use a smaller --size, --batch or --context")
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table and return the exit status."""
    given = sys.argv[1:] if argv is None else list(argv)
    arguments = parser(MODULE, __doc__).parse_args(given)
    cli.check_outputs(arguments)
    benchmark = Benchmark(arguments)
    rows, settings = benchmark.rows, benchmark.settings
    return measure_rows(
        rows,
        benchmark.run,
        lambda: table(rows, settings, arguments.ranks, benchmark.backend, benchmark.network),
        lambda: benchmark.content(cli.command_line(MODULE, given)),
        arguments,
        steps=benchmark.rounds,
        what=("strategy", "strategies"),
    )
