"""Models that are sharded in tests, and how they and their equals on one process are trained."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from model import TransformerLM
from model.parallel import DataParallel, FullyShardedDataParallel
from tests.made.parallel.cases import TINY, Toy, backward, batch, loss_of, parameters


class Linear(nn.Module):
    """Somebody's own layer: no bias, its weight used in a product of its own."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * inputs**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("...i,oi->...o", x, self.weight)


class Embedding(nn.Module):
    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, width))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.weight[tokens]


class Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        normal = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-5) * self.weight
        return normal.to(x.dtype)


class Own(nn.Module):
    """A model of such layers, whose rows do not come out even."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = Embedding(21, 16)
        self.norm1 = Norm(16)
        self.linear1 = Linear(16, 33)
        self.norm2 = Norm(33)
        self.linear2 = Linear(33, 16)
        self.lm_head = Linear(16, 21)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.linear1(self.norm1(self.embedding(tokens)))
        result: Tensor = self.lm_head(self.linear2(self.norm2(torch.relu(x))))
        return result


class Cast(nn.Module):
    """What half precision is to compute, on one process: weights cast by autograd itself."""

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.module = module
        self.dtype = dtype

    def forward(self, tokens: Tensor) -> Tensor:
        cast = {
            name: each.to(self.dtype) if "norm" not in name else each
            for name, each in self.module.named_parameters()
        }
        result: Tensor = torch.func.functional_call(self.module, cast, (tokens,))
        return result


MODELS: tuple[Callable[[], nn.Module], ...] = (Own, Toy, lambda: TransformerLM(TINY))


def sgd(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, part: Callable[[Tensor], Tensor]
) -> None:
    for step in range(5):
        optimizer.zero_grad()
        inputs, targets = batch(step)
        backward(loss_of(model, part(inputs), part(targets)))
        if isinstance(model, (DataParallel, FullyShardedDataParallel)):
            model.finish_gradient_synchronization()
        optimizer.step()


def whole(tensor: Tensor) -> Tensor:
    return tensor


def trained(
    start: nn.Module, part: Callable[[Tensor], Tensor], **options: Any
) -> dict[str, Tensor]:
    model = FullyShardedDataParallel(deepcopy(start), **options)
    train(model, sgd(model), part)
    found = model.gather_full_params()
    return {name: found[name] for name, _ in start.named_parameters()}


def trained_alone(start: nn.Module) -> dict[str, Tensor]:
    model = deepcopy(start)
    train(model, sgd(model), whole)
    return parameters(model)
