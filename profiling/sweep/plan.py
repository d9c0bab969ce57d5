"""What a sweep measures: every combination of sizes, batches, contexts, modes and so on."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from profiling.common.cli import (
    Parser,
    add_device,
    add_output,
    comma_separated,
    count,
    count_or_zero,
    positive,
)
from profiling.common.errors import UsageError
from profiling.common.machine import choose_device
from profiling.common.options import add_options, chosen, combinations, listed
from profiling.common.settings import (
    IMPLEMENTATION,
    MODES,
    OPTIMIZERS,
    PRECISIONS,
    Settings,
    shape,
)

RESULTS: Final = Path("sweep_results.jsonl")
GIB: Final = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What a sweep combines; each is a list on the command line."""

    size: tuple[str, ...] = listed(
        ("small", "medium", "large", "xl", "2.7B"),  # of the 2025 handout
        "--sizes",
        "of models",
    )
    batch: tuple[int, ...] = listed((4,), "--batches", "sequences a step", read=count)
    context: tuple[int, ...] = listed((512,), "--contexts", "positions", read=count)
    warmup: tuple[int, ...] = listed(
        (5,), "--warmups", "steps that do not count", read=count_or_zero
    )
    mode: tuple[str, ...] = listed(("forward_backward",), "--modes", choices=sorted(MODES))
    precision: tuple[str, ...] = listed(("float32",), "--dtypes", choices=tuple(PRECISIONS))


def parser(module: str, doc: str | None) -> Parser:
    """Return the parser of a sweep."""
    made = Parser(module, doc)
    what = made.add_argument_group("what to measure: lists, with commas between")
    add_options(what, Grid)
    what.add_argument(
        "--batch",
        dest="batch",
        type=comma_separated(count),
        default=argparse.SUPPRESS,
        help=argparse.SUPPRESS,  # as it was called when there was one
    )
    how = made.add_argument_group("how, the same for every row")
    how.add_argument("--num-steps", type=count, default=10, metavar="N", help="(default: 10)")
    add_device(how)
    add_options(how, Settings, *IMPLEMENTATION, "seed")
    how.add_argument(
        "--memory-limit",
        type=lambda text: int(positive(text) * GIB),
        metavar="GIB",
        help="end a row that takes more (on a CPU)",
    )
    add_output(made, pictures="bars with spread; scaling")
    kept = made.add_argument_group("what is kept")
    kept.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        metavar="FILE",
        help=f"finished rows, raw times included; a sweep goes on from it (default: {RESULTS})",
    )
    kept.add_argument("--restart", action="store_true", help="measure rows again that are there")
    kept.add_argument("--explain", action="store_true", help="answer the assignment's questions")
    return made


def rows(arguments: argparse.Namespace) -> Iterator[Settings]:
    """Yield what each row of the sweep runs, in order.

    Raises:
        UsageError: no such size or device, or a limit on a GPU's memory.
        LaunchError: there is no such CUDA device.
    """
    device = choose_device(arguments.device)
    if arguments.memory_limit is not None and device.startswith("cuda"):
        raise UsageError("--memory-limit is of the machine's memory; leave it out on a GPU")
    for row in combinations(chosen(Grid, arguments)):
        row |= PRECISIONS[row.pop("precision")]
        if row["mode"] != "train":
            row["optimizer"] = OPTIMIZERS[0]
        if row["mode"] == "forward":
            row["checkpoint"] = 0
        config = shape(row["size"])
        steps = arguments.num_steps
        yield chosen(Settings, arguments, **row, config=config, device=device, steps=steps)
