"""Training of our own model as a workload: its options, and what of them goes together."""

import argparse
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from analysis.show.called import called
from model.parallel.strategies import ALL_STRATEGIES, BUCKET_SIZE_MB, BUCKETED, NONE
from profiling.common import memory_fit
from profiling.common.cli import Adder, count, positive
from profiling.common.errors import LaunchError, UsageError
from profiling.common.options import add_options, chosen, option
from profiling.common.settings import CUDA_GRAPHS, MODES, OPTIMIZERS, ModelShape, Settings
from profiling.common.workload import Ranks, Workload


@dataclass(frozen=True, kw_only=True)
class RankOptions:
    """The options for how many ranks train, and how together."""

    ranks: int | None = option(None, "train on N ranks; --batch counts all of them", read=count)
    strategy: str = option(
        "overlapped", "of ranks: naive, flat, overlapped, bucketed, sharded or fsdp", metavar="NAME"
    )
    bucket_mb: float | None = option(
        None, "of bucketed, in 10^6 bytes (default: 25)", read=positive, metavar="MB"
    )
    timeout: float = option(600.0, "of ranks, in seconds", read=positive, metavar="S")

    def check(self) -> None:
        """Refuse options of ranks where there are none.

        Raises:
            UsageError: one was given.
        """
        usual = RankOptions()
        for name in ("strategy", "bucket_mb", "timeout"):
            if self.ranks is None and getattr(self, name) != getattr(usual, name):
                flag = name.replace("_", "-")
                raise UsageError(f"--{flag} is of --ranks N; give that too, or leave it out")


@dataclass(frozen=True, kw_only=True)
class TrainingRanks(Ranks):
    """How many ranks train, and how together.

    Attributes:
        strategy: one of `model.parallel.strategies.ALL_STRATEGIES`, but ``none``.
        bucket_mb: of ``bucketed``, in 10^6 bytes; None takes torch's.
        backend: ``gloo`` or ``nccl``.
    """

    timeout_s: float
    strategy: str
    bucket_mb: float | None
    backend: str

    def describe(self) -> str:
        """Return all of it in a few words."""
        buckets = "" if self.bucket_mb is None else f" {self.bucket_mb:g} MB"
        return f"{super().describe()}, {self.strategy}{buckets}, {self.backend}"

    def facts_of_batch(self, rank: int, batch: int) -> dict[str, str]:
        """Return what the report of a rank tells besides, where this is the batch of each."""
        known = {
            **self.facts(rank),
            "strategy": self.strategy,
            "backend": self.backend,
            "global_batch": str(self.count * batch),
        }
        return known | ({} if self.bucket_mb is None else {"bucket_mb": f"{self.bucket_mb:g}"})


