"""What a strategy costs a rank, computed without running it: bytes held and bytes sent a step."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from model.parallel import buckets, costs
from model.parallel.data_parallel import most_bytes
from model.parallel.fully_sharded import WEIGHT, is_sharded
from model.parallel.sharded_optimizer import assign
from model.parallel.shards import rows_of_a_part
from model.parallel.strategies import FULLY_SHARDED, NONE, SHARDED

ADAMW_MOMENTS: Final = 2
_STEP_BYTES: Final = 4
"""AdamW counts the steps of each parameter in a float32 tensor of its own."""


@dataclass(frozen=True)
class Account:
    """What a rank has between two steps, and what it sends in one.

    Attributes:
        parameter_bytes: of weights.
        gradient_bytes: of their gradients, from the backward pass to the optimizer.
        optimizer_bytes: of AdamW's state; where ranks differ, of the one with the most.
        communicated_bytes: sent in a step, by `model.parallel.costs`.
        calls: collectives in a step.
    """

    parameter_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    communicated_bytes: int
    calls: int


def account(
    module: nn.Module,
    strategy: str,
    ranks: int,
    *,
    bucket_size_mb: float | None = None,
    compute_dtype: torch.dtype | None = None,
) -> Account:
    """Count for one of `ALL_STRATEGIES`, with AdamW.

    Args:
        module: not wrapped; on the meta device it takes no memory.
        strategy: whose count it is.
        ranks: how many.
        bucket_size_mb: of ``bucketed``.
        compute_dtype: of ``fsdp``.
    """
    named = [(name, each) for name, each in module.named_parameters() if each.requires_grad]
    if strategy == FULLY_SHARDED:
        return _fully_sharded(module, ranks, compute_dtype)
    held = sum(each.nbytes for each in module.parameters())
    gradients = [each.nbytes for _, each in named]
    kind = "overlapped" if strategy == SHARDED else strategy
    made = [] if strategy == NONE else buckets.make(named, most_bytes(kind, bucket_size_mb))
    sent = sum(costs.all_reduce(bucket.size_bytes, ranks) for bucket in made)
    calls = len(made)
    state = _state_bytes(gradients)
    if strategy == SHARDED:
        owners = assign([each.numel() for _, each in named], [0] * ranks)
        shares: list[list[int]] = [[] for _ in range(ranks)]
        for size, owner in zip(gradients, owners, strict=True):
            shares[owner].append(size)
        state = max(map(_state_bytes, shares))
        sent += sum(costs.broadcast(size, ranks) for size in gradients)
        calls += len(gradients)
    return Account(held, sum(gradients), state, sent, calls)


def _fully_sharded(module: nn.Module, ranks: int, compute_dtype: torch.dtype | None) -> Account:
    held, gradients = 0, []
    sent, calls = 0, 0
    seen: set[int] = set()
    for layer in module.modules():
        if not is_sharded(layer):
            continue
        weight = layer._parameters[WEIGHT]
        assert weight is not None, "is_sharded asks for it"
        rows = rows_of_a_part(len(weight), ranks)
        numbers = rows * (weight.numel() // len(weight))
        if id(weight) not in seen:
            seen.add(id(weight))
            held += numbers * weight.itemsize
            if weight.requires_grad:
                gradients.append(numbers * weight.itemsize)
        size = ranks * numbers * (compute_dtype or weight.dtype).itemsize
        # The gradient of a table needs the ids, not the table.
        passes = 1 if "Embedding" in type(layer).__name__ else 2
        sent += passes * costs.all_gather(size, ranks)
        calls += passes
        if weight.requires_grad:
            sent += costs.reduce_scatter(size, ranks)
            calls += 1
    rest = [each for each in module.parameters() if id(each) not in seen]
    held += sum(each.nbytes for each in rest)
    whole = [("", each) for each in rest if each.requires_grad]
    for bucket in buckets.make(whole, None):
        sent += costs.all_reduce(bucket.size_bytes, ranks)
        calls += 1
    gradients += [each.nbytes for _, each in whole]
    return Account(held, sum(gradients), _state_bytes(gradients), sent, calls)


def _state_bytes(sizes: Iterable[int]) -> int:
    return sum(ADAMW_MOMENTS * size + _STEP_BYTES for size in sizes)
