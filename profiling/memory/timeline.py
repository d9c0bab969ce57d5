"""Memory over time: every allocation and release, and the ranges around them.

The PyTorch profiler is told of each by the allocator itself, on a CPU and on a GPU: it is no
sample, and nothing is estimated. On a CPU that is all memory of tensors and what operators take
for themselves through torch; what libraries such as oneDNN take on their own is not in it. What was
there before the recording is not counted on a CPU, so it begins before the model is made.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch._C._profiler import _EventType

from profiling.spans import recording
from profiling.spans.backends import TorchSink
from profiling.spans.torch_profiler import TraceProfiler

if TYPE_CHECKING:
    from torch._C._profiler import _ProfilerEvent


@dataclass(frozen=True, slots=True)
class Phase:
    """A range: its name, and when it was open."""

    name: str
    start_ns: int
    end_ns: int


@dataclass(slots=True)
class Timeline:
    """What a device held, change by change.

    Attributes:
        time_ns: of each change, ascending, on the profiler's clock.
        delta_bytes: what was taken, or given back where below 0.
        allocated_bytes: what tensors held after it.
        reserved_bytes: what torch's allocator held of the device; 0 on a CPU, where it keeps none.
        phases: every range, in order of opening.
    """

    time_ns: list[int] = field(default_factory=list)
    delta_bytes: list[int] = field(default_factory=list)
    allocated_bytes: list[int] = field(default_factory=list)
    reserved_bytes: list[int] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)

    def called(self, name: str, within: Phase | None = None) -> list[Phase]:
        """Return the ranges of a name, in order; those inside another, if one is given."""
        return [
            phase
            for phase in self.phases
            if phase.name == name
            and (
                within is None or within.start_ns <= phase.start_ns <= phase.end_ns <= within.end_ns
            )
        ]

    def at(self, time_ns: int) -> int:
        """Return the bytes that tensors held just before a moment."""
        place = bisect_left(self.time_ns, time_ns)
        return self.allocated_bytes[place - 1] if place else 0

    def peak_bytes(self, phase: Phase) -> int:
        """Return the most bytes that tensors held while a range was open."""
        return self._most(self.allocated_bytes, phase)

    def peak_reserved_bytes(self, phase: Phase) -> int:
        """Return the most bytes that the allocator held while a range was open."""
        return self._most(self.reserved_bytes, phase)

    def _most(self, levels: list[int], phase: Phase) -> int:
        first = bisect_left(self.time_ns, phase.start_ns)
        last = bisect_right(self.time_ns, phase.end_ns)
        return max(levels[max(first - 1, 0) : last], default=0)


@contextmanager
def recorded(device: str) -> Iterator[Timeline]:
    """Record what a device holds while inside; the timeline is filled at the end.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:N``.
    """
    timeline = Timeline()
    # Without CUDA's own activities: they would take memory of the device.
    activities = [torch.profiler.ProfilerActivity.CPU]
    profiler = TraceProfiler(activities=activities, profile_memory=True)
    ranges = TorchSink()
    with profiler, recording(ranges):
        yield timeline
    found: Any = profiler.profiler
    events = found.kineto_results.experimental_event_tree()
    fill(timeline, events, torch.device(device), ranges.pushed())


def fill(
    timeline: Timeline,
    roots: Iterable[_ProfilerEvent],
    device: torch.device,
    ranges: Container[str],
) -> None:
    """Put the events of a profiler into a timeline.

    Args:
        timeline: an empty one.
        roots: the outermost events; others are inside them.
        device: whose memory is wanted; without a number it is the current one.
        ranges: the names that are ranges of ours, and not operators.
    """
    ordinal = device.index
    if device.type == "cuda" and ordinal is None:
        ordinal = torch.cuda.current_device()
    changes: list[tuple[int, Any]] = []
    waiting = list(roots)
    while waiting:
        event = waiting.pop()
        waiting.extend(event.children)
        if event.tag == _EventType.Allocation:
            where = event.extra_fields.device  # type: ignore[union-attr]  # told by the tag
            if where.type == device.type and (device.type == "cpu" or where.index == ordinal):
                changes.append((event.start_time_ns, event.extra_fields))
        elif event.tag == _EventType.TorchOp and event.name in ranges:
            timeline.phases.append(Phase(event.name, event.start_time_ns, event.end_time_ns))
    timeline.phases.sort(key=lambda phase: (phase.start_ns, -phase.end_ns))
    changes.sort(key=lambda change: change[0])
    for time_ns, change in changes:
        timeline.time_ns.append(time_ns)
        timeline.delta_bytes.append(change.alloc_size)
        timeline.allocated_bytes.append(change.total_allocated)
        timeline.reserved_bytes.append(change.total_reserved)