@dataclass(frozen=True, kw_only=True)
class TrainingRun(Workload):
    """Steps of our own model, in one process or on several ranks."""

    run: ClassVar[str] = "profiling.training.recorded_training:run"

    settings: Settings
    ranks: TrainingRanks | None = None

    @property
    def device(self) -> str:  # type: ignore[override]  # read only, like the whole dataclass
        """The device of the settings; ranks on GPUs have one each."""
        return self.settings.device

    @property
    def steps_in_all(self) -> int:
        """The steps of both sets, warm-up included."""
        return 2 * (self.settings.warmup + self.settings.steps)

    @classmethod
    def add_to(cls, parser: Adder) -> None:
        """Add the options of the model, of how it computes, and of ranks."""
        add_options(parser, ModelShape)
        add_options(parser, Settings)
        add_options(parser, RankOptions)

    @classmethod
    def read(cls, arguments: argparse.Namespace, device: str) -> Self:
        """Return what is asked for; the batch of ranks is shared out among them."""
        config = chosen(ModelShape, arguments).config
        asked = chosen(RankOptions, arguments)
        asked.check()
        settings = chosen(Settings, arguments, config=config, device=device)
        if settings.compile_mode == CUDA_GRAPHS:
            raise UsageError(
                f"--compile-mode {CUDA_GRAPHS} replays CUDA graphs, which stand in no range; "
                f"time it with {called('profiling.benchmark')}"
            )
        if asked.ranks is None:
            return cls(settings=settings)
        given = isinstance(arguments.batch, int)
        ranks = _ranks(asked, settings, device, bool(getattr(arguments, "memory", False)))
        if given:
            settings = replace(settings, batch=_share(settings.batch, ranks.count))
        return cls(settings=settings, ranks=ranks)

    def describe(self) -> str:
        """Return every setting in one line, defaults too."""
        known = self.settings.describe()
        return f"{known}, {self.ranks.describe()}" if self.ranks else known

    def facts(self, rank: int = 0) -> dict[str, str]:
        """Return what the report of a rank must tell of the run."""
        more = self.ranks.facts_of_batch(rank, self.settings.batch) if self.ranks else {}
        return self.settings.facts() | more

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Self:
        """Return the workload that `fields` made these of."""
        ranks = TrainingRanks(**fields["ranks"]) if fields["ranks"] else None
        return cls(settings=Settings.from_fields(fields["settings"]), ranks=ranks)

    @classmethod
    def report_name(cls, arguments: argparse.Namespace) -> str:
        """Return the size."""
        size: str = arguments.size
        return size

    def check(self) -> None:
        """Refuse what the device cannot run, and on a CPU what does not fit into memory."""
        from profiling.training import training  # here: it needs torch, and a command line does not

        training.check(self.settings)
        if self.ranks and self.ranks.backend == "gloo":
            memory_fit.check_ranks(self.settings, self.ranks.count)
        elif not self.ranks and not self.device.startswith("cuda"):
            memory_fit.check(self.settings)


def _share(batch: int, ranks: int) -> int:
    if batch % ranks:
        raise UsageError(
            f"--batch {batch}: {ranks} ranks cannot share it evenly; it counts the sequences of all"
        )
    return batch // ranks


def _ranks(asked: RankOptions, settings: Settings, device: str, memory: bool) -> TrainingRanks:
    """Return the ranks that are asked for.

    Raises:
        UsageError: it does not go together, or there is no such strategy.
        LaunchError: there are fewer GPUs than ranks.
    """
    assert asked.ranks is not None, "asked of ranks only"
    strategy, bucket_mb = asked.strategy, asked.bucket_mb
    known = [each for each in ALL_STRATEGIES if each != NONE]
    if strategy not in known:
        raise UsageError(f"no strategy is called {strategy!r}; there are: {', '.join(known)}")
    if strategy == BUCKETED:
        bucket_mb = bucket_mb or BUCKET_SIZE_MB
    elif bucket_mb is not None:
        raise UsageError(f"--bucket-mb is of --strategy {BUCKETED}, not of {strategy}")
    for name, given in (("memory", memory), ("compile", settings.compile)):
        if given:
            raise UsageError(f"--{name} is of one process; leave it out, or --ranks")
    if settings.mode != MODES[0]:
        raise UsageError(f"--mode {settings.mode}: ranks train; leave it out, or --ranks")
    if strategy == "fsdp" and settings.autocast:
        raise UsageError("fsdp casts by itself; give --dtype instead of --autocast")
    if strategy == "sharded" and settings.optimizer != OPTIMIZERS[0]:
        raise UsageError("--optimizer: sharded runs AdamW as torch does by default; leave it out")
    return TrainingRanks(
        count=asked.ranks,
        strategy=strategy,
        bucket_mb=bucket_mb,
        backend=choose_backend(asked.ranks, device),
        timeout_s=asked.timeout,
    )


def choose_backend(ranks: int, device: str) -> str:
    """Return what ranks on a device communicate by: NCCL with a GPU each, gloo on the CPU.

    Raises:
        UsageError: one GPU is named for several ranks.
        LaunchError: there are too few GPUs.
    """
    import torch

    if device == "cpu":
        return "gloo"
    if device != "cuda":
        raise UsageError(f"--device {device}: each rank has a GPU of its own; give cuda")
    gpus = torch.cuda.device_count()
    if gpus < ranks:
        raise LaunchError(
            f"{ranks} ranks need as many GPUs, and this machine has {gpus}; use --ranks {gpus}, "
            "or --device cpu"
        )
    return "nccl"
