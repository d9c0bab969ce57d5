"""Data parallelism on every rank, against one process and torch's own DistributedDataParallel."""

import warnings
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from model import TransformerLM
from model.parallel import STRATEGIES, DataParallel, ParallelError, costs
from tests.made.parallel.cases import (
    TINY,
    Branches,
    Toy,
    assert_close,
    assert_equal,
    backward,
    batch,
    case,
    gradients,
    loss_of,
    own,
    parameters,
    rank,
    ranks,
    same_everywhere,
    watched,
)

# Of the order in which a sum over the batch is taken: one process adds up 12 sequences in one
# product, two ranks 6 each. float32 keeps 2^-24 of each sum; five steps of momentum add some.
OF_A_BATCH = {"rtol": 1e-5, "atol": 1e-6}


def toy() -> nn.Module:
    return Toy()


def transformer() -> nn.Module:
    return TransformerLM(TINY)


def sgd(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)


def adamw(module: nn.Module) -> torch.optim.Optimizer:
    # A gradient that is all rounding moves a weight by the whole rate: eps keeps it still.
    return torch.optim.AdamW(module.parameters(), lr=1e-3, eps=1e-4)


Make = Callable[[nn.Module], torch.optim.Optimizer]


def train(
    model: nn.Module,
    finish: Callable[[], None] = lambda: None,
    part: Callable[[Tensor], Tensor] = own,
    make: Make = sgd,
    steps: int = 5,
) -> None:
    optimizer = make(model)
    for step in range(steps):
        optimizer.zero_grad()
        inputs, targets = batch(step)
        backward(loss_of(model, part(inputs), part(targets)))
        finish()
        optimizer.step()


def trained(make: Callable[[], nn.Module], **options: Any) -> dict[str, Tensor]:
    torch.manual_seed(rank())  # rank 0's are taken
    model = DataParallel(make(), **options)

    def finish() -> None:
        model.finish_gradient_synchronization()
        model.start_batch()  # of the next: there is nothing to forget

    train(model, finish)
    return parameters(model.module)


def trained_by_torch(make: Callable[[], nn.Module]) -> dict[str, Tensor]:
    torch.manual_seed(rank())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = DistributedDataParallel(make())
    train(model)
    return parameters(model.module)


def trained_alone(
    make: Callable[[], nn.Module], optimizer: Make = sgd, steps: int = 5
) -> dict[str, Tensor]:
    torch.manual_seed(0)
    model = make()
    train(model, part=lambda whole: whole, make=optimizer, steps=steps)
    return parameters(model)


@case
def every_strategy_trains_as_one_process_does_on_the_whole_batch() -> None:
    for make in (toy, transformer):
        alone = trained_alone(make)
        for strategy in STRATEGIES:
            assert_close(trained(make, strategy=strategy), alone, **OF_A_BATCH)


@case
def all_strategies_equal_torchs_own_to_the_bit() -> None:
    # Of two numbers the sum is the same in either order, so two ranks leave no room.
    for make in (toy, transformer):
        theirs = trained_by_torch(make)
        for strategy in STRATEGIES:
            assert_equal(trained(make, strategy=strategy), theirs)
        for size in (0.0001, 0.001, 1.0, None):
            assert_equal(trained(make, strategy="bucketed", bucket_size_mb=size), theirs)


@case
def everybody_starts_with_what_rank_0_has() -> None:
    torch.manual_seed(100 + rank())
    module = Toy()
    module.seen.fill_(rank() + 1)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    model = DataParallel(module)
    assert all(same_everywhere(value) for value in model.module.state_dict().values())
    assert module.seen.tolist() == [1.0, 1.0, 1.0]
    unchanged = torch.equal(before["frozen.weight"], module.frozen.weight)
    assert unchanged == (rank() == 0)


def launched(strategy: str, **options: Any) -> tuple[list[tuple[str, int]], int]:
    """Return what a step launches, and how many of them before the backward pass was over."""
    torch.manual_seed(0)
    model = DataParallel(Toy(), strategy, **options)
    with watched() as watcher:
        inputs, targets = batch(0)
        backward(loss_of(model, own(inputs), own(targets)))
        early = len(watcher.launches)
        assert watcher.waits == 0
        model.finish_gradient_synchronization()
    assert watcher.waits == len(watcher.launches)
    return watcher.launches, early


@case
def each_trained_parameter_is_reduced_once() -> None:
    # embedding (tied) 126, up 66 + 11, norm 11 + 11, down 66; frozen ones not at all
    sizes = [126, 66, 11, 11, 11, 66]
    expected = [("all_reduce", costs.all_reduce(4 * size, ranks())) for size in reversed(sizes)]
    assert launched("naive") == (expected, 0)
    assert launched("overlapped") == (expected, 6)


@case
def one_tensor_or_a_few_buckets_take_as_many_calls() -> None:
    whole = costs.all_reduce(4 * 291, ranks())
    assert launched("flat") == ([("all_reduce", whole)], 0)
    assert launched("bucketed", bucket_size_mb=None) == ([("all_reduce", whole)], 1)
    # 400 bytes: down, both of norm and up's bias, 396; up's weight; the embedding is larger
    sizes = [66 + 11 + 11 + 11, 66, 126]
    expected = [("all_reduce", costs.all_reduce(4 * size, ranks())) for size in sizes]
    assert launched("bucketed", bucket_size_mb=0.0004) == (expected, 3)


