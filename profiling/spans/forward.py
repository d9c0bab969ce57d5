"""The range around a piece of the forward pass, and the switch that turns all ranges on."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Protocol, TypeVar, overload

from torch import Tensor
from torch.compiler import is_compiling
from torch.fx.traceback import annotate

from profiling import names
from profiling.spans.backends import RangeSink, injected_sink
from profiling.spans.backward import BackwardRange, graph_task_id, open_range_stack

T = TypeVar("T", bound=Tensor)

RangeCost = tuple[str, int | None, int | None, int | None]
"""A range's name, FLOPs, least bytes moved and elements: a row of ``TOOLKIT_RANGE_COST``."""


class Cost(Protocol):
    """What a range launches, forward and backward; `model.flops.Cost` is one."""

    @property
    def flops(self) -> int:
        """FLOPs of the forward pass."""

    @property
    def backward_flops(self) -> int:
        """FLOPs of the backward pass."""

    @property
    def bytes(self) -> int:
        """The least that must move in the forward pass."""

    @property
    def elements(self) -> int:
        """Numbers in the result."""


class Mark:
    """What ``with span(...) as mark`` gives. While nobody records, it does nothing."""

    __slots__ = ()

    @overload
    def output(self, tensor: T, /) -> T: ...
    @overload
    def output(self, first: T, /, *more: T) -> tuple[T, ...]: ...
    def output(self, first: Tensor, /, *more: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Name the results of the range, so that its backward pass gets a range too.

        Returns:
            What was given, untouched: the one tensor, or the tuple of them.
        """
        return (first, *more) if more else first

    def __enter__(self) -> "Mark":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


_OF_ANY_PHASE: Final = frozenset((names.COMMUNICATION, *names.COLLECTIVES))
"""Ranges that are what they are in a backward pass too: gradients are reduced in there."""

OFF: Final = Mark()
"""What stands in for a range while nobody records."""

_injected: Final = injected_sink()
_sink: RangeSink | None = _injected
_costs: dict[RangeCost, None] = {}
_costs_lock = threading.Lock()


class Span(Mark):
    """A range that is written somewhere; see `span`."""

    __slots__ = ("_flops", "_sink", "backward", "name")

    def __init__(
        self, sink: RangeSink, name: str, flops: int | None, backward_flops: int | None
    ) -> None:
        self.name = name
        self.backward = BackwardRange(sink, names.backward(name), backward_flops)
        self._sink = sink
        self._flops = flops

    @overload
    def output(self, tensor: T, /) -> T: ...
    @overload
    def output(self, first: T, /, *more: T) -> tuple[T, ...]: ...
    def output(self, first: Tensor, /, *more: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Name the results of the range, so that its backward pass gets a range too."""
        for tensor in (first, *more):
            # What is no tensor passes, as it does while nobody records.
            if (node := getattr(tensor, "grad_fn", None)) is not None:
                self.backward.results.append(node)
        return (first, *more) if more else first

    def __enter__(self) -> "Span":
        open_ranges = open_range_stack()
        self.backward.enter(open_ranges)
        if graph_task_id() != -1 and self.name not in _OF_ANY_PHASE:
            # Work that runs again inside the backward pass (checkpointing) is no forward.
            self.name += names.RECOMPUTE_SUFFIX
        self._sink.push(self.name, self._flops)
        open_ranges.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the range, and those that a failed backward pass left open inside it."""
        open_ranges = open_range_stack()
        if self in open_ranges:  # else a range around it was closed first, and took it along
            while (innermost := open_ranges.pop()) is not self:
                innermost.close()
            self.close()
        if kind is None:
            self.backward.attach()

    def close(self) -> None:
        """Pop the range."""
        self._sink.pop()


def span(
    name: str,
    flops: int | None = None,
    *,
    backward_flops: int | None = None,
    bytes: int | None = None,
    elements: int | None = None,
    cost: Callable[[], Cost] | None = None,
) -> Mark:
    """Mark what runs inside as ``name``; popped even when it raises.

    Args:
        name: few and stable: NVTX keeps every name for good, so no numbers in it.
        flops: of the work launched inside: the payload of the range.
        backward_flops: likewise, of its backward range.
        bytes: the least that must move.
        elements: numbers in the result.
        cost: gives the four above; asked only while something records.
    """
    if is_compiling():
        return _noted(name)  # type: ignore[return-value]  # it gives a Mark when entered
    if _sink is None:
        return OFF
    if cost is not None:
        known = cost()
        flops, backward_flops = known.flops, known.backward_flops
        bytes, elements = known.bytes, known.elements
    if not (flops is bytes is elements is None):
        _note((name, flops, bytes, elements))
    if backward_flops is not None:
        _note((names.backward(name), backward_flops, None, elements))
    return Span(_sink, name, flops, backward_flops)


@contextmanager
def _noted(name: str) -> Iterator[Mark]:
    """Note the name on what the compiler traces inside: `profiling.spans.compiled` asks for it."""
    with annotate({"span": name}):
        yield Mark()  # the compiler traces only objects that it saw being made


@contextmanager
def recording(sink: RangeSink | None) -> Iterator[None]:
    """Write the spans opened inside to ``sink``, on all threads; ``None`` turns them off."""
    global _sink
    before, _sink = _sink, sink
    try:
        yield
    finally:
        _sink = before


def current_sink() -> RangeSink | None:
    """Return the sink that spans are written to, None where there is none."""
    return _sink


def is_injected() -> bool:
    """Return whether spans go to a profiler that listens to NVTX, as nobody chose another sink."""
    return _sink is not None and _sink is _injected


def is_recording() -> bool:
    """Return whether spans are written anywhere."""
    return _sink is not None


def costs() -> list[RangeCost]:
    """Return the distinct costs of the ranges opened so far, in order of appearance."""
    with _costs_lock:
        return list(_costs)


def _note(cost: RangeCost) -> None:
    if cost not in _costs:
        with _costs_lock:
            _costs[cost] = None
