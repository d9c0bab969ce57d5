"""A weight of which each rank has a part of the rows, made whole for as long as it is used.

Weights are asked for before they are needed, in the order they were needed last time.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar
from weakref import WeakSet

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from model.parallel.collectives import Group, Pending, all_gather, reduce_scatter

T = TypeVar("T")

Gather = Callable[["Shard"], Tensor]
"""Gives the whole of a weight: at once, or one that was asked for ahead of time."""
AHEAD: Final = 2
"""How many weights are asked for ahead of the one in use: so at most three are whole at a time."""

_installed: WeakSet[nn.Module] = WeakSet()


class Shard:
    """This rank's rows of a weight, in place of the weight.

    The parameter stays the object it was, with fewer rows: ``ceil(rows / ranks)``, the last ones
    zeros where the rows do not come out even. So an optimizer made before or after works on the
    part, and zeros stay zeros under any optimizer whose step is zero where gradients are.

    Args:
        name: of the parameter.
        parameter: with the same values on every rank.
        compute_dtype: what is gathered and computed with; None keeps the parameter's own.
        reduce_dtype: what gradients travel in.
        group: the ranks.
    """

    def __init__(
        self,
        name: str,
        parameter: nn.Parameter,
        compute_dtype: torch.dtype | None,
        reduce_dtype: torch.dtype | None,
        group: Group,
    ) -> None:
        self.name = name
        self.parameter = parameter
        self.rows = len(parameter)
        self._ranks = dist.get_world_size(group)
        self._group = group
        self._compute_dtype = compute_dtype or parameter.dtype
        self._reduce_dtype = reduce_dtype or self._compute_dtype
        part = rows_of_a_part(self.rows, self._ranks)
        own = parameter.new_zeros((part, *parameter.shape[1:]))
        first = dist.get_rank(group) * part
        kept = parameter.detach()[first : first + part]
        own[: len(kept)] = kept
        parameter.grad = None
        parameter.data = own

    def gather(self) -> Pending:
        """Start to make the weight whole, with the padding, in the compute dtype."""
        return self._gather(self._compute_dtype)

    def gather_full(self) -> Tensor:
        """Return the whole weight as it is trained, without padding; all ranks must call this."""
        return self._gather(self.parameter.dtype).wait()[: self.rows]

    def _gather(self, dtype: torch.dtype) -> Pending:
        part = self.parameter.detach().to(dtype)
        whole = part.new_empty((self._ranks * len(part), *part.shape[1:]))
        return all_gather(whole, part, self._group)

    def reduce(self, gradient: Tensor) -> Pending:
        """Start to add up the gradient of the whole weight, for this rank's rows of it."""
        missing = self._ranks * len(self.parameter) - self.rows
        whole = gradient.to(self._reduce_dtype).contiguous()
        if missing:
            whole = torch.cat([whole, whole.new_zeros((missing, *whole.shape[1:]))])
        return reduce_scatter(whole.new_empty(self.parameter.shape), whole, self._group)

    def accumulate(self, total: Tensor) -> None:
        """Add the average, of which ``total`` is the sum, to the parameter's gradient."""
        average = total.to(self.parameter.dtype).div_(self._ranks)
        if self.parameter.grad is None:
            self.parameter.grad = average
        else:
            self.parameter.grad += average


def rows_of_a_part(rows: int, ranks: int) -> int:
    """Return how many rows each rank has, padding included.

    >>> rows_of_a_part(10, 4)
    3
    """
    return math.ceil(rows / ranks)


class _Whole(Function):
    """The whole weight, as something autograd knows: its gradient goes to `reduce`."""

    @staticmethod
    def forward(ctx: Any, _part: Tensor, whole: Tensor, reduce: Callable[[Tensor], None]) -> Tensor:
        ctx.reduce = reduce
        return whole

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, None]:
        # The part's gradient is added when it arrives, not returned: it is still on its way.
        ctx.reduce(gradients[0])
        return None, None, None


