"""The time collectives take, and what of it is waited for; what a rank's memory comes to."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from profiling.parallel import meter as parallel_meter
from profiling.parallel.meter import CollectiveMeter, PeakMemory, union_ns
from tests.made.tools.resident_memory import resident_memory


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda p: (min(p), max(p)))))
def test_a_union_is_every_nanosecond_in_any_interval(intervals: list[tuple[int, int]]) -> None:
    covered = {instant for start, end in intervals for instant in range(start, end)}
    assert union_ns([(float(start), float(end)) for start, end in intervals]) == len(covered)


class Device:
    """A GPU whose clock is set by hand, in milliseconds."""

    def __init__(self) -> None:
        self.now_ms = 0.0

    def event(self, *, enable_timing: bool) -> "Event":
        assert enable_timing
        return Event(self)


class Event:
    def __init__(self, device: Device) -> None:
        self._device = device
        self.at_ms = float("nan")

    def record(self) -> None:
        self.at_ms = self._device.now_ms

    def elapsed_time(self, end: "Event") -> float:
        return end.at_ms - self.at_ms


class Work:
    def __init__(self) -> None:
        self.future: torch.futures.Future[Any] = torch.futures.Future()

    def get_future(self) -> torch.futures.Future[Any]:
        return self.future


def test_on_a_gpu_collectives_and_waits_are_between_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = Device()
    monkeypatch.setattr("torch.cuda.Event", device.event)
    monkeypatch.setattr("torch.cuda.synchronize", lambda _: None)
    meter, first, second = CollectiveMeter("cuda:0"), Work(), Work()
    timeline: list[tuple[int, Callable[[], object]]] = [
        (1, lambda: meter.launched("all_reduce", 100, first)),
        (3, lambda: meter.launched("all_reduce", 50, second)),
        (5, lambda: first.future.set_result(None)),
        (6, lambda: meter.waiting()),
        (6, lambda: meter.waited()),  # the first is over
        (7, lambda: meter.waiting()),
        (9, lambda: second.future.set_result(None)),
        (9, lambda: meter.waited()),
    ]
    for now_ms, happens in timeline:
        device.now_ms = float(now_ms)
        happens()
    assert meter.read() == (8_000_000, 2_000_000)  # 1 to 9, and 7 to 9
    assert (meter.moved_bytes, meter.calls) == (150, 2)


class Done:
    def wait(self) -> None:
        return


def test_on_a_cpu_the_clock_is_read_when_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    instants = iter(range(100))
    meter = CollectiveMeter("cpu")
    monkeypatch.setattr(parallel_meter, "default_timer", lambda: float(next(instants)))
    monkeypatch.setattr(meter, "_start", 0.0)
    meter.launched("all_reduce", 8, Done())
    meter.waiting()
    meter.waited()
    under_way_ns, waited_ns = meter.read()
    # Four readings, of which the end of the work may be any.
    assert 1e9 <= under_way_ns <= 3e9
    assert 1e9 <= waited_ns <= 2e9


def test_nothing_launched_is_no_time() -> None:
    assert CollectiveMeter("cpu").read() == (0, 0)


def test_the_peak_of_a_cpu_is_resident_memory_beyond_what_there_was() -> None:
    peak = PeakMemory("cpu")
    peak.start()
    start = peak.read()
    with resident_memory(64 << 20):
        high = peak.read()
        assert high - start > 60 << 20
    peak.start()
    if peak.source == "resident":
        assert peak.read() < high - 50 * 2**20
