"""Full sharding: every rank has a part of each weight, its gradient and its optimizer state.

    model = FullyShardedDataParallel(TransformerLM(config), compute_dtype=torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters())
    loss(model(inputs), targets).backward()
    model.finish_gradient_synchronization()
    optimizer.step()

Weights of Linear and Embedding layers are gathered before a layer runs, dropped after it, gathered
again for its backward pass, and their gradients scattered, as in PyTorch FSDP (arXiv 2304.11277);
up to two layers ahead. All other parameters are on every rank.
"""

from collections import deque
from typing import Any, Final

import torch
from torch import Tensor, nn

from model.parallel.collectives import Group, Pending
from model.parallel.reducer import ReducedModule, Reducer
from model.parallel.shards import AHEAD, Prefetch, Shard, is_installed, use_whole

WEIGHT: Final = "weight"
LAYERS: Final = ("Linear", "Embedding")
"""Classes of this name, torch's own or somebody's, have their ``weight`` sharded."""

OUT_OF_PLACE: Final = "NonDynamicallyQuantizableLinear"
"""The projection in torch's MultiheadAttention, which reads its weight without running it."""


def is_sharded(module: nn.Module) -> bool:
    """Return whether a module's weight is one to shard: by its class or one it derives from."""
    named = {kind.__name__ for kind in type(module).__mro__}
    weight = module._parameters.get(WEIGHT)
    of_a_layer = bool(named.intersection(LAYERS)) and OUT_OF_PLACE not in named
    return of_a_layer and weight is not None and weight.dim() == 2


class FullyShardedDataParallel(ReducedModule):
    """A module whose large weights are spread over the ranks, row by row.

    Every rank must make it, of the same module, and ends with its part of what rank 0 has.
    Parameters stay the objects they were, tied ones too; those of sharded weights have fewer rows
    now, and gradients of that shape. A tied weight is gathered and its gradient scattered for
    each use. Frozen ones are gathered, and have no gradient.

    All ranks must run the same layers in the same order. A sharded weight that none of them uses
    keeps the gradient None (for the other parameters see ``find_unused``); one that only some use
    is an error, which the group's timeout ends. A weight must be used in the forward pass of its
    own module. Gradients of several backward passes add up; `finish_gradient_synchronization`
    comes once, before the optimizer. A copy of it (``deepcopy``) would run the original's layers.

    Args:
        module: on the device it will be trained on, whole.
        compute_dtype: weights are gathered, and sharded layers computed, in this; parameters,
            gradients and optimizer keep their own. The other parameters are not cast.
        reduce_dtype: gradients travel in this; None is the compute dtype.
        find_unused: keep the gradient None of the other parameters too where no rank used them;
            see `Reducer`.
        group: the ranks; None is all of them.

    Raises:
        ParallelError: the ranks have different modules or options.
        ValueError: it is sharded already.
    """

    def __init__(
        self,
        module: nn.Module,
        compute_dtype: torch.dtype | None = None,
        *,
        reduce_dtype: torch.dtype | None = None,
        find_unused: bool = False,
        group: Group = None,
    ) -> None:
        if any(map(is_installed, module.modules())):
            raise ValueError("the module is sharded already; wrap it once")
        options = {
            "compute_dtype": compute_dtype,
            "reduce_dtype": reduce_dtype,
            "find_unused": find_unused,
        }
        super().__init__(module, options, group)
        self._forward_order, self._backward_order = Prefetch(), Prefetch()
        self._scattering: deque[tuple[Shard, Pending]] = deque()
        self._shards: dict[nn.Parameter, Shard] = {}
        for path, layer in list(module.named_modules()):
            if is_sharded(layer):
                weight = layer._parameters[WEIGHT]
                assert weight is not None, "is_sharded asks for it"
                if weight not in self._shards:
                    name = f"{path}.{WEIGHT}".lstrip(".")
                    self._shards[weight] = Shard(name, weight, compute_dtype, reduce_dtype, group)
                use_whole(
                    *(layer, WEIGHT, self._shards[weight], compute_dtype),
                    *(self._gather, self._backward_order.take, self._reduce),
                )
        # In one call, after the backward pass: there the order is the same on all ranks.
        whole = [
            (name, each)
            for name, each in module.named_parameters()
            if each.requires_grad and each not in self._shards
        ]
        self._reducer = Reducer(whole, bucket_bytes=None, find_unused=find_unused, group=group)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module."""
        self._forward_order.begin()
        self._backward_order.begin()
        return super().forward(*args, **kwargs)

    def finish_gradient_synchronization(self) -> None:
        """Wait until every gradient is the average over the ranks; call it before the optimizer."""
        self._take_scattered(0)
        super().finish_gradient_synchronization()

    def gather_full_params(self) -> dict[str, Tensor]:
        """Return all parameters whole, by every name they have; all ranks must call this.

        They are copies, in the dtype they are trained in, fit for ``load_state_dict`` of the plain
        module.
        """
        whole: dict[nn.Parameter, Tensor] = {}
        for parameter in self.module.parameters():
            shard = self._shards.get(parameter)
            whole[parameter] = shard.gather_full() if shard else parameter.detach().clone()
        return {
            name: whole[parameter]
            for name, parameter in self.module.named_parameters(remove_duplicate=False)
        }

    def _gather(self, shard: Shard) -> Tensor:
        # A layer that runs again for its activations (checkpointing) is part of the backward pass.
        again = torch._C._current_graph_task_id() != -1
        return (self._backward_order if again else self._forward_order).take(shard)

    def _reduce(self, shard: Shard, gradient: Tensor) -> None:
        self._scattering.append((shard, shard.reduce(gradient)))
        # Each holds a whole gradient until it is over: as many as weights that are whole.
        self._take_scattered(AHEAD)

    def _take_scattered(self, left: int) -> None:
        while len(self._scattering) > left:
            shard, pending = self._scattering.popleft()
            shard.accumulate(pending.wait())
