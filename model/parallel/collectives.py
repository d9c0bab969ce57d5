"""The four collectives, launched without waiting: each in its range, each seen by an observer.

The ranges are ``communication`` around ``all_reduce``, ``reduce_scatter``, ``all_gather`` or
``broadcast``, with the bytes a rank must move (`model.parallel.costs`); a wait is a
``communication`` with none of them inside.

torch 2.13's gloo has all four for float32, bfloat16 and float16 on a CPU. Older ones lack the
reduce-scatter: there the whole sum is made and a part of it kept, at twice the bytes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Protocol

import torch.distributed as dist
from torch import Tensor

from model.parallel import costs
from profiling import names
from profiling.spans import span

Group = dist.ProcessGroup | None
"""The ranks that work together; None is all of them."""

Cost = Callable[[int, int], int]
"""The bytes a rank must move, of those of a whole tensor and the number of ranks."""

# torch 2.13 warns of the older names.
_all_gather: Final = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
_reduce_scatter: Final = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


class Observer(Protocol):
    """Watches collectives, to time them."""

    def launched(self, name: str, moved_bytes: int, work: Any) -> None:
        """Note that a collective has been launched; ``work`` is torch's handle of it."""

    def waiting(self) -> None:
        """Note that what comes next needs the result of a collective."""

    def waited(self) -> None:
        """Note that the result is there (on a GPU: before what is launched from now on)."""


_observer: Observer | None = None


@contextmanager
def observing(observer: Observer) -> Iterator[None]:
    """Show every collective of this process to ``observer`` while inside."""
    global _observer
    before, _observer = _observer, observer
    try:
        yield
    finally:
        _observer = before


class Pending:
    """A collective under way. Its tensors belong to it until `wait` returns."""

    __slots__ = ("_and_then", "_result", "_work")

    def __init__(
        self, work: Any, result: Tensor, and_then: Callable[[], object] | None = None
    ) -> None:
        self._work = work
        self._result = result
        self._and_then = and_then

    def wait(self) -> Tensor:
        """Return the result once it may be used; the host itself waits only on a CPU.

        Raises:
            RuntimeError: another rank is gone, or the group's time is up.
        """
        if self._work is not None:
            if _observer:
                _observer.waiting()
            with span(names.COMMUNICATION):
                self._work.wait()
            if _observer:
                _observer.waited()
            self._work = None
            if self._and_then:
                self._and_then()
        return self._result


def all_reduce(tensor: Tensor, group: Group = None) -> Pending:
    """Add up a tensor over the ranks, in place.

    Args:
        tensor: of the same shape and dtype on all ranks, in any memory layout.
        group: the ranks.
    """
    return _in_place(names.ALL_REDUCE, costs.all_reduce, dist.all_reduce, tensor, group)


def broadcast(tensor: Tensor, source: int, group: Group = None) -> Pending:
    """Give all ranks what ``source`` has in a tensor, in place.

    Args:
        tensor: of the same shape and dtype on all ranks, in any memory layout.
        source: a rank, counted within the group.
        group: the ranks.
    """
    start = partial(dist.broadcast, group_src=source)
    return _in_place(names.BROADCAST, costs.broadcast, start, tensor, group)


def _in_place(
    name: str, cost: Cost, start: Callable[..., Any], tensor: Tensor, group: Group
) -> Pending:
    """Launch a collective on a tensor, or on a dense copy that is copied back after it."""
    dense = tensor.contiguous()
    then = None if dense is tensor else lambda: tensor.copy_(dense)
    started = partial(start, dense, group=group, async_op=True)
    return _launched(name, cost, tensor, group, lambda: Pending(started(), tensor, then))


def all_gather(whole: Tensor, part: Tensor, group: Group = None) -> Pending:
    """Fill ``whole``, ``(N * n, ...)``, with the ``part``, ``(n, ...)``, of every rank in turn."""
    start = partial(_all_gather, whole, part, group=group, async_op=True)
    return _launched(
        names.ALL_GATHER, costs.all_gather, whole, group, lambda: Pending(start(), whole)
    )


def reduce_scatter(part: Tensor, whole: Tensor, group: Group = None) -> Pending:
    """Fill ``part``, ``(n, ...)``, with this rank's part of the sum of ``whole``, ``(N * n, ...)``.

    ``whole`` is not to be used again: where gloo has no reduce-scatter it becomes the sum.
    """

    def launch() -> Pending:
        try:
            return Pending(_reduce_scatter(part, whole, group=group, async_op=True), part)
        except RuntimeError as error:
            # Said before anything is sent, on every rank alike.
            if "does not support" not in str(error):
                raise
        rank = dist.get_rank(group)
        work = dist.all_reduce(whole, group=group, async_op=True)
        own = whole[rank * len(part) : (rank + 1) * len(part)]
        return Pending(work, part, lambda: part.copy_(own))

    return _launched(names.REDUCE_SCATTER, costs.reduce_scatter, whole, group, launch)


def _launched(
    name: str, cost: Cost, whole: Tensor, group: Group, launch: Callable[[], Pending]
) -> Pending:
    """Launch a collective in its range, and show it to the observer."""
    moved_bytes = cost(whole.nbytes, dist.get_world_size(group))
    with span(names.COMMUNICATION), span(name, flops=0, bytes=moved_bytes):
        pending = launch()
    if _observer:
        _observer.launched(name, moved_bytes, pending._work)
    return pending
