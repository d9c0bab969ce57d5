"""Gradients put together to be reduced in one call."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.parallel.group import ParallelError

MEGABYTE = 10**6

Named = tuple[str, nn.Parameter]


@dataclass(frozen=True)
class Bucket:
    """Parameters of one dtype on one device whose gradients travel together.

    Attributes:
        members: names and parameters, in the order they lie in the flat tensor.
    """

    members: tuple[Named, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all gradients."""
        return sum(parameter.nbytes for _, parameter in self.members)

    def collect(self) -> Tensor:
        """Return the gradients as one flat tensor; that of a lone member itself, uncopied.

        A gradient that is missing counts as zeros.

        Raises:
            ParallelError: a gradient is sparse.
        """
        gradients = [_gradient(name, parameter) for name, parameter in self.members]
        if len(gradients) == 1:
            return gradients[0]
        return torch.cat([gradient.reshape(-1) for gradient in gradients])

    def distribute(self, flat: Tensor) -> None:
        """Make the parts of a flat tensor the gradients; they stay views of it."""
        if len(self.members) == 1:
            self.members[0][1].grad = flat
            return
        start = 0
        for _, parameter in self.members:
            end = start + parameter.numel()
            parameter.grad = flat[start:end].view(parameter.shape)
            start = end


def make(parameters: Sequence[Named], most_bytes: float | None) -> list[Bucket]:
    """Fill buckets with the last parameter first, as the backward pass gets to them.

    Args:
        parameters: with names, in the order of the forward pass; frozen ones left out.
        most_bytes: of one bucket, which a larger parameter has for itself; 0 gives every
            parameter its own, None puts no bound.

    >>> toy = [(name, nn.Parameter(torch.empty(n))) for name, n in zip("abc", [100, 500, 250])]
    >>> [[name for name, _ in bucket.members] for bucket in make(toy, 2500)]
    [['c'], ['b', 'a']]
    """
    made: list[list[Named]] = []
    room = 0.0
    for name, parameter in reversed(parameters):
        size = parameter.nbytes
        alike = bool(made) and _kind(made[-1][-1][1]) == _kind(parameter)
        if alike and size <= room:
            made[-1].append((name, parameter))
            room -= size
        else:
            made.append([(name, parameter)])
            room = (float("inf") if most_bytes is None else most_bytes) - size
    return [Bucket(tuple(members)) for members in made]


def _kind(tensor: Tensor) -> tuple[torch.dtype, torch.device]:
    return tensor.dtype, tensor.device


def _gradient(name: str, parameter: nn.Parameter) -> Tensor:
    gradient = parameter.grad
    if gradient is None:
        return torch.zeros_like(parameter, memory_format=torch.contiguous_format).detach()
    if gradient.layout != torch.strided:
        raise ParallelError(
            f"the gradient of {name} is sparse, and only dense ones are reduced; build its "
            "embedding with sparse=False"
        )
    return gradient
