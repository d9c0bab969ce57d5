"""Time every tiling of every pass of FlashAttention that may be good, on one GPU.

    python -m benchmarks.flash_tuning --results tuning.json
    python -m benchmarks.flash_tuning --shapes 1x16x64x16384 --passes one_pass,dq --results t.json

Every tiling is compiled in processes beside, compared with float32 at the same shape, and only then
timed. What does not fit, does not compile or is wrong is a row too. Rows are kept in --results as
they are done: the next call goes on from there. The rate counts the pairs that causal attention
needs, `launched` those of all tiles that are computed; dq and dkdv together, or one_pass alone, are
the backward pass. Beside them stand the whole operators, ours as it chooses for itself
and PyTorch's flash backend.
"""

import argparse
import json
import math
import os
import re
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch

from analysis.show.cli import print_notes
from analysis.show.render import plural
from analysis.show.table import Table, columns_of
from benchmarks.tuning.run import DONE, FAILED, Compiler, Shape, Trial, measure
from benchmarks.tuning.space import PASSES, tilings
from model.flash import FlashUnavailable, check_available
from model.flash.tiles import WIDEST, Tiling, candidates, product_precision
from profiling.attention import flash_benchmark_run
from profiling.attention.rows import PRODUCTS, SDPA_FLASH, FlashRow, Unsupported
from profiling.common import result_file
from profiling.common.cli import (
    Parser,
    add_output,
    comma_separated,
    command_line,
    count,
    memory_advice,
    one_of,
    run,
    write,
)
from profiling.common.errors import LaunchError, UsageError
from profiling.common.machine import choose_device, device_name
from profiling.common.progress import steps_bar

KIND: Final = "flash_tuning"

Result = dict[str, Any]


def cells(row: Result) -> dict[str, Any]:
    """Return the cells of one result, by column; what is missing is NaN."""
    shape, cut = row["shape"], row["tiling"]
    median, low, high = row.get("time_ns", [math.nan] * 3)
    seconds = median / 1e9
    shipped = cut is not None and Tiling(**cut) in candidates(
        row["part"], shape["width"], getattr(torch, shape["dtype"]).itemsize, "tf32"
    )
    return {
        **{name: shape[name] for name in ("batch", "heads", "width", "length")},
        "part": row["part"],
        "implementation": row["implementation"],
        **(cut or dict.fromkeys(Tiling.__slots__, math.nan)),
        "shipped": "yes" if shipped else "",
        "median_ns": median,
        "p10_ns": low,
        "p90_ns": high,
        "flops_per_s": row["flops"] / seconds if seconds > 0 else math.nan,
        "launched_ratio": row.get("launched_flops", math.nan) / row["flops"],
        "error": row.get("error", math.nan),
        "outcome": row["outcome"],
    }


def table(rows: Iterable[Result], shapes: Sequence[Shape], device: str) -> Table:
    """Return the rows, those of a shape and a pass together, the fastest first.

    Returns:
        ``batch, heads, width, length, part, implementation, queries, keys, warps, stages,
        registers, shipped, median_ns, p10_ns, p90_ns, flops_per_s, launched_ratio, error,
        outcome``.
    """
    order, parts = [asdict(shape) for shape in shapes], [*PASSES, *PRODUCTS]
    known = [row for row in rows if row["shape"] in order]

    def place(row: Result) -> tuple[float, ...]:
        first = row.get("time_ns", [math.inf])[0]
        return order.index(row["shape"]), parts.index(row["part"]), first

    made = [cells(row) for row in sorted(known, key=place)]
    return Table(
        KIND,
        columns_of(made, object),
        heading=f"Tilings of causal attention on {device_name(device)}",
        droppable=("p10_ns", "p90_ns", "error", "shipped"),
    )


MODULE: Final = "benchmarks.flash_tuning"
SHAPES: Final = (
    *("1x16x64x16384", "1x16x128x16384", "1x16x64x4096", "1x16x128x4096"),
    "4x25x64x1024",
)
"""Batch, heads, width, length: what public figures are for, and a training step of xl."""

MOST_PROCESSES: Final = 16
LONGEST_S: Final = 1e6
"""What waiting for a process is bounded by where no budget is given."""


def shape_of(text: str) -> str:
    """Check the words of one shape.

    Raises:
        ArgumentTypeError: they are none.
    """
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){3}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not BATCHxHEADSxWIDTHxLENGTH")
    return text


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = Parser(MODULE, __doc__)
    add = made.add_argument
    shapes, passes = comma_separated(shape_of), comma_separated(one_of(*PASSES))
    known = f"batch x heads x width x length (default: {','.join(SHAPES)})"
    add("--shapes", type=shapes, metavar="S,S", default=SHAPES, help=known)
    known = f"(default: {','.join(PASSES)})"
    add("--passes", type=passes, metavar="P,P", default=PASSES, help=known)
    add("--dtype", default="bfloat16", choices=("bfloat16", "float16", "float32"))
    add("--device", help="cuda or cuda:N (default); cpu under Triton's interpreter")
    add("--most", type=count, metavar="N", help="tilings of each pass (default: all)")
    add("--repeat-ms", type=count, metavar="N", default=50, help="(default: 50)")
    processes = min(MOST_PROCESSES, len(os.sched_getaffinity(0)))
    known = "that compile (default: one a processor, at most 16)"
    add("--processes", type=count, metavar="N", default=processes, help=known)
    add("--budget-s", type=float, metavar="S", default=math.inf, help="begin nothing after that")
    add("--results", type=Path, metavar="FILE", help="where rows are kept")
    add_output(made)
    return made


