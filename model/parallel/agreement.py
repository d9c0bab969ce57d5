"""What the ranks must have in common before they train: the same parameters, with the same values.

Ranks whose models differ would add up unlike things, or wait for each other for ever. So the
shapes are compared first, and then everybody takes the values of rank 0.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn

from model.parallel.collectives import Group, broadcast
from model.parallel.group import ParallelError

Line = tuple[str, str]
"""A thing the ranks must agree on, and what it is here."""


def describe(tensor: Tensor) -> str:
    """Return shape, dtype and whether it is trained, in words."""
    shape = " x ".join(map(str, tensor.shape)) or "a number"
    frozen = "" if tensor.requires_grad else ", frozen"
    return f"{shape} {str(tensor.dtype).removeprefix('torch.')}{frozen}"


def signature(module: nn.Module, options: Mapping[str, object]) -> list[Line]:
    """Return what every rank must have alike: options, parameters and buffers, in order.

    A tied parameter comes once for each of its names, as the one it is tied to.
    """
    lines = [(f"the option {name}", repr(value)) for name, value in options.items()]
    first: dict[int, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        same = first.setdefault(id(parameter), name)
        lines.append((name, describe(parameter) if same == name else f"tied to {same}"))
    lines += [(name, f"buffer, {describe(buffer)}") for name, buffer in module.named_buffers()]
    return lines


def check(mine: Sequence[Line], group: Group = None) -> None:
    """Compare what each rank has; all of them must call this.

    Raises:
        ParallelError: they differ; the line, the same on every rank, names the first difference.
    """
    everyone: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(everyone, list(mine), group=group)
    for rank, theirs in enumerate(everyone):
        if found := _difference(everyone[0], theirs):
            name, here, there = found
            raise ParallelError(
                f"the ranks have different models: {name} is {here} on rank 0 and {there} on rank "
                f"{rank}; build the same model on every rank"
            )


def _difference(first: Sequence[Line], other: Sequence[Line]) -> tuple[str, str, str] | None:
    """Return the first thing that differs, and what it is on either side."""
    ours, theirs = dict(first), dict(other)
    for name in [*ours, *theirs]:
        here, there = ours.get(name, "missing"), theirs.get(name, "missing")
        if here != there:
            return name, here, there
    if list(ours) != list(theirs):
        return "the order of the parameters", " ".join(ours), " ".join(theirs)
    return None


def share_module(module: nn.Module, group: Group = None) -> None:
    """Give every rank the parameters and buffers of rank 0, frozen ones too."""
    tensors = (*module.parameters(), *module.buffers())
    for pending in [broadcast(tensor.detach(), 0, group) for tensor in tensors]:
        pending.wait()
