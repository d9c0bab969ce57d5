"""Timing with a clock and a GPU of our own: every part and every total is known beforehand."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import torch

from profiling import names
from profiling.common import timing
from profiling.common.timing import ClockMarks, StepTime, time_parts, to_ns

MS = 1_000_000


def ticks(*seconds: float) -> Callable[[], float]:
    """Return a clock that gives these readings, one after another."""
    readings: Iterator[float] = iter(seconds)
    return lambda: next(readings)


def nothing() -> None:
    pass


@dataclass
class Gpu:
    """A host and a GPU on a made-up time line, in ms: work is queued and done in order.

    Launching costs the host 1 ms, an event nothing; waiting ends 2 ms after the work.
    """

    host: float = 0.0
    idle_from: float = 0.0
    waits: int = 0
    streams: list[str] = field(default_factory=list)

    def launch(self, work: float) -> Callable[[], None]:
        def part() -> None:
            self.host += 1
            self.idle_from = max(self.idle_from, self.host) + work

        return part

    def reached(self) -> float:
        return max(self.idle_from, self.host)

    def synchronize(self, device: str) -> None:
        self.waits += 1
        self.host = self.reached() + 2

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        gpu = self

        class Event:
            def __init__(self, enable_timing: bool = False) -> None:
                assert enable_timing
                self.at = -1.0

            def record(self, stream: str) -> None:
                gpu.streams.append(stream)
                self.at = gpu.reached()

            def elapsed_time(self, end: "Event") -> float:
                assert gpu.waits, "asked before the device was idle"
                return end.at - self.at

        monkeypatch.setattr(torch.cuda, "Event", Event)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
        monkeypatch.setattr(torch.cuda, "synchronize", self.synchronize)


def test_on_a_cpu_the_parts_are_read_from_the_clock_and_add_up_exactly() -> None:
    parts = dict.fromkeys((names.FORWARD, names.BACKWARD, names.OPTIMIZER), nothing)
    step = time_parts(parts, "cpu", ticks(10.0, 10.003, 10.0095, 10.01))
    assert step.parts_ns == {"forward": 3 * MS, "backward": 6_500_000, "optimizer": 500_000}
    assert list(step.parts_ns) == ["forward", "backward", "optimizer"]
    assert step.total_ns == 10 * MS == sum(step.parts_ns.values())
    assert step.rest_ns == 0


def test_parts_run_in_order_once_each_and_the_clock_is_read_between_them() -> None:
    done: list[str] = []

    def clock() -> float:
        done.append("clock")
        return 0.0

    time_parts({"a": lambda: done.append("a"), "b": lambda: done.append("b")}, "cpu", clock)
    assert done == ["clock", "a", "clock", "b", "clock"]


def test_on_a_gpu_parts_come_from_events_and_the_total_from_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu = Gpu()
    gpu.install(monkeypatch)
    parts = {"forward": gpu.launch(10), "backward": gpu.launch(20), "optimizer": gpu.launch(5)}
    step = time_parts(parts, "cuda:0", lambda: gpu.host / 1e3)
    # The first launch lies within forward; the others are hidden behind the work before them.
    assert step.parts_ns == {"forward": 11 * MS, "backward": 20 * MS, "optimizer": 5 * MS}
    assert step.total_ns == 38 * MS
    assert step.rest_ns == 2 * MS  # the last wait
    assert gpu.waits == 1
    assert gpu.streams == ["stream of cuda:0"] * 4


def test_a_step_that_is_bound_by_launches_shows_the_host_in_its_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu = Gpu(host=100, idle_from=100)
    gpu.install(monkeypatch)
    parts = {"forward": gpu.launch(0.5), "backward": gpu.launch(0.25)}
    step = time_parts(parts, "cuda", lambda: gpu.host / 1e3)
    assert step.parts_ns == {"forward": 1_500_000, "backward": 750_000}
    assert step.total_ns == sum(step.parts_ns.values()) + step.rest_ns == 4_250_000


def test_without_parts_a_step_is_empty() -> None:
    assert time_parts({}, "cpu", ticks(5.0)) == StepTime(0, {})


def test_what_fails_is_no_time() -> None:
    def fails() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        time_parts({"forward": fails}, "cpu", ticks(0.0, 1.0))


def test_a_cpu_needs_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: pytest.fail("there is no GPU"))
    timing.synchronize("cpu")


def test_differences_keep_their_nanoseconds_far_from_zero() -> None:
    """A machine that has been up for a year: float64 still tells 10 ns apart."""
    year_s = 365 * 24 * 3600.0
    marks = ClockMarks(ticks(year_s, year_s + 1e-6))
    marks.mark()
    marks.mark()
    assert marks.total_ns == pytest.approx(1000, abs=10)
    assert to_ns(0.1) == 100 * MS


@pytest.mark.gpu
def test_a_real_gpu_agrees_with_itself() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    matrix = torch.ones(2048, 2048, device="cuda")

    def work() -> None:
        for _ in range(20):
            matrix @ matrix

    for _ in range(3):
        torch.cuda.synchronize()
        step = time_parts({"forward": work, "backward": work}, "cuda")
    assert all(part > 0 for part in step.parts_ns.values())
    assert 0 <= step.rest_ns < step.total_ns / 2
