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
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, Final

import torch

from analysis.show.cli import print_notes
from analysis.show.table import Table, columns_of
from profiling.attention.flash_benchmark_run import (
    COMPILED,
    DTYPES,
    FLASH_ATTN,
    IMPLEMENTATIONS,
    PRODUCTS,
    SDPA_FLASH,
    FlashRow,
    Unsupported,
    measure,
)
from profiling.attention.row_benchmark import Result, check_outputs, measure_rows, write_results
from profiling.common import result_file
from profiling.common.cli import (
    Parser,
    add_output,
    comma_separated,
    command_line,
    count,
    is_out_of_memory,
    memory_advice,
    one_of,
)
from profiling.common.machine import choose_device, device_name

MODULE: Final = "profiling.flash_benchmark"
KIND: Final = "flash_benchmark"

LENGTHS: Final = tuple(1 << power for power in range(7, 17))
WIDTHS: Final = (16, 32, 64, 128)
ON_CPU: Final[dict[str, tuple[Any, ...]]] = {
    "lengths": LENGTHS[:4],
    "widths": (64,),
    "dtypes": ("float32",),
    "implementations": ("eager", "sdpa", "flash-reference"),
}
"""What is measured on a CPU unless asked for: the rest would take hours, and show little."""

DONE: Final = "done"
OOM: Final = "OOM"
UNSUPPORTED: Final = "unsupported"


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = Parser(MODULE, __doc__)
    bounded = ", ".join(f"{name} {','.join(map(str, few))}" for name, few in ON_CPU.items())
    made.epilog = f"On a CPU the defaults are: {bounded}."
    made.add_argument(
        "--lengths", type=comma_separated(count), metavar="N,N", help="(default: 128 to 65536)"
    )
    made.add_argument(
        "--widths", type=comma_separated(count), metavar="N,N", help="(default: 16,32,64,128)"
    )
    made.add_argument(
        "--dtypes",
        type=comma_separated(one_of(*DTYPES)),
        metavar="D,D",
        help=f"of {', '.join(DTYPES)} (default: bfloat16,float32)",
    )
    made.add_argument(
        "--implementations",
        type=comma_separated(one_of(*IMPLEMENTATIONS)),
        metavar="I,I",
        help=f"of {', '.join(IMPLEMENTATIONS)} "
        f"(default: all but flash-reference; {FLASH_ATTN} where it is installed)",
    )
    made.add_argument("--heads", type=count, metavar="N", default=16, help="(default: 16)")
    made.add_argument("--batch", type=count, metavar="N", default=1, help="(default: 1)")
    made.add_argument("--device", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    made.add_argument(
        "--warmup-ms", type=count, metavar="N", default=25, help="before each part (default: 25)"
    )
    made.add_argument(
        "--repeat-ms", type=count, metavar="N", default=100, help="timed (default: 100)"
    )
    add_output(made)
    made.add_argument("--json", type=Path, metavar="FILE", help="the results, and the machine")
    made.add_argument("--pictures", type=Path, metavar="DIR", help="rate and time by length")
    return made


def defaults(device: str) -> dict[str, tuple[Any, ...]]:
    """Return the default options of the benchmark on a device."""
    if not device.startswith("cuda"):
        return ON_CPU
    chosen = ["eager", COMPILED, "sdpa", SDPA_FLASH, "flash"]
    if find_spec("flash_attn") is not None:
        chosen.append(FLASH_ATTN)
    return {
        "lengths": LENGTHS,
        "widths": WIDTHS,
        "dtypes": ("bfloat16", "float32"),
        "implementations": tuple(chosen),
    }


def rows(arguments: argparse.Namespace, device: str) -> list[FlashRow]:
    """Return the benchmark's rows, those to be compared side by side."""
    usual = defaults(device)
    over = [getattr(arguments, name) or usual[name] for name in ("dtypes", "widths", "lengths")]
    return [
        FlashRow(
            implementation=implementation,
            dtype=dtype,
            width=width,
            length=length,
            heads=arguments.heads,
            batch=arguments.batch,
            device=device,
            warmup_ms=arguments.warmup_ms,
            repeat_ms=arguments.repeat_ms,
        )
        for dtype, width, length in product(*over)
        for implementation in arguments.implementations or usual["implementations"]
    ]


def measure_row(row: FlashRow) -> Result:
    """Time one attention; an implementation that cannot run becomes a result too."""
    what = f"{row.implementation}, {row.dtype}, width {row.width}, length {row.length}"
    try:
        return {**asdict(row), **measure(row), "outcome": DONE}
    except Unsupported as error:
        failure = {"outcome": UNSUPPORTED, "message": f"{what}: {error}"}
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        said = (str(error).strip().splitlines() or ["out of memory"])[0]
        failure = {"outcome": OOM, "message": f"{what}: {said}"}
    finally:
        torch.compiler.reset()  # a shape is compiled once; what is kept would only fill up
    gc.collect()
    if row.device.startswith("cuda"):
        torch.cuda.empty_cache()
    return {**asdict(row), **failure}


def table(results: Sequence[Result], device: str) -> Table:
    """Return the benchmark's table, a row for each part of each result.

    Returns:
        ``implementation, dtype, width, length, part, median_ns, p20_ns, p80_ns, flops_per_s,
        memory_bytes, outcome``; what is missing is NaN.
    """
    made = [cells(result, part) for result in results for part in PRODUCTS]
    first = results[0] if results else {"batch": 0, "heads": 0}
    shape = f"batch {first['batch']}, {first['heads']} heads, causal"
    return Table(
        KIND,
        columns_of(made, object),
        heading=f"Attention on {device_name(device)}: {shape}",
        droppable=("p20_ns", "p80_ns"),
    )


def cells(result: Result, part: str) -> dict[str, Any]:
    """Return the cells of one part of a result, by column."""
    median, low, high = result.get(part, [math.nan] * 3)
    flops = PRODUCTS[part] * FlashRow(**{name: result[name] for name in FlashRow.__slots__}).flops
    memory = result.get("memory_bytes")
    return {
        **{name: result[name] for name in ("implementation", "dtype", "width", "length")},
        "part": part,
        "median_ns": median,
        "p20_ns": low,
        "p80_ns": high,
        "flops_per_s": flops / (median / 1e9) if median > 0 else math.nan,
        "memory_bytes": math.nan if memory is None else memory,
        "outcome": result["outcome"],
    }


def _draw(results: Sequence[Result], to: Path) -> list[Path]:
    from profiling.attention.pictures import draw_flash_benchmark  # here: for matplotlib

    return draw_flash_benchmark(results, to)


@memory_advice("use shorter --lengths")
def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status, 0 where nothing but memory was wanting."""
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = parser().parse_args(given)
    device = choose_device(arguments.device)
    check_outputs(arguments)
    every = rows(arguments, device)
    about = result_file.header(KIND, command_line(MODULE, given), device)
    bounded = [name for name in ON_CPU if not getattr(arguments, name)]
    if not device.startswith("cuda") and bounded:
        print_notes(f"on a CPU only a few {', '.join(bounded)} are measured unless they are named")
    print(f"timing {len(every)} rows on {device}", file=sys.stderr)

    def finish(results: Sequence[Result]) -> None:
        write_results(results, table(results, device), arguments, about, _draw)

    measure_rows(every, measure_row, finish)
    return 0
