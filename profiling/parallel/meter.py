"""How long a step's collectives take, how much of that the computation waits for, and memory."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from timeit import default_timer
from typing import Any, Final

import torch

from profiling.benchmark.device_memory import memory, peak_resident, reset_peak
from profiling.common.timing import synchronize, to_ns

_CLEAR_REFS: Final = Path("/proc/self/clear_refs")
_RESET_PEAK: Final = "5"
"""Written there it makes VmHWM start again from what is resident now (Linux, proc(5))."""

Interval = tuple[float, float]


def union_ns(intervals: list[Interval]) -> int:
    """Return how many nanoseconds lie in any of some intervals, in nanoseconds too.

    >>> union_ns([(0, 10), (5, 15), (20, 21)])
    16
    """
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return round(total)


class CollectiveMeter:
    """Watches the collectives of one step, as `model.parallel.collectives.observing` shows them.

    A collective is under way from its launch until its result is there, queueing included. On a
    CPU a thread waits for the result and reads the clock. On a GPU instants are CUDA events: the
    end of a collective is recorded on a stream that waits for it, and a wait is the gap between
    two events on the stream that computes.

    Attributes:
        moved_bytes: that this rank had to send.
        calls: how many collectives there were.
    """

    def __init__(self, device: str) -> None:
        self.moved_bytes = 0
        self.calls = 0
        self._device = device
        self._on_gpu = device.startswith("cuda")
        # One thread will do: while it waits for one that is under way, later ones that have
        # ended already add nothing to the time in which any was.
        self._waiter = ThreadPoolExecutor(max_workers=1)
        self._waiter.submit(default_timer)  # its thread starts now, not within the step
        self._start: Any = self._now()
        self._under_way: list[tuple[Any, Callable[[], Any]]] = []
        self._waits: list[tuple[Any, Any]] = []
        self._waiting: Any = None

    def launched(self, name: str, moved_bytes: int, work: Any) -> None:
        """Note a launch, and have the end noted."""
        end = (
            self._end_on_gpu(work) if self._on_gpu else self._waiter.submit(self._end, work).result
        )
        self._under_way.append((self._now(), end))
        self.moved_bytes += moved_bytes
        self.calls += 1

    def waiting(self) -> None:
        """Note that computation cannot go on."""
        self._waiting = self._now()

    def waited(self) -> None:
        """Note that computation goes on."""
        self._waits.append((self._waiting, self._now()))

    def read(self) -> tuple[int, int]:
        """Return how long any collective was under way, and how long was waited, in nanoseconds."""
        ends = [end() for _, end in self._under_way]
        self._waiter.shutdown()
        synchronize(self._device)
        starts = [start for start, _ in self._under_way]
        under_way = self._spans(list(zip(starts, ends, strict=True)))
        return union_ns(under_way), union_ns(self._spans(self._waits))

    def _end(self, work: Any) -> Any:
        work.wait()
        return self._now()

    def _end_on_gpu(self, work: Any) -> Callable[[], Any]:
        future = work.get_future().then(lambda _: self._now())
        return lambda: future.wait()

    def _now(self) -> Any:
        if not self._on_gpu:
            return default_timer()
        event: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def _spans(self, pairs: list[tuple[Any, Any]]) -> list[Interval]:
        return [(self._at_ns(start), self._at_ns(end)) for start, end in pairs]

    def _at_ns(self, instant: Any) -> float:
        if not self._on_gpu:
            return to_ns(instant - self._start)
        return float(self._start.elapsed_time(instant)) * 1e6  # milliseconds


class PeakMemory:
    """The most memory a rank had since `start`, beyond what it had when this was made.

    Attributes:
        source: what is counted: tensors on the GPU, or the resident memory of the process.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._on_gpu = device.startswith("cuda")
        self.source = "tensors" if self._on_gpu else "resident"
        self._before_bytes = 0 if self._on_gpu else memory(device).rss_bytes

    def start(self) -> None:
        """Count the peak from now on; on a CPU whose kernel forbids that, it goes on."""
        reset_peak(self._device)
        if not self._on_gpu:
            try:
                _CLEAR_REFS.write_text(_RESET_PEAK)
            except OSError:
                self.source = "resident, never reset"

    def read(self) -> int:
        """Return the peak in bytes."""
        if self._on_gpu:
            return memory(self._device).peak_bytes or 0
        return max(0, peak_resident() - self._before_bytes)
