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
    one_of,
    positive,
)
from profiling.common.errors import UsageError
from profiling.common.machine import choose_device
from profiling.common.options import add_options, chosen, combinations, option
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


@dataclass(frozen=True, slots=True)
class Plan:
    """A sweep.

    Attributes:
        rows: what each row runs.
        results: where finished rows are kept, one a line.
        limit_bytes: how much memory a row may take; None for all there is.
        restart: measure rows that are kept already, too.
    """

    rows: tuple[Settings, ...]
    results: Path
    limit_bytes: int | None
    restart: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What a sweep combines; each is a list on the command line."""

    size: tuple[str, ...] = option(
        ("small", "medium", "large", "xl", "2.7B"),  # of the 2025 handout
        "of models",
        read=comma_separated(str),
        metavar="S,S",
        flag="--sizes",
    )
    batch: tuple[int, ...] = option(
        (4,), "sequences a step", read=comma_separated(count), metavar="N,N", flag="--batches"
    )
    context: tuple[int, ...] = option(
        (512,), "positions", read=comma_separated(count), metavar="N,N", flag="--contexts"
    )
    warmup: tuple[int, ...] = option(
        (5,),
        "steps that do not count",
        read=comma_separated(count_or_zero),
        metavar="N,N",
        flag="--warmups",
    )
    mode: tuple[str, ...] = option(
        ("forward_backward",),
        f"of {', '.join(sorted(MODES))}",
        read=comma_separated(one_of(*sorted(MODES))),
        metavar="M,M",
        flag="--modes",
    )
    precision: tuple[str, ...] = option(
        ("float32",),
        f"of {', '.join(PRECISIONS)}",
        read=comma_separated(one_of(*PRECISIONS)),
        metavar="T,T",
        flag="--dtypes",
    )


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
        "--memory-limit", type=positive, metavar="GIB", help="end a row that takes more (on a CPU)"
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


def plan(arguments: argparse.Namespace) -> Plan:
    """Return the sweep that the arguments ask for, in the order of its rows.

    Raises:
        UsageError: no such size or device, or a limit on a GPU's memory.
        LaunchError: there is no such CUDA device.
    """
    device = choose_device(arguments.device)
    limit = arguments.memory_limit
    if limit is not None and device.startswith("cuda"):
        raise UsageError("--memory-limit is of the machine's memory; leave it out on a GPU")
    return Plan(
        rows=tuple(_rows(arguments, device)),
        results=arguments.results,
        limit_bytes=None if limit is None else int(limit * GIB),
        restart=arguments.restart,
    )


def _rows(arguments: argparse.Namespace, device: str) -> Iterator[Settings]:
    for row in combinations(chosen(Grid, arguments)):
        row |= PRECISIONS[row.pop("precision")]
        if row["mode"] != "train":
            row["optimizer"] = OPTIMIZERS[0]
        if row["mode"] == "forward":
            row["checkpoint"] = 0
        config = shape(row["size"])
        steps = arguments.num_steps
        yield chosen(Settings, arguments, **row, config=config, device=device, steps=steps)
