"""The sharded optimizer on every rank, against the plain one and torch's own."""

import warnings
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adagrad, AdamW, Optimizer
from torch.optim.lr_scheduler import StepLR

from model import TransformerLM
from model.parallel import DataParallel, ParallelError, ShardedOptimizer
from tests.made.parallel.cases import (
    TINY,
    Toy,
    assert_equal,
    backward,
    batch,
    case,
    loss_of,
    own,
    parameters,
    rank,
    ranks,
    same_everywhere,
    watched,
)

ADAMW: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.1, "betas": (0.9, 0.999), "eps": 1e-8}


def step_both(model: nn.Module, optimizer: Optimizer, steps: int, first: int = 0) -> None:
    """Train on the same batch everywhere, so that gradients are the same without averaging."""
    for step in range(first, first + steps):
        optimizer.zero_grad()
        backward(loss_of(model, *batch(step)))
        optimizer.step()


def plain_and_sharded(
    start: nn.Module, kind: type[Optimizer], **options: Any
) -> tuple[nn.Module, nn.Module, ShardedOptimizer]:
    plain, sharded = deepcopy(start), deepcopy(start)
    step_both(plain, kind(plain.parameters(), **options), 10)
    optimizer = ShardedOptimizer(sharded.parameters(), kind, **options)
    step_both(sharded, optimizer, 10)
    return plain, sharded, optimizer


@case
def ten_steps_are_those_of_the_plain_optimizer_to_the_bit() -> None:
    for start in (Toy(), TransformerLM(TINY)):
        for kind, options in (
            (AdamW, ADAMW),
            (SGD, {"lr": 0.1, "momentum": 0.9}),
            (Adagrad, {"lr": 0.1}),  # makes its state at once
        ):
            plain, sharded, _ = plain_and_sharded(start, kind, **options)
            assert_equal(parameters(sharded), parameters(plain))


def state_numbers(optimizer: Optimizer) -> int:
    states = optimizer.state.values()
    return sum(t.numel() for state in states for t in state.values() if t.dim())


@case
def each_rank_has_about_its_share_of_the_state() -> None:
    start = TransformerLM(TINY)
    plain = deepcopy(start)
    everything = AdamW(plain.parameters(), **ADAMW)
    step_both(plain, everything, 1)
    _, _, optimizer = plain_and_sharded(start, AdamW, **ADAMW)
    mine = torch.tensor(state_numbers(optimizer))
    total = mine.clone()
    torch.distributed.all_reduce(total)
    assert total == state_numbers(everything) == 2 * TINY.parameter_count
    assert abs(mine / total - 1 / ranks()) < 0.02


@case
def it_is_zero_redundancy() -> None:
    start = TransformerLM(TINY)
    theirs, ours = deepcopy(start), deepcopy(start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing it, torch warns of itself
        from torch.distributed.optim import ZeroRedundancyOptimizer

        zero = ZeroRedundancyOptimizer(theirs.parameters(), AdamW, **ADAMW)
        step_both(theirs, zero, 10)
    step_both(ours, ShardedOptimizer(ours.parameters(), AdamW, **ADAMW), 10)
    assert_equal(parameters(ours), parameters(theirs))


@case
def it_goes_with_data_parallelism() -> None:
    plain, sharded = (DataParallel(deepcopy(Toy()), "bucketed") for _ in range(2))
    sharded.load_state_dict(plain.state_dict())
    for model, optimizer in (
        (plain, AdamW(plain.parameters(), **ADAMW)),
        (sharded, ShardedOptimizer(sharded.parameters(), AdamW, **ADAMW)),
    ):
        for step in range(5):
            optimizer.zero_grad()
            backward(loss_of(model, *map(own, batch(step))))
            model.finish_gradient_synchronization()
            optimizer.step()
    assert_equal(parameters(sharded), parameters(plain))


def groups_of(model: Toy) -> list[dict[str, Any]]:
    decayed: Iterator[nn.Parameter] = model.up.parameters()
    return [
        {"params": decayed, "lr": 0.05},
        {"params": [model.down.weight], "weight_decay": 0.3},
        {"params": model.embedding.weight},
    ]


@case
def groups_and_schedulers_hold_for_the_wrapped_optimizer() -> None:
    start = Toy()
    found = []
    for make in (AdamW, sharded_adamw):
        model = deepcopy(start)
        optimizer = make(groups_of(model), lr=0.1)
        schedule = StepLR(optimizer, step_size=1, gamma=0.5)
        step_both(model, optimizer, 1)
        optimizer.add_param_group({"params": list(model.norm.parameters()), "lr": 0.01})
        for step in range(3):
            schedule.step()
            step_both(model, optimizer, 1, step)
        assert [group["lr"] for group in optimizer.param_groups][1] == 0.1 * 0.5**3
        assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)
        found.append(parameters(model))
    assert_equal(*found)


