"""What a sweep measures: every combination of sizes, batches, contexts, modes and so on."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

from profiling.benchmark.options import MODES
from profiling.common.cli import (
    Parser,
    add_output,
    comma_separated,
    count,
    count_or_zero,
    one_of,
    positive,
    seed,
)
from profiling.common.errors import UsageError
from profiling.common.machine import choose_device
from profiling.common.model_options import add_compiler
from profiling.common.settings import (
    ATTENTIONS,
    COMPILE_MODES,
    COMPILE_SCOPES,
    OPTIMIZERS,
    PRECISIONS,
    Settings,
    shape,
)

SIZES: Final = ("small", "medium", "large", "xl", "2.7B")
"""The five of the 2025 handout."""

RESULTS: Final = Path("sweep_results.jsonl")
BATCH: Final = 4
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


def parser(module: str, doc: str | None) -> Parser:
    """Return the parser of a sweep."""
    made = Parser(module, doc)
    what = made.add_argument_group("what to measure: lists, with commas between")
    what.add_argument(
        "--sizes", type=comma_separated(str), default=SIZES, help=f"(default: {','.join(SIZES)})"
    )
    what.add_argument(
        "--contexts", type=comma_separated(count), default=(512,), help="(default: 512)"
    )
    what.add_argument(
        "--batches",
        "--batch",
        type=comma_separated(count),
        default=(BATCH,),
        metavar="N,N",
        help=f"sequences a step (default: {BATCH})",
    )
    what.add_argument(
        "--warmups", type=comma_separated(count_or_zero), default=(5,), help="(default: 5)"
    )
    what.add_argument(
        "--modes",
        type=comma_separated(one_of(*MODES)),
        default=("forward_backward",),
        help=f"of {', '.join(MODES)} (default: forward_backward)",
    )
    what.add_argument(
        "--dtypes",
        type=comma_separated(one_of(*PRECISIONS)),
        default=("float32",),
        help=f"of {', '.join(PRECISIONS)} (default: float32)",
    )
    how = made.add_argument_group("how, the same for every row")
    how.add_argument("--num-steps", type=count, default=10, metavar="N", help="(default: 10)")
    how.add_argument("--device", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    how.add_argument("--attention", choices=ATTENTIONS, default=ATTENTIONS[0])
    how.add_argument("--optimizer", choices=OPTIMIZERS, default=OPTIMIZERS[0])
    how.add_argument("--checkpoint", type=count_or_zero, default=0, metavar="N")
    how.add_argument("--compile", action="store_true", help="by torch.compile")
    add_compiler(how)
    how.add_argument("--seed", type=seed, default=0, metavar="N", help="(default: 0)")
    how.add_argument(
        "--memory-limit", type=positive, metavar="GIB", help="end a row that takes more (on a CPU)"
    )
    out = made.add_argument_group("what becomes of it")
    add_output(made)
    out.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        metavar="FILE",
        help=f"finished rows, raw times included; a sweep goes on from it (default: {RESULTS})",
    )
    out.add_argument("--restart", action="store_true", help="measure rows again that are there")
    out.add_argument("--pictures", type=Path, metavar="DIR", help="bars with spread; scaling")
    out.add_argument("--explain", action="store_true", help="answer the assignment's questions")
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


def _rows(arguments: argparse.Namespace, device: str) -> Sequence[Settings]:
    names = ("sizes", "batches", "contexts", "warmups", "modes", "dtypes")
    combinations = product(*(getattr(arguments, name) for name in names))
    return [
        Settings(
            size=size,
            config=shape(size),
            mode=mode,
            batch=batch,
            context=context,
            device=device,
            attention=arguments.attention,
            compile=arguments.compile,
            compile_mode=arguments.compile_mode or COMPILE_MODES[0],
            compile_scope=arguments.compile_scope or COMPILE_SCOPES[0],
            optimizer=arguments.optimizer if mode == "train" else OPTIMIZERS[0],
            checkpoint=0 if mode == "forward" else arguments.checkpoint,
            steps=arguments.num_steps,
            warmup=warmup,
            seed=arguments.seed,
            **PRECISIONS[precision],
        )
        for size, batch, context, warmup, mode, precision in combinations
    ]
