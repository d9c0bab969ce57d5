"""When a fully sharded weight is whole: gathered before its use, two ahead, and dropped after."""

import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.checkpoint import checkpoint

from model import TransformerLM
from model.parallel import FullyShardedDataParallel, costs
from model.parallel.shards import AHEAD, Shard
from tests.made.parallel.cases import TINY, backward, batch, case, loss_of, own, ranks, watched

SETTLING = 50


def weakly(tensor: Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]


def gone(storage: StorageWeakRef) -> bool:
    return bool(storage.expired())  # type: ignore[no-untyped-call]


class Detours(nn.Module):
    """Runs its layers in the order it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(4))

    def forward(self, x: Tensor, way: tuple[int, ...]) -> Tensor:
        for index in way:
            x = torch.tanh(self.layers[index](x))
        return x


@case
def weights_are_gathered_for_each_pass_and_gradients_scattered_once() -> None:
    start = TransformerLM(TINY)
    model = FullyShardedDataParallel(start)
    weights = 2 * (4 * 16 * 16 + 3 * 16 * 24) + 33 * 16  # the head, without the embedding
    padded = 34 * 16 - 33 * 16
    for step in range(2):
        with watched() as watcher:
            backward(loss_of(model, *map(own, batch(step))))
            model.finish_gradient_synchronization()
        linears = 2 * 7 + 1
        names = watcher.names
        assert names.count("all_gather") == 2 * linears + 1
        assert names.count("reduce_scatter") == linears + 1
        assert names.count("all_reduce") == 1
        assert names[-1] == "all_reduce"
        moved = {
            name: sum(size for other, size in watcher.launches if other == name)
            for name in set(names)
        }
        gathered = 4 * (2 * (weights + padded) + 34 * 16)
        assert moved["all_gather"] == costs.all_gather(gathered, ranks())
        scattered = 4 * (weights + padded + 34 * 16)
        assert moved["reduce_scatter"] == costs.reduce_scatter(scattered, ranks())
        assert moved["all_reduce"] == costs.all_reduce(4 * 5 * 16, ranks())


class Whole:
    """Weights that have been gathered, and how many there were at once."""

    def __init__(self) -> None:
        self.gathers: list[str] = []
        self.limit = 0
        self.most = 0
        self._storages: list[StorageWeakRef] = []

    def gather(self, shard: Shard, original: Callable[[Shard], Any]) -> Any:
        self.gathers.append(shard.name)
        pending = original(shard)
        self._storages.append(weakly(pending._result))
        self.most = max(self.most, self.alive())
        return pending

    def alive(self) -> int:
        # A thread of gloo's may let go of a tensor a moment after its work is done.
        for _ in range(SETTLING):
            self._storages = [each for each in self._storages if not gone(each)]
            if len(self._storages) <= self.limit:
                break
            time.sleep(0.01)
        return len(self._storages)


@case
def at_most_three_weights_are_whole_and_none_after_a_pass() -> None:
    model = FullyShardedDataParallel(TransformerLM(TINY))
    original = Shard.gather
    for step in range(3):
        seen = Whole()
        most = 1 if step == 0 else 1 + AHEAD  # the first time nobody knows what comes next

        def gather(shard: Shard, seen: Whole = seen) -> Any:
            return seen.gather(shard, original)

        seen.limit = most
        with patch.object(Shard, "gather", gather):
            loss = loss_of(model, *map(own, batch(step)))
            seen.limit = 0
            assert seen.alive() == 0
            seen.limit = most
            backward(loss)
            seen.limit = 0
            assert seen.alive() == 0
        assert seen.most == most, (step, seen.most)
        ordered = [name for name, _ in model.module.named_parameters() if "norm" not in name]
        assert seen.gathers[:16] == ordered
        assert seen.gathers[16] == "lm_head.weight"
        assert len(seen.gathers) == 16 + 15
        model.finish_gradient_synchronization()


@case
def another_way_than_the_last_is_taken_as_well() -> None:
    start = Detours()
    plain, model = deepcopy(start), FullyShardedDataParallel(deepcopy(start))
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    for way in ((0, 1, 2, 3), (0, 1, 2, 3), (0, 2, 1), (3, 3, 0), (0,), (0, 1, 2, 3, 0)):
        for each in (plain, model):
            backward(each(x, way).sum())
        model.finish_gradient_synchronization()
        with torch.no_grad():
            assert torch.equal(model(x, (2, 1)), plain(x, (2, 1)))
    theirs = dict(plain.named_parameters())
    for name, ours in model.module.named_parameters():
        expected = theirs[name].grad
        assert expected is not None
        mine = own(expected) if name.endswith("weight") else expected
        torch.testing.assert_close(ours.grad, mine)


@case
def a_layer_that_nobody_runs_has_no_gradient() -> None:
    for find_unused, biases in ((False, [False] * 3), (True, [None] * 3)):
        start = Detours()
        model = FullyShardedDataParallel(start, find_unused=find_unused)
        backward(model(torch.ones(2, 6), (0,)).sum())
        model.finish_gradient_synchronization()
        weights, others = (
            list(start.layers.parameters())[::2],
            list(start.layers.parameters())[1::2],
        )
        assert [each.grad is not None for each in weights] == [True, False, False, False]
        assert others[0].grad is not None
        found = [None if each.grad is None else bool(each.grad.any()) for each in others[1:]]
        assert found == biases


def noting(kept: list[StorageWeakRef]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def note(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        kept.append(weakly(given[0]))

    return note


@case
def checkpointing_recomputes_with_gathered_weights_and_keeps_no_inputs() -> None:
    class Checkpointed(Detours):
        def forward(self, x: Tensor, way: tuple[int, ...]) -> Tensor:
            result = checkpoint(super().forward, x, way, use_reentrant=False)
            assert isinstance(result, Tensor)
            return result

    start = Detours()
    again = Checkpointed()
    again.load_state_dict(start.state_dict())
    model = FullyShardedDataParallel(again)
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(1), requires_grad=True)
    for _ in range(2):
        start.zero_grad()
        model.zero_grad()
        backward(start(x, (0, 1, 2, 3)).sum())
        kept: list[StorageWeakRef] = []
        hook = again.layers[2].register_forward_pre_hook(noting(kept))
        result = model(x, (0, 1, 2, 3))
        hook.remove()
        assert gone(kept.pop())
        backward(result.sum())
        model.finish_gradient_synchronization()
        for (name, ours), theirs in zip(again.named_parameters(), start.parameters(), strict=True):
            assert theirs.grad is not None
            mine = own(theirs.grad) if name.endswith("weight") else theirs.grad
            torch.testing.assert_close(ours.grad, mine)
