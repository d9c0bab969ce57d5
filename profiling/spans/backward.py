"""The range around the backward pass of what a span computed.

Autograd runs on a thread of its own (on a GPU), long after the span is over, node by node, the
youngest first. The nodes a span created are those its results can be traced back to whose
sequence number is not below the one at which the span began. The range opens before the first
node of a result and closes after the last node that leads out of the span. Nothing is added to
the graph, so results may be modified in place and the same kernels run.

A node can fail to come: ``backward(inputs=…)`` leaves some out, an exception ends the pass. So a
range also closes when a range that is not part of it opens, when the pass ends, and, after an
exception, when the next pass begins or the span around ``backward()`` ends.

Several passes may run at once: on several threads, also over the same graph, and one inside a node
of another. Each has ranges of its own. Where one thread serves two of them by turns, as autograd's
thread of a GPU does when two threads call ``backward()``, NVTX allows no more than nesting: what
one pass opens lies inside what the other has open there, until that ends.
"""

import threading
import weakref
from collections.abc import Iterator
from typing import Any, Final, Protocol

import torch
from torch.autograd import Variable
from torch.autograd.graph import Node

from profiling.spans.backends import RangeSink


class OpenRange(Protocol):
    """A pushed range, forward or backward."""

    @property
    def name(self) -> str:
        """The name of the range when it was opened."""

    @property
    def backward(self) -> "BackwardRange":
        """The backward range: itself, or the one that the span's backward pass will open."""

    def close(self) -> None:
        """Pop it from its sink; called by whoever took it off the stack."""


_threads = threading.local()


def open_range_stack() -> list[OpenRange]:
    """Return the open ranges of the calling thread."""
    try:
        ranges: list[OpenRange] = _threads.ranges
    except AttributeError:
        ranges = _threads.ranges = []
    return ranges


_ACCUMULATES: Final = 2**64 - 1
"""The sequence number of the nodes that add a gradient to a parameter; they belong to no span."""


MOST_NODES: Final = 10_000
"""A span that made more nodes gets no backward range.

Looking at tens of thousands of nodes in a chain makes torch 2.13 overflow the C stack when they go.
"""

_too_deep: dict[str, int] = {}


def left_out_backward_ranges() -> dict[str, int]:
    """Return how many backward ranges were left out for their size, by name."""
    return dict(_too_deep)


def graph_task_id() -> int:
    """Return the number of the backward pass that runs on this thread, or -1."""
    return torch._C._current_graph_task_id()


class _Pass:
    """One backward pass; alive exactly as long as the engine keeps its callback.

    The engine calls back only after success, but drops the callback after a failure too.
    """

    def __init__(self) -> None:
        self.opened: dict[BackwardRange, OpenedRange] = {}

    def finish(self) -> None:
        """Close what is still open on the thread the pass ended on."""
        open_ranges = open_range_stack()
        while open_ranges and _is_over(open_ranges[-1], self):
            open_ranges.pop().close()


_passes: weakref.WeakValueDictionary[int, _Pass] = weakref.WeakValueDictionary()
_passes_lock = threading.Lock()


def _current_pass() -> _Pass:
    number = graph_task_id()
    with _passes_lock:
        current = _passes.get(number)
        if current is None:
            current = _passes[number] = _Pass()
            Variable._execution_engine.queue_callback(current.finish)
    return current


def _is_over(entry: OpenRange, ending: _Pass | None = None) -> bool:
    """Return whether an open range belongs to a pass that is over, or to this one."""
    return isinstance(entry, OpenedRange) and entry.running() in (None, ending)


def _is_finished(entry: OpenRange) -> bool:
    return isinstance(entry, OpenedRange) and entry.finished


class OpenedRange:
    """A backward range while it is open, in one pass.

    Args:
        backward: which.
        current: the pass.
        pending: how many nodes that lead out of the span are still to come.
    """

    __slots__ = ("_pass", "backward", "finished", "name", "pending")

    def __init__(self, backward: "BackwardRange", current: _Pass, pending: int) -> None:
        self.name = backward.name
        self.backward = backward
        self.pending = pending
        self.finished = False
        self._pass = weakref.ref(current)

    def running(self) -> _Pass | None:
        """Return the pass; nothing once that is over."""
        return self._pass()

    def close(self) -> None:
        """Pop the range."""
        self.backward.sink.pop()
        self.pending = 0
        self.finished = True


