"""Time attention alone, forward and backward, over widths and lengths, with its memory.

    python -m profiling.attention_benchmark
    python -m profiling.attention_benchmark --widths 16,64 --lengths 256,1024 --format markdown

One head, causal. Every row runs in a process of its own: warm-up, then as many forward and backward
passes as --steps says, a synchronize after each; what does not fit reads OOM, and the others go on.
`memory` is what is held before a backward pass: on a GPU what torch's allocator has given out, on a
CPU the storages of q, k, v, of the result, and of what autograd keeps, counted by hooks on saved
tensors. `saved` is what autograd keeps beside q, k and v; beside it the formula's figure: the T x T
weights of eager attention, the result and one number a row of a fused one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

from analysis.show.render import plural
from analysis.show.table import Table, columns_of
from profiling.attention.pictures import draw_attention_benchmark
from profiling.attention.rows import (
    BACKWARD,
    COMPILED,
    FORWARD,
    IMPLEMENTATIONS,
    AttentionRow,
    check,
)
from profiling.common.cli import (
    Parser,
    add_device,
    add_limit,
    add_output,
    check_outputs,
    command_line,
    count,
    memory_advice,
)
from profiling.common.machine import choose_device, device_name
from profiling.common.measuring import Measurement, Result
from profiling.common.options import add_options, chosen, combinations, listed
from profiling.common.spread import MEDIAN, Spread
from profiling.processes import isolated
from profiling.processes.attempts import FAILED, OK, attempt

MODULE: Final = "profiling.attention_benchmark"
RUN: Final = "profiling.attention.attention_benchmark_run"
"""What measures a row, in a process of its own."""

ROW: Final = ("implementation", "width", "length", "batch", "dtype")
MEMORY: Final = ("memory_bytes", "saved_bytes", "computed_bytes")
"""Of a row; `memory_bytes` is what is held before a backward pass."""

COLUMNS: Final = (
    *(*ROW, "forward_mean_ns", "forward_std_ns", *MEMORY, "backward_mean_ns", "backward_std_ns"),
    "outcome",
    *(f"{part}_{figure}" for part in (FORWARD, BACKWARD) for figure in MEDIAN),
)
"""The table's, a row for both passes: the last are the medians, 10th and 90th percentiles."""

FOR_PEOPLE: Final = (*ROW, "part", *MEDIAN, *MEMORY, "outcome")
"""The table's that a person reads, a row a pass: so the spread has room in 80 columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What is combined; each is a list on the command line."""

    implementation: tuple[str, ...] = listed(
        ("eager", COMPILED), "--implementations", choices=IMPLEMENTATIONS
    )
    width: tuple[int, ...] = listed((16, 32, 64, 128), "--widths", "of the head", read=count)
    length: tuple[int, ...] = listed(
        (256, 1024, 4096, 8192, 16384), "--lengths", "positions", read=count
    )


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = Parser(MODULE, __doc__)
    add_options(made, Grid)
    add_options(made, AttentionRow)
    add_device(made)
    add_limit(made)
    add_output(made, "every raw time, and the machine", "times and memory by length")
    return made


def rows(arguments: argparse.Namespace, device: str) -> list[AttentionRow]:
    """Return the benchmark's rows that the arguments ask for, in order."""
    return [
        chosen(AttentionRow, arguments, **each, device=device)
        for each in combinations(chosen(Grid, arguments))
    ]


def measure_row(row: AttentionRow, limit_bytes: int | None) -> Result:
    """Measure one attention in a process of its own; a failure becomes a result too."""

    def measured() -> Result:
        check(row)
        return isolated.run(RUN, asdict(row), limit_bytes=limit_bytes) | {"outcome": OK}

    return attempt(measured).result(asdict(row), str(row))


def table(results: Sequence[Result], device: str, *, for_people: bool = False) -> Table:
    """Return the benchmark's table; what is missing is NaN.

    Args:
        results: of the rows.
        device: they were measured on.
        for_people: a row of `FOR_PEOPLE` for each pass, else one of `COLUMNS` for each result.
    """
    made = [_cells(result) for result in results]
    common = {key: made[0][key] for key in ("batch", "dtype")} if made else {}
    said = ", ".join(f"{key} {value}" for key, value in common.items())
    steps = results[0]["steps"] if results else 0
    return Table(
        "attention_benchmark",
        columns_of(_passes(made), object, FOR_PEOPLE)
        if for_people
        else columns_of(made, object, COLUMNS),
        heading=f"Attention on {device_name(device)}: {said}, one head, "
        f"{plural(steps, 'pass', 'passes')} each",
        hidden=(*common, *(() if any(each["outcome"] != OK for each in made) else ("outcome",))),
        spare=("computed_bytes", "saved_bytes", "memory_bytes"),
    )


def _cells(result: Result) -> dict[str, Any]:
    cells = dict(result)
    for part in (FORWARD, BACKWARD):
        if f"{part}_ns" in result:
            times = result[f"{part}_ns"]
            cells |= Spread.of_values(times).cells("mean", "std", of=part)
            names = (f"{part}_{figure}" for figure in MEDIAN)
            cells |= zip(names, Spread.quantiles(times), strict=True)
    return cells


def _passes(made: Sequence[Result]) -> list[Result]:
    """Return a row for each pass of a row for both."""
    return [
        {
            **cells,
            "part": part,
            **{figure: cells.get(f"{part}_{figure}") for figure in MEDIAN},
        }
        for cells in made
        for part in (FORWARD, BACKWARD)
    ]


@memory_advice("use shorter --lengths")
def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return exit status 1 where a row failed, but not out of memory."""
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = parser().parse_args(given)
    device = choose_device(arguments.device)
    check_outputs(arguments)
    measurement = Measurement(
        kind="attention_benchmark",
        command=command_line(MODULE, given),
        device=device,
        arguments=arguments,
        tables=lambda results: [
            table(results, device, for_people=arguments.format in {"table", "markdown"})
        ],
        draw=partial(draw_attention_benchmark, device=device_name(device)),
    )
    every = rows(arguments, device)
    results = measurement.run(every, lambda row: measure_row(row, arguments.limit))
    return 1 if any(result["outcome"] == FAILED for result in results) else 0
