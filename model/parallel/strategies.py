"""How ranks train together: the names of the strategies, which are known without torch."""

from dataclasses import dataclass
from typing import Final

BACKENDS: Final = ("gloo", "nccl")
"""What ranks communicate by: between CPUs, and between GPUs."""

NONE: Final = "none"
STRATEGIES: Final = ("naive", "flat", "overlapped", "bucketed")
BUCKETED: Final = STRATEGIES[-1]
SHARDED: Final = "sharded"
FULLY_SHARDED: Final = "fsdp"
ALL_STRATEGIES: Final = (NONE, *STRATEGIES, SHARDED, FULLY_SHARDED)
"""Each rank by itself; those of `DataParallel`; its ``overlapped`` with a `ShardedOptimizer`;
`FullyShardedDataParallel`."""

BUCKET_SIZE_MB: Final = 25.0
"""As in torch's DistributedDataParallel, which counts it in MiB."""

FINISH: Final = "finish"
"""The part of a step that waits for gradients still on their way; no range of its own."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """A strategy of data parallel training.

    Attributes:
        name: one of `ALL_STRATEGIES`.
        bucket_mb: of ``bucketed``; None for all others.
    """

    name: str
    bucket_mb: float | None = None

    def __str__(self) -> str:
        return self.name if self.bucket_mb is None else f"{self.name} {self.bucket_mb:g} MB"