class BackwardRange:
    """The range of one span's backward pass; the same object serves every pass over its graph."""

    __slots__ = ("_flops", "_parent", "_since", "_sinks", "name", "results", "sink")

    def __init__(self, sink: RangeSink, name: str, flops: int | None) -> None:
        self.name = name
        self.sink = sink
        self.results: list[Node] = []
        self._flops = flops
        self._parent: BackwardRange | None = None
        self._since = 0
        self._sinks = 0

    def enter(self, open_ranges: list[OpenRange]) -> None:
        """Remember where in the graph, and inside what, the span begins."""
        while open_ranges and _is_over(open_ranges[-1]):
            open_ranges.pop().close()
        self._since = torch._C._autograd._get_sequence_nr()
        self._parent = open_ranges[-1].backward if open_ranges else None

    def attach(self) -> None:
        """Hook into the nodes of the results, at the end of the span."""
        results, self.results = self.results, []
        inside, sinks = self._trace(results)
        if len(inside) > MOST_NODES:
            _too_deep[self.name] = _too_deep.get(self.name, 0) + 1
            return
        self._sinks = len(sinks)
        for sink in sinks:
            sink.register_hook(self._after_sink)
        for result in dict.fromkeys(results):
            if result in inside:
                result.register_prehook(self._before_result)

    def _trace(self, results: list[Node]) -> tuple[set[Node], list[Node]]:
        """Return the nodes the span created, and those of them that lead only out of it."""
        inside: set[Node] = set()
        sinks = []
        waiting = [node for node in results if self._created(node)]
        while waiting and len(inside) <= MOST_NODES:
            node = waiting.pop()
            if node in inside:
                continue
            inside.add(node)
            following = [
                next_ for next_, _ in node.next_functions if next_ and self._created(next_)
            ]
            waiting.extend(following)
            if not following:
                sinks.append(node)
        return inside, sinks

    def _created(self, node: Node) -> bool:
        return self._since <= node._sequence_nr() < _ACCUMULATES

    def _before_result(self, _gradients: Any) -> None:
        current = _current_pass()
        opened = current.opened.get(self)
        if opened is None or not opened.pending:
            self._open(current)

    def _open(self, current: _Pass) -> None:
        parent = self._parent
        if parent is not None and parent._is_due(current):
            parent._open(current)
        open_ranges = open_range_stack()
        while open_ranges and self._outlives(open_ranges[-1], current):
            open_ranges.pop().close()
        opened = current.opened[self] = OpenedRange(self, current, self._sinks)
        self.sink.push(self.name, self._flops)
        open_ranges.append(opened)

    def _is_due(self, current: _Pass) -> bool:
        """Return whether this pass has reached the range's work but not its first node yet."""
        if not self._sinks or self in current.opened:
            return False
        # Inside a node of it another pass may run: that one has the range around it already.
        return all(entry.backward is not self or _is_over(entry) for entry in open_range_stack())

    def _outlives(self, entry: OpenRange, current: _Pass) -> bool:
        """Return whether an open range must be over, now that this one opens."""
        if not isinstance(entry, OpenedRange):
            return False  # a span around the pass, or around work that runs again inside it
        running = entry.running()
        if running is None or entry.finished:
            return True
        # A pass of its own inside a node of another pass leaves that one's ranges open.
        return running is current and entry.backward not in self._ancestors()

    def _after_sink(self, _inputs: Any, _outputs: Any) -> None:
        current = _passes.get(graph_task_id())
        opened = current.opened.get(self) if current is not None else None
        if opened is not None and opened.pending:
            opened.pending -= 1
            if not opened.pending:
                self._finish(opened)

    def _finish(self, opened: OpenedRange) -> None:
        """Close, unless a range that is not part of this one is open inside; then it will."""
        opened.finished = True
        open_ranges = open_range_stack()
        if opened in open_ranges:
            above = open_ranges[open_ranges.index(opened) + 1 :]
            if all(self in entry.backward._ancestors() for entry in above):
                for _ in above:
                    open_ranges.pop().close()
        while open_ranges and _is_finished(open_ranges[-1]):
            open_ranges.pop().close()

    def _ancestors(self) -> "Iterator[BackwardRange]":
        parent = self._parent
        while parent is not None:
            yield parent
            parent = parent._parent