def branch_gradients(model: Any, way: int, finish: Callable[[], None]) -> dict[str, Tensor | None]:
    torch.manual_seed(7 + rank())
    backward(model(torch.randn(3, 4), way).square().sum())
    finish()
    return gradients(model.module)


@case
def ranks_may_take_different_ways() -> None:
    torch.manual_seed(0)
    start = Branches()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = DistributedDataParallel(deepcopy(start), find_unused_parameters=True)
    expected = branch_gradients(theirs, rank(), lambda: None)
    for strategy in STRATEGIES:
        for find_unused in (False, True):
            model = DataParallel(
                deepcopy(start), strategy, bucket_size_mb=0.0001, find_unused=find_unused
            )
            finish = model.finish_gradient_synchronization
            for name, ours in branch_gradients(model, rank(), finish).items():
                other = expected[name]
                if other is None:  # way 2, which nobody takes
                    assert name.startswith("ways.2.")
                    assert ours is None if find_unused else not ours.any()  # type: ignore[union-attr]
                else:
                    assert ours is not None
                    assert torch.equal(ours, other), (strategy, name)


@case
def gradients_are_added_up_before_they_are_averaged() -> None:
    torch.manual_seed(0)
    start = Toy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = DistributedDataParallel(deepcopy(start))
    models = [DataParallel(deepcopy(start), strategy) for strategy in STRATEGIES]
    every: list[Any] = [theirs, *models]
    for model in every:
        with watched() as watcher, model.no_sync():
            for step in (1, 2):
                backward(loss_of(model, *map(own, batch(step))))
        assert watcher.launches == []
        backward(loss_of(model, *map(own, batch(3))))
        if isinstance(model, DataParallel):
            model.finish_gradient_synchronization()
    for model in models:
        for name, gradient in gradients(model.module).items():
            other = gradients(theirs.module)[name]
            assert gradient is other is None or torch.equal(gradient, other), name  # type: ignore[arg-type]


@case
def a_second_backward_pass_is_refused_while_the_first_is_being_averaged() -> None:
    start = Toy()
    model = DataParallel(start)
    backward(loss_of(model, *map(own, batch(1))))
    with pytest.raises(ParallelError, match=r"down.weight got a second gradient .* no_sync\(\)"):
        backward(loss_of(model, *map(own, batch(2))))
    model.start_batch()
    model.zero_grad()
    backward(loss_of(model, *map(own, batch(1))))
    model.finish_gradient_synchronization()
    assert same_everywhere(start.down.weight.grad)


@case
def a_step_may_be_finished_twice() -> None:
    model = DataParallel(Toy())
    for _ in range(2):
        backward(loss_of(model, *map(own, batch(1))))
        model.finish_gradient_synchronization()
    theirs = DataParallel(deepcopy(model.module))
    theirs.zero_grad()
    backward(loss_of(theirs, *map(own, batch(1))))
    theirs.finish_gradient_synchronization()
    for name, gradient in gradients(model.module).items():
        if gradient is not None:
            twice = 2 * gradients(theirs.module)[name]  # type: ignore[operator]
            torch.testing.assert_close(gradient, twice)


def different(make: Callable[[], nn.Module], **options: Any) -> str:
    with pytest.raises(ParallelError) as caught:
        DataParallel(make(), **options)
    return str(caught.value)


@case
def different_models_are_refused_by_the_name_of_what_differs() -> None:
    first = rank() == 0
    for make, said in (
        (lambda: nn.Linear(4, 3 if first else 5), "weight is 3 x 4 float32 on rank 0 and 5 x 4"),
        (lambda: nn.Linear(4, 3, bias=first), "bias is 3 float32 on rank 0 and missing on rank 1"),
        (lambda: nn.Linear(4, 3, bias=not first), "bias is missing on rank 0 and 3 float32 on"),
        (
            lambda: nn.Linear(4, 3).requires_grad_(first),
            "weight is 3 x 4 float32 on rank 0 and 3 x",
        ),
        (lambda: nn.Linear(4, 3).double() if first else nn.Linear(4, 3), "3 x 4 float64 on rank 0"),
    ):
        message = different(make)
        assert message.startswith("the ranks have different models: ")
        assert said in message
        assert message.endswith("build the same model on every rank")
    assert "the option strategy is 'flat' on" in different(
        lambda: nn.Linear(4, 3), strategy="flat" if first else "naive"
    )


@case
def a_sparse_gradient_is_refused_by_name() -> None:
    model = DataParallel(nn.Sequential(nn.Embedding(5, 3, sparse=True)))
    with pytest.raises(ParallelError, match=r"the gradient of 0.weight is sparse.*sparse=False"):
        backward(model(torch.tensor([1, 2])).sum())


@case
def any_memory_layout_and_dtype_will_do() -> None:
    def make() -> nn.Module:
        model = nn.Sequential(
            nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last),  # type: ignore[call-overload]
            nn.Flatten(),
            nn.Linear(16, 2).double(),
        )
        model[1].register_forward_hook(lambda *given: given[2].double())
        return model

    torch.manual_seed(0)
    start = make()
    inputs = torch.randn(2 * ranks(), 3, 3, 3, generator=torch.Generator().manual_seed(1))
    backward(start(inputs).square().mean())
    for strategy in STRATEGIES:
        torch.manual_seed(0)
        model = DataParallel(make(), strategy)
        backward(model(own(inputs)).square().mean())
        model.finish_gradient_synchronization()
        for name, gradient in gradients(model.module).items():
            torch.testing.assert_close(gradient, gradients(start)[name])