def sharded_adamw(params: Any, **options: Any) -> ShardedOptimizer:
    return ShardedOptimizer(params, AdamW, **options)


@case
def named_parameters_may_be_given() -> None:
    plain, sharded = Toy(), Toy()
    sharded.load_state_dict(plain.state_dict())
    step_both(plain, AdamW(plain.named_parameters(), **ADAMW), 3)
    step_both(sharded, ShardedOptimizer(sharded.named_parameters(), AdamW, **ADAMW), 3)
    assert_equal(parameters(sharded), parameters(plain))


@case
def the_whole_state_goes_on_in_a_plain_optimizer_or_another_sharded_one() -> None:
    start = Toy()
    plain, sharded, optimizer = plain_and_sharded(start, AdamW, **ADAMW)
    kept = optimizer.consolidated_state_dict(to=1)
    assert (kept is None) == (rank() != 1)
    everyone: list[Any] = [kept]
    torch.distributed.broadcast_object_list(everyone, src=1)
    step_both(sharded, optimizer, 3, first=10)
    for make in (AdamW, sharded_adamw):
        model = deepcopy(plain)
        other = make(model.parameters(), lr=7.0)
        other.load_state_dict(deepcopy(everyone[0]))  # torch's own takes the tensors themselves
        assert other.param_groups[0]["lr"] == 0.1
        step_both(model, other, 3, first=10)
        assert_equal(parameters(model), parameters(sharded))
    with pytest.raises(ParallelError, match=r"call consolidated_state_dict\(\) on every rank"):
        optimizer.state_dict()
    with pytest.raises(ValueError, match="of other parameter groups"):
        sharded_adamw(Branchless().parameters()).load_state_dict(everyone[0])


class Branchless(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.only = nn.Linear(3, 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.only(x)
        return result


@case
def a_rank_may_have_nothing_to_keep() -> None:
    start = Branchless()
    found = []
    for make in (AdamW, sharded_adamw):
        model = deepcopy(start)
        optimizer = make(model.parameters(), lr=0.1)

        def closure(model: nn.Module = model, optimizer: Optimizer = optimizer) -> float:
            optimizer.zero_grad()
            loss = model(torch.ones(4, 3)).square().sum()
            backward(loss)
            return float(loss.detach())

        losses = [optimizer.step(closure) for _ in range(3)]
        found.append(parameters(model) | {"losses": torch.tensor(losses)})
    assert_equal(*found)
    kept = torch.tensor(len(optimizer.state))
    torch.distributed.all_reduce(kept)
    assert kept == 1


@case
def only_what_is_trained_is_passed_on() -> None:
    model = Toy()
    optimizer = sharded_adamw(model.parameters())
    backward(loss_of(model, *batch(0)))
    with watched() as watcher:
        optimizer.step()
    sizes = [4 * each.numel() for each in model.parameters() if each.requires_grad]
    assert watcher.launches == [("broadcast", size) for size in sizes]
    assert all(same_everywhere(each) for each in model.parameters())


def refused(make: Callable[[], object]) -> str:
    with pytest.raises(ParallelError) as caught:
        make()
    return str(caught.value)


@case
def different_parameters_are_refused() -> None:
    rows = 2 + rank()
    said = refused(lambda: sharded_adamw([nn.Parameter(torch.zeros(rows, 3))]))
    assert "parameter 0 of group 0 is 2 x 3 float32 on rank 0 and 3 x 3 float32 on rank 1" in said
    extra = [nn.Parameter(torch.zeros(1)) for _ in range(1 + rank())]
    assert "parameter 1 of group 0 is missing on rank 0" in refused(lambda: sharded_adamw(extra))
    with pytest.raises(TypeError, match="as a list"):
        sharded_adamw(nn.Parameter(torch.zeros(3)))
    with pytest.raises(ValueError, match="empty parameter list"):
        sharded_adamw([])
