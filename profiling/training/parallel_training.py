"""Training of our own model on this rank, by one of the strategies of `model.parallel`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from model.parallel import DataParallel, FullyShardedDataParallel, ShardedOptimizer
from model.parallel.strategies import (
    BUCKET_SIZE_MB,
    FINISH,
    FULLY_SHARDED,
    NONE,
    SHARDED,
    Strategy,
)
from profiling import names
from profiling.common.settings import DTYPES, LEARNING_RATE, Settings
from profiling.training.training import Training


class ParallelTraining:
    """A rank's model, optimizer and part of the batch, ready to step.

    Under full sharding the weights are float32 and the dtype of the settings is computed in;
    otherwise all is of that dtype.

    Args:
        settings: of this rank: its own device, and its part of the batch.
        strategy: how the ranks work together.
    """

    def __init__(self, settings: Settings, strategy: Strategy) -> None:
        sharded = strategy.name == FULLY_SHARDED
        own = replace(settings, dtype=DTYPES[0]) if sharded else settings
        self.training = Training(own, optimizer=False)
        self._wrapped: DataParallel | FullyShardedDataParallel | None = None
        model = self.training.model
        if sharded:
            dtype = compute_dtype(settings)
            self._wrapped = FullyShardedDataParallel(model, dtype)
        elif strategy.name != NONE:
            kind = "overlapped" if strategy.name == SHARDED else strategy.name
            size = BUCKET_SIZE_MB if strategy.bucket_mb is None else strategy.bucket_mb
            self._wrapped = DataParallel(model, kind, bucket_size_mb=size)
        self.training.model = self._wrapped or model
        self._take_part_of_batch()
        if strategy.name == SHARDED:
            optimizer = ShardedOptimizer(
                self.training.model.parameters(), torch.optim.AdamW, lr=LEARNING_RATE
            )
            self.training.optimizer, updated = optimizer, optimizer.own_parameters
        else:
            self.training.make_optimizer()
            updated = list(self.training.model.parameters())  # under full sharding, own rows
        self.training.updated_numbers = sum(each.numel() for each in updated)

    def parts(self) -> dict[str, Callable[[], None]]:
        """Return what a step does, in order."""
        return {
            names.FORWARD: self.training.forward,
            names.BACKWARD: self.training.backward,
            FINISH: self._finish,
            names.OPTIMIZER: self.training.update,
        }

    def step(self) -> None:
        """Run all parts of a step once."""
        for part in self.parts().values():
            part()

    def held_bytes(self) -> dict[str, int]:
        """Return the bytes of the parameters, gradients and optimizer state there are now."""
        parameters = list(self.training.model.parameters())
        gradients = [each.grad for each in parameters if each.grad is not None]
        assert self.training.optimizer is not None, "made with the model"
        states = self.training.optimizer.state.values()
        state = [value for each in states for value in each.values() if isinstance(value, Tensor)]
        return {
            "parameter_bytes": sum(map(_bytes, parameters)),
            "gradient_bytes": sum(map(_bytes, gradients)),
            "optimizer_bytes": sum(map(_bytes, state)),
        }

    def _finish(self) -> None:
        if self._wrapped is not None:
            self._wrapped.finish_gradient_synchronization()

    def _take_part_of_batch(self) -> None:
        """Give this rank sequences of its own: the model has made the same on all of them."""
        inputs, vocabulary = self.training.inputs, self.training.settings.config.vocab_size
        generator = torch.Generator().manual_seed(self.training.settings.seed + dist.get_rank())
        shape = (len(inputs), inputs.shape[1] + 1)
        tokens = torch.randint(0, vocabulary, shape, generator=generator).to(inputs.device)
        self.training.inputs = tokens[:, :-1].contiguous()
        self.training.targets = tokens[:, 1:].contiguous()


def compute_dtype(settings: Settings) -> torch.dtype | None:
    """Return the dtype that full sharding computes in; None is that of the weights."""
    return None if settings.dtype == DTYPES[0] else getattr(torch, settings.dtype)


def _bytes(tensor: Any) -> int:
    return int(tensor.numel() * tensor.element_size())