def use_whole(
    module: nn.Module,
    attribute: str,
    shard: Shard,
    compute_dtype: torch.dtype | None,
    gather: Gather,
    gather_again: Gather,
    reduce: Callable[[Shard, Tensor], None],
) -> None:
    """Make a module use a sharded weight, its ``attribute``, whole.

    The weight is gathered before each forward pass of the module, which finds the whole where it
    looks for its own. What autograd keeps of it for the backward pass is replaced by a note to
    gather it again, so the whole is freed in between. Its gradient is given to ``reduce``.
    Floating-point inputs are cast to the compute dtype.
    """
    own_forward = module.forward

    def cast(value: Any) -> Any:
        if compute_dtype and isinstance(value, Tensor) and value.is_floating_point():
            return value.to(compute_dtype)
        return value

    def forward(*args: Any, **kwargs: Any) -> Any:
        whole, to_reduce = gather(shard)[: shard.rows], partial(reduce, shard)
        attached: Tensor = _Whole.apply(shard.parameter, whole, to_reduce)  # type: ignore[no-untyped-call]
        # The module's other parameters must be cast too: a bias.
        rest = module._parameters.items() if compute_dtype else ()
        others = {name: cast(value) for name, value in rest if name != attribute}
        # An attribute of the instance is found before a parameter of the same name.
        own = {**others, attribute: attached}
        module.__dict__.update(own)
        try:
            with _Noted(attached, shard, gather_again):
                named = {key: cast(value) for key, value in kwargs.items()}
                return own_forward(*map(cast, args), **named)
        finally:
            for name in own:
                del module.__dict__[name]

    module.forward = forward
    _installed.add(module)


def is_installed(module: nn.Module) -> bool:
    """Return whether a module's weight is sharded already."""
    return module in _installed


class _Note:
    """What autograd keeps in place of a whole weight, or of a view of it."""

    def __init__(self, tensor: Tensor) -> None:
        self._layout = tensor.shape, tensor.stride(), tensor.storage_offset()

    def read(self, whole: Tensor) -> Tensor:
        return whole.as_strided(*self._layout)


class _Noted(torch.autograd.graph.saved_tensors_hooks):
    """Inside, autograd keeps a note of the whole weight, and of all else what it would have kept.

    Of the hooks for saved tensors torch asks only the innermost, so those around it (activation
    checkpointing has some) are asked from here.
    """

    def __init__(self, whole: Tensor, shard: Shard, gather_again: Gather) -> None:
        storage = whole.untyped_storage().data_ptr()
        around = torch._C._autograd._top_saved_tensors_default_hooks(False)
        keep, give = around or (_same, _same)

        def pack(tensor: Tensor) -> Any:
            if tensor.untyped_storage().data_ptr() == storage:
                return _Note(tensor)
            return keep(tensor)

        def unpack(kept: Any) -> Any:
            return kept.read(gather_again(shard)) if isinstance(kept, _Note) else give(kept)

        super().__init__(pack, unpack)


def _same(value: T) -> T:
    return value


class Prefetch:
    """The weights one kind of pass needs, in order.

    The first pass asks for each when it is needed. From the second on the next ones are asked for
    as well; where a pass takes another way than the one before, it goes on as the first did. All
    ranks must take the same way: they gather together.
    """

    def __init__(self, ahead: int = AHEAD) -> None:
        self._ahead = ahead
        self._expected: list[Shard] = []
        self._seen: list[Shard] = []
        self._coming: dict[int, Pending] = {}

    def begin(self) -> None:
        """Start a new pass; weights may have changed since the last."""
        self._drop()
        if self._seen:
            self._expected, self._seen = self._seen, []

    def take(self, shard: Shard) -> Tensor:
        """Return a whole weight, with its padding, and ask for those that came after it."""
        place = len(self._seen)
        self._seen.append(shard)
        if self._expected and self._expected[place : place + 1] != [shard]:
            self._drop()
            self._expected = []
        pending = self._coming.pop(place, None) or shard.gather()
        following = self._expected[place + 1 : place + 1 + self._ahead]
        for later, each in enumerate(following, place + 1):
            if later not in self._coming:
                self._coming[later] = each.gather()
        return pending.wait()

    def _drop(self) -> None:
        for pending in self._coming.values():
            pending.wait()
        self._coming = {}
