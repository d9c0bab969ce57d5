"""The command line of `profiling.parallel_benchmark`."""

import argparse
from dataclasses import dataclass
from typing import Final

from model.parallel.strategies import ALL_STRATEGIES, BUCKETED, Strategy
from profiling.common import cli, memory_fit
from profiling.common.errors import UsageError
from profiling.common.machine import choose_device
from profiling.common.options import ByDevice, add_options, chosen, listed, option, options_of
from profiling.common.settings import ModelShape, Settings
from profiling.training.workload import choose_backend as training_backend

BATCH: Final[ByDevice] = options_of(Settings)["batch"].default
"""Of one rank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankTiming:
    """How often ranks are timed, how long they may take, and where they meet."""

    steps: int = option(10, "timed", read=cli.count)
    warmup: int = option(5, "before them", read=cli.count_or_zero)
    timeout: float = option(
        600.0, "of ranks that were started, in seconds", read=cli.positive, metavar="S"
    )
    port: int | None = option(None, "where ranks meet (default: a free one)", read=cli.count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategies:
    """What ranks are timed with."""

    ranks: int = option(2, "processes", read=cli.count)
    strategies: tuple[str, ...] = listed(ALL_STRATEGIES, "--strategies", choices=ALL_STRATEGIES)
    bucket_mbs: tuple[float, ...] = listed(
        (1, 10, 100, 1000),  # of the 2025 handout of CS336
        "--bucket-mbs",
        "sizes of buckets for bucketed, in 10^6 bytes",
        read=cli.positive,
    )


def parser(module: str, doc: str | None) -> cli.Parser:
    """Return the parser."""
    made = cli.Parser(module, doc)
    what = made.add_argument_group("what to train")
    add_options(what, ModelShape)
    what.add_argument(
        "--batch",
        type=cli.count,
        metavar="N",
        help=f"sequences a step over all ranks (default: for each rank {BATCH})",
    )
    add_options(what, Settings, "context", "dtype", "seed")
    how = made.add_argument_group("how")
    add_options(how, Strategies)
    how.add_argument("--device", help="cpu or cuda (default: cuda where there are enough GPUs)")
    add_options(how, RankTiming, timeout=1800.0)
    cli.add_output(made, json="write everything there, raw too")
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
    return training_backend(ranks, choose_device(arguments.device))


def rank_settings(arguments: argparse.Namespace, backend: str) -> Settings:
    """Return the settings that each rank gets; its device is its own.

    Raises:
        UsageError: the batch does not come out even, no such size, or an impossible shape.
        LaunchError: on a CPU, all ranks together need more memory than there is.
    """
    on_gpu, ranks = backend == "nccl", arguments.ranks
    device = "cuda" if on_gpu else "cpu"
    batch = arguments.batch or BATCH.on(device) * ranks
    if batch % ranks:
        raise UsageError(f"--batch {batch}: {ranks} ranks cannot share it evenly")
    config = chosen(ModelShape, arguments).config
    settings = chosen(Settings, arguments, config=config, batch=batch // ranks, device=device)
    if not on_gpu:
        memory_fit.check_ranks(settings, ranks)
    return settings
