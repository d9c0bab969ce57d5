"""The command line of `profiling.parallel_benchmark`."""

import argparse
from pathlib import Path
from typing import Any, Final

from model.parallel.accounting import ALL_STRATEGIES
from profiling.common import cli, memory_fit
from profiling.common.errors import LaunchError, UsageError
from profiling.common.machine import available_bytes, choose_device
from profiling.common.model_options import DEFAULT_SIZE, Adder, add_shape
from profiling.common.settings import DTYPES, SHAPE_FIELDS, Settings, shape
from profiling.training.parallel_training import Strategy

BUCKETED: Final = "bucketed"
BUCKET_MBS: Final = "1,10,100,1000"
"""Of the 2025 handout of CS336, in megabytes of 10^6 bytes."""


def parser(module: str, doc: str | None) -> cli.Parser:
    """Return the parser."""
    made = cli.Parser(module, doc)
    what = made.add_argument_group("what to train")
    add_shape(what)
    what.add_argument(
        "--batch",
        type=cli.count,
        metavar="N",
        help="sequences a step over all ranks (default: 4 a rank; on a CPU 1)",
    )
    what.add_argument(
        "--context", type=cli.count, metavar="N", help="positions (default: 512; on a CPU 128)"
    )
    what.add_argument(
        "--dtype",
        choices=DTYPES,
        default=DTYPES[0],
        help="of weights, gradients and optimizer; for fsdp, of what is computed and sent "
        "(default: %(default)s)",
    )
    what.add_argument("--seed", type=cli.seed, default=0, metavar="N", help="(0)")
    how = made.add_argument_group("how")
    how.add_argument("--ranks", type=cli.count, default=2, metavar="N", help="(2)")
    how.add_argument(
        "--strategies",
        type=cli.comma_separated(cli.one_of(*ALL_STRATEGIES)),
        default=",".join(ALL_STRATEGIES),
        metavar="NAMES",
        help="(default: all; %(default)s)",
    )
    how.add_argument(
        "--bucket-mbs",
        type=cli.comma_separated(cli.positive),
        default=BUCKET_MBS,
        metavar="MB,MB",
        help="sizes of buckets for bucketed, in 10^6 bytes (default: %(default)s)",
    )
    how.add_argument("--device", help="cpu or cuda (default: cuda where there are enough GPUs)")
    add_timing(how, 1800.0, "each strategy")
    made.add_argument("--json", type=Path, metavar="FILE", help="write everything there, raw too")
    cli.add_output(made)
    return made


def strategies(arguments: argparse.Namespace) -> list[Strategy]:
    """Return the strategies to time, in order; ``bucketed`` once for each size."""
    made: list[Strategy] = []
    for name in arguments.strategies:
        sizes = arguments.bucket_mbs if name == BUCKETED else [None]
        made += [Strategy(name, size) for size in sizes]
    return made


def choose_backend(arguments: argparse.Namespace, gpus: int) -> str:
    """Return the backend that ranks communicate by: NCCL with a GPU each, else gloo.

    Raises:
        UsageError: no device is called so, or one GPU is named for several ranks.
        LaunchError: there are too few GPUs.
    """
    ranks = arguments.ranks
    if arguments.device is None:
        return "nccl" if gpus >= ranks else "gloo"
    device = choose_device(arguments.device)
    if device == "cpu":
        return "gloo"
    if device != "cuda":
        raise UsageError(f"--device {device}: each rank has a GPU of its own; give cuda")
    if gpus < ranks:
        raise LaunchError(
            f"{ranks} ranks need as many GPUs, and this machine has {gpus}; use --ranks {gpus}, "
            "or --device cpu"
        )
    return "nccl"


def rank_settings(arguments: argparse.Namespace, backend: str) -> Settings:
    """Return the settings that each rank gets; its device is its own.

    Raises:
        UsageError: the batch does not come out even, no such size, or an impossible shape.
        LaunchError: on a CPU, all ranks together need more memory than there is.
    """
    on_gpu, ranks = backend == "nccl", arguments.ranks
    size = arguments.size or DEFAULT_SIZE
    changes: dict[str, Any] = {field: getattr(arguments, field) for field in SHAPE_FIELDS}
    batch = arguments.batch or (4 if on_gpu else 1) * ranks
    if batch % ranks:
        raise UsageError(f"--batch {batch}: {ranks} ranks cannot share it evenly")
    settings = Settings(
        size=size,
        config=shape(size, **changes),
        batch=batch // ranks,
        context=arguments.context or (512 if on_gpu else 128),
        dtype=arguments.dtype,
        device="cuda" if on_gpu else "cpu",
        steps=arguments.steps,
        warmup=arguments.warmup,
        seed=arguments.seed,
    )
    if not on_gpu:
        check_memory(settings, ranks)
    return settings


def check_memory(settings: Settings, ranks: int) -> None:
    """Refuse ranks on a CPU that do not fit into its memory together.

    Raises:
        LaunchError: they need more than is available.
    """
    needed, free = ranks * memory_fit.needed_bytes(settings), available_bytes("cpu")
    if needed > free:
        raise LaunchError(
            f"{ranks} ranks of {settings.size} (batch {settings.batch} each, context "
            f"{settings.context}) need about {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB "
            "are free; use a smaller --size, --batch or --context, or fewer --ranks"
        )


def add_timing(parser: Adder, timeout_s: float, each: str) -> None:
    """Add the options for timed steps, their time limit, and the port where ranks meet.

    Args:
        parser: the parser, or a group of it.
        timeout_s: the time limit where none is given, in seconds.
        each: what the limit is for.
    """
    parser.add_argument("--steps", type=cli.count, default=10, metavar="N", help="timed (10)")
    parser.add_argument("--warmup", type=cli.count_or_zero, default=5, metavar="N", help="(5)")
    parser.add_argument(
        "--timeout",
        type=cli.positive,
        default=timeout_s,
        metavar="S",
        help=f"for {each}, in seconds ({timeout_s:.0f})",
    )
    parser.add_argument("--port", type=cli.count, default=0, help="where ranks meet (a free one)")