def trials(arguments: argparse.Namespace, shape: Shape) -> list[Trial]:
    """Return the trials of a shape that are to be timed."""
    dtype, most = getattr(torch, shape.dtype), arguments.most
    return [
        Trial(shape, which, tiling)
        for which in arguments.passes
        for tiling in tilings(which, shape.width, dtype.itemsize, product_precision(dtype))[:most]
    ]


def key(result: Result) -> str:
    """Return the key that tells a row from the others."""
    return json.dumps([result["implementation"], result["shape"], result["part"], result["tiling"]])


def row_head(shape: Shape, implementation: str, part: str, tiling: Tiling | None) -> Result:
    """Return the head of a row."""
    cut = asdict(tiling) if tiling else None
    return {"implementation": implementation, "shape": asdict(shape), "part": part, "tiling": cut}


class Tuning:
    """The rows that are done and those to come, in a file that begins with ``about``.

    Raises:
        LaunchError: the file is something else, or from another machine.
    """

    def __init__(self, arguments: argparse.Namespace, about: dict[str, Any]) -> None:
        self.arguments, self.about = arguments, about
        self.end = time.monotonic() + arguments.budget_s
        self.rows: dict[str, Result] = {}
        self.left = 0
        path = arguments.results
        if path is not None and path.exists():
            kept = result_file.read(path, KIND, "benchmarks")
            here, there = (one["facts"].get("device_name") for one in (about, kept))
            if here != there:
                raise LaunchError(f"{path}: measured on {there}, not {here}; name another file")
            # What failed may have failed with something else: it is tried again.
            self.rows = {key(row): row for row in kept["results"] if row["outcome"] != FAILED}

    def keep(self, row: Result) -> None:
        """Keep a row: it is on the disk when this returns."""
        self.rows[key(row)] = row
        if self.arguments.results is not None:
            content = {**self.about, "results": list(self.rows.values())}
            result_file.write(self.arguments.results, content)

    def is_late(self) -> bool:
        """Return whether nothing more is to be begun."""
        return bool(time.monotonic() >= self.end)

    def tune(self, shape: Shape, compiler: Compiler) -> None:
        """Compile and time what is not done of a shape."""
        every = [
            (row_head(shape, "flash", trial.which, trial.tiling), trial)
            for trial in trials(self.arguments, shape)
        ]
        todo = [(head, trial) for head, trial in every if key(head) not in self.rows]
        refused = {} if self.is_late() else self.compiled([trial for _, trial in todo], compiler)
        with steps_bar(len(todo)) as bar:
            for head, trial in todo:
                if self.is_late():
                    self.left += 1
                    continue
                if said := refused.get(trial):
                    result = {"outcome": said.partition(":")[0], "message": said}
                else:
                    result = measure(trial, self.arguments.repeat_ms)
                work = {"flops": trial.flops, "launched_flops": trial.launched_flops}
                self.keep({**head, **result, **work})
                bar.done(f"{trial.which}, width {shape.width}, length {shape.length}", 0)

    def compiled(self, todo: Sequence[Trial], compiler: Compiler) -> dict[Trial, str]:
        """Wait until trials are compiled, and return what was said against some."""
        refused = {}
        for trial, future in compiler.ahead(todo).items():
            try:
                said = future.result(timeout=max(0.0, min(self.end - time.monotonic(), LONGEST_S)))
            except TimeoutError:
                break  # the time is up, too
            except BrokenProcessPool:
                said = f"{FAILED}: a process that compiles was ended; call again"
            if said:
                refused[trial] = said
        return refused

    def whole(self, shape: Shape, implementation: str) -> None:
        """Time an operator as anyone calls it."""
        heads = [row_head(shape, implementation, part, None) for part in PRODUCTS]
        if all(key(head) in self.rows for head in heads):
            return
        if self.is_late():
            self.left += len(heads)
            return
        times = {"warmup_ms": 25, "repeat_ms": self.arguments.repeat_ms}
        row = FlashRow(implementation=implementation, **times, **asdict(shape))
        try:
            found = flash_benchmark_run.measure(row)
            results = {part: {"outcome": DONE, "time_ns": found[part]} for part in PRODUCTS}
        except Unsupported as error:
            missing = {"outcome": "unsupported", "message": str(error)}
            results = dict.fromkeys(PRODUCTS, missing)
        for head in heads:
            part = head["part"]
            self.keep({**head, **results[part], "flops": PRODUCTS[part] * row.flops})


@memory_advice("use shorter --shapes")
def main(argv: Sequence[str] | None = None) -> int:
    """Tune, and return the exit status: 1 where rows are left for the next call."""
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = parser().parse_args(given)
    device = choose_device(arguments.device)
    try:
        check_available(torch.device(device))
    except FlashUnavailable as error:
        raise LaunchError(str(error)) from None
    result_file.check_writable(arguments.results)
    shapes = []
    for text in arguments.shapes:
        batch, heads, width, length = map(int, text.split("x"))
        if width > WIDEST:
            raise UsageError(f"--shapes {text}: heads are at most {WIDEST} wide")
        shapes.append(Shape(batch, heads, width, length, arguments.dtype, device))
    tuning = Tuning(arguments, result_file.header(KIND, command_line(MODULE, given), device))
    compiler = Compiler(arguments.processes)
    try:
        for shape in shapes:
            tuning.whole(shape, SDPA_FLASH)
            tuning.tune(shape, compiler)
            tuning.whole(shape, "flash")  # it chooses among what is compiled by now
    finally:
        compiler.close()
    write(table(tuning.rows.values(), shapes, device), arguments)
    print_notes(*sorted({row["message"] for row in tuning.rows.values() if row.get("message")}))
    if tuning.left:
        print_notes(
            f"{plural(tuning.left, 'row is', 'rows are')} not timed for want of time; "
            "call again with the same --results"
        )
    return int(bool(tuning.left))


if __name__ == "__main__":
    sys.exit(run(main))
