"""Training on several ranks: data parallelism, a sharded optimizer, full sharding.

Made on torch.distributed: gloo between CPUs, NCCL between GPUs.
"""

from model.parallel.data_parallel import STRATEGIES, DataParallel
from model.parallel.fully_sharded import FullyShardedDataParallel
from model.parallel.group import ParallelError, process_group
from model.parallel.sharded_optimizer import ShardedOptimizer

__all__ = [
    "STRATEGIES",
    "DataParallel",
    "FullyShardedDataParallel",
    "ParallelError",
    "ShardedOptimizer",
    "process_group",
]
