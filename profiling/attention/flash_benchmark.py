"""Time FlashAttention against eager, compiled and PyTorch's attention, forward and backward.

    python -m profiling.flash_benchmark
    python -m profiling.flash_benchmark --lengths 16384 --widths 64 --heads 16 --dtypes bfloat16

Causal attention alone, batch 1. FLOPs are counted as FlashAttention's authors do: 4*B*H*T^2*D,
half of it because the mask hides half, 2.5 times as many backward; so a rate is comparable between
implementations whatever they launch. On a GPU each part is timed by triton.testing.do_bench;
`memory` is the peak of a forward and a backward pass, inputs and gradients included. What does not
fit reads OOM, what an implementation does not do reads unsupported, and the others go on.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, Final

from analysis.show.cli import print_notes
from analysis.show.errors import first_line
from analysis.show.table import Table, columns_of
from profiling.attention.pictures import draw_flash_benchmark
from profiling.attention.rows import (
    COMPILED,
    FLASH_ATTN,
    FLASH_DTYPES,
    FLASH_IMPLEMENTATIONS,
    PRODUCTS,
    SDPA_FLASH,
    FlashRow,
    Unsupported,
    flops_per_s,
)
from profiling.common.cli import (
    Parser,
    add_device,
    add_output,
    check_outputs,
    command_line,
    count,
    is_out_of_memory,
    memory_advice,
)
from profiling.common.machine import choose_device, device_name
from profiling.common.measuring import Measurement, Result
from profiling.common.options import ByDevice, add_options, chosen, combinations, listed
from profiling.common.spread import MEDIAN
from profiling.processes.attempts import OOM

MODULE: Final = "profiling.flash_benchmark"
KIND: Final = "flash_benchmark"

DONE: Final = "done"
UNSUPPORTED: Final = "unsupported"

COLUMNS: Final = (
    *("implementation", "dtype", "width", "length", "part", *MEDIAN),
    *("flops_per_s", "memory_bytes", "outcome"),
)
"""The table's; the times are the median, and the 10th and 90th percentile."""

ON_A_GPU: Final = ("eager", COMPILED, "sdpa", SDPA_FLASH, "flash")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What is combined; each is a list on the command line. All of it on a CPU would take hours."""

    dtype: tuple[str, ...] = listed(
        ByDevice(("bfloat16", "float32"), cpu=("float32",)), "--dtypes", choices=FLASH_DTYPES
    )
    width: tuple[int, ...] = listed(
        ByDevice((16, 32, 64, 128), cpu=(64,)), "--widths", "of a head", read=count
    )
    length: tuple[int, ...] = listed(
        ByDevice(tuple(1 << power for power in range(7, 17)), cpu=(128, 256, 512, 1024)),
        "--lengths",
        "positions",
        read=count,
    )
    implementation: tuple[str, ...] = listed(
        ByDevice(
            (*ON_A_GPU, FLASH_ATTN) if find_spec("flash_attn") else ON_A_GPU,
            cpu=("eager", "sdpa", "flash-reference"),
        ),
        "--implementations",
        "where it is installed",
        choices=FLASH_IMPLEMENTATIONS,
    )


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = Parser(MODULE, __doc__)
    add_options(made, Grid)
    add_options(made, FlashRow)
    add_device(made)
    add_output(made, "the results, and the machine", "rate and time by length")
    return made


def rows(arguments: argparse.Namespace, device: str) -> list[FlashRow]:
    """Return the benchmark's rows, those to be compared side by side."""
    return [
        chosen(FlashRow, arguments, **each, device=device)
        for each in combinations(chosen(Grid, arguments, device=device))
    ]


def measure_row(row: FlashRow) -> Result:
    """Time one attention; an implementation that cannot run becomes a result too."""
    import torch

    from profiling.attention import flash_benchmark_run

    try:
        return {**asdict(row), **flash_benchmark_run.measure(row), "outcome": DONE}
    except Unsupported as error:
        failure = {"outcome": UNSUPPORTED, "message": f"{row}: {error}"}
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        said = first_line(error) or "out of memory"
        failure = {"outcome": OOM, "message": f"{row}: {said}"}
    finally:
        torch.compiler.reset()  # a shape is compiled once; what is kept would only fill up
    gc.collect()
    if row.device.startswith("cuda"):
        torch.cuda.empty_cache()
    return {**asdict(row), **failure}


def table(results: Sequence[Result], device: str) -> Table:
    """Return the benchmark's table, a row of `COLUMNS` for each part of each result.

    What is missing is NaN.
    """
    first = results[0] if results else {"batch": 0, "heads": 0}
    alike = [name for name in ("dtype", "width") if len({each[name] for each in results}) == 1]
    shape = ", ".join(
        [
            f"batch {first['batch']}",
            f"{first['heads']} heads",
            *(f"{name} {first[name]}" for name in alike),
            "causal",
        ]
    )
    said = {
        "memory_bytes": any(each.get("memory_bytes") is not None for each in results),
        "outcome": any(each["outcome"] != DONE for each in results),
    }
    return Table(
        KIND,
        columns_of(
            [cells(result, part) for result in results for part in PRODUCTS], object, COLUMNS
        ),
        heading=f"Attention on {device_name(device)}: {shape}",
        hidden=(*alike, *(name for name, something in said.items() if not something)),
        spare=("flops_per_s",),
    )


def cells(result: Result, part: str) -> dict[str, Any]:
    """Return the cells of one part of a result, by column."""
    times = dict(zip(MEDIAN, result.get(part, ()), strict=False))
    rate = flops_per_s(result, part) if part in result else None
    return {**result, "part": part, **times, "flops_per_s": rate}


@memory_advice("use shorter --lengths")
def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status, 0 where nothing but memory was wanting."""
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = parser().parse_args(given)
    device = choose_device(arguments.device)
    check_outputs(arguments)
    measurement = Measurement(
        kind=KIND,
        command=command_line(MODULE, given),
        device=device,
        arguments=arguments,
        tables=lambda results: [table(results, device)],
        draw=partial(draw_flash_benchmark, device=device_name(device)),
    )
    lists = ("length", "width", "dtype", "implementation")
    bounded = [f"{name}s" for name in lists if isinstance(getattr(arguments, name), ByDevice)]
    if not device.startswith("cuda") and bounded:
        print_notes(f"on a CPU only a few {', '.join(bounded)} are measured unless they are named")
    measurement.run(rows(arguments, device), measure_row)
    return 0
