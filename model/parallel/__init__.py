"""Training on several ranks: data parallelism, a sharded optimizer, full sharding.

Made on torch.distributed: gloo between CPUs, NCCL between GPUs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from model.parallel.strategies import STRATEGIES

if TYPE_CHECKING:
    from model.parallel.data_parallel import DataParallel as DataParallel
    from model.parallel.fully_sharded import FullyShardedDataParallel as FullyShardedDataParallel
    from model.parallel.group import ParallelError as ParallelError
    from model.parallel.group import process_group as process_group
    from model.parallel.sharded_optimizer import ShardedOptimizer as ShardedOptimizer
else:
    _MODULES: Final = {
        "DataParallel": "data_parallel",
        "FullyShardedDataParallel": "fully_sharded",
        "ParallelError": "group",
        "ShardedOptimizer": "sharded_optimizer",
        "process_group": "group",
    }

    def __getattr__(name: str) -> object:
        """Import what needs torch only when it is asked for."""
        if name in _MODULES:
            return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "STRATEGIES",
    "DataParallel",
    "FullyShardedDataParallel",
    "ParallelError",
    "ShardedOptimizer",
    "process_group",
]
