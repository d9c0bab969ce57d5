"""Average gradients over the ranks, bucket by bucket, during the backward pass or after it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from model.parallel import agreement, buckets
from model.parallel.collectives import Group, Pending, all_reduce
from model.parallel.group import ParallelError


class Reducer:
    """The gradients of some parameters, to be averaged.

    Buckets are launched in one fixed order, the same on all ranks, whatever order the gradients
    come in: the backend pairs calls by their order. So a bucket whose gradients are there waits
    for those before it, and what never came is launched by `finish`, as zeros.

    Args:
        parameters: with names, in the order of the forward pass, each once, none of them frozen.
        bucket_bytes: the most in one bucket; 0 gives each parameter its own, None makes one of all.
        overlap: launch from within the backward pass.
        one_by_one: wait for each bucket before the next is launched.
        find_unused: ask, with one more small all-reduce, which parameters no rank used: they
            keep the gradient None, as on a single process, and an optimizer passes them by. Else
            their gradient is zeros, and an optimizer with momentum or decay moves them. The host
            waits for the answer, on a GPU too.
        group: the ranks.
    """

    def __init__(
        self,
        parameters: Sequence[buckets.Named],
        *,
        bucket_bytes: float | None = 0,
        overlap: bool = False,
        one_by_one: bool = False,
        find_unused: bool = False,
        group: Group = None,
    ) -> None:
        self.enabled = True
        self._buckets = buckets.make(parameters, bucket_bytes)
        self._parameters = [each for bucket in self._buckets for _, each in bucket.members]
        self._one_by_one = one_by_one
        self._find_unused = find_unused
        self._group = group
        self._ranks = dist.get_world_size(group)
        self._forget()
        for index, bucket in enumerate(self._buckets if overlap else ()):
            for name, parameter in bucket.members:
                self._watch(index, name, parameter)

    @property
    def sizes_bytes(self) -> list[int]:
        """Bytes of each bucket, in the order they are launched."""
        return [bucket.size_bytes for bucket in self._buckets]

    def finish(self) -> None:
        """Launch what is not yet, and wait: afterwards all gradients are averages.

        Raises:
            RuntimeError: another rank is gone, or the group's time is up.
        """
        unused = self._ask_for_unused() if self._find_unused else None
        while self._next < len(self._buckets):
            self._launch()
            if self._one_by_one:
                self._take(len(self._pending) - 1)
        for index in range(len(self._pending)):
            self._take(index)
        if unused is not None:
            self._drop_unused(unused.wait())
        self._forget()

    def abandon(self) -> None:
        """Forget a step that was broken off, once what it launched is over."""
        for pending in self._pending:
            pending.wait()
        self._forget()

    def _forget(self) -> None:
        self._next = 0
        self._pending: list[Pending] = []
        self._taken = 0
        self._came: set[int] = set()
        self._lacking = [len(bucket.members) for bucket in self._buckets]

    def _watch(self, index: int, name: str, parameter: nn.Parameter) -> None:
        def came(_: Tensor) -> None:
            if not self.enabled:
                return
            if id(parameter) in self._came:
                raise ParallelError(
                    f"{name} got a second gradient before the first was averaged; call "
                    "finish_gradient_synchronization() after each backward pass, or put all but "
                    "the last into no_sync()"
                )
            self._came.add(id(parameter))
            self._lacking[index] -= 1
            while self._next < len(self._buckets) and not self._lacking[self._next]:
                self._launch()

        parameter.register_post_accumulate_grad_hook(came)  # type: ignore[no-untyped-call]

    def _launch(self) -> None:
        flat = self._buckets[self._next].collect()
        # Before adding, as DistributedDataParallel does: a sum of halves overflows later.
        self._pending.append(all_reduce(flat.div_(self._ranks), self._group))
        self._next += 1

    def _take(self, index: int) -> None:
        """Wait for a bucket, unless that was done already."""
        if index >= self._taken:
            self._buckets[index].distribute(self._pending[index].wait())
            self._taken = index + 1

    def _ask_for_unused(self) -> Pending:
        used = [float(parameter.grad is not None) for parameter in self._parameters]
        device = self._parameters[0].device if used else "cpu"
        return all_reduce(torch.tensor(used, device=device), self._group)

    def _drop_unused(self, users: Tensor) -> None:
        for parameter, count in zip(self._parameters, users.tolist(), strict=True):
            if not count:
                parameter.grad = None


class ReducedModule(nn.Module):
    """A module trained on every rank, made alike there: with what rank 0 has, by equal options.

    Attributes:
        module: what was wrapped.
    """

    _reducer: Reducer

    def __init__(self, module: nn.Module, options: Mapping[str, object], group: Group) -> None:
        super().__init__()
        self.module = module
        agreement.check(agreement.signature(module, options), group)
        agreement.share_module(module, group)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module."""
        return self.module(*args, **kwargs)

    def finish_gradient_synchronization(self) -> None:
        """Wait until every gradient is the average over the ranks; call it before the optimizer.

        Raises:
            RuntimeError: another rank is gone, or the group's time is up.
        """
        self._reducer.finish()
