"""Time the parts of a step without disturbing it.

The whole is read from the host's clock, from an idle device to an idle device: one synchronize a
step. Its parts are read from CUDA events between them, which cost the host a microsecond and the
device nothing; on a CPU, where work ends before the call returns, from the clock.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from timeit import default_timer
from typing import Any

Clock = Callable[[], float]
"""Gives a time in seconds; only differences count."""


@dataclass(frozen=True, slots=True)
class StepTime:
    """The time of one step, and of its parts.

    Attributes:
        total_ns: on the host, synchronize included.
        parts_ns: by name, in order.
    """

    total_ns: int
    parts_ns: dict[str, int]

    @property
    def rest_ns(self) -> int:
        """Time in no part: on a CPU 0, on a GPU the launch of the first and the last wait."""
        return self.total_ns - sum(self.parts_ns.values())


class Marks(ABC):
    """Instants of a run, numbered from 0."""

    def __init__(self) -> None:
        self._count = 0

    def mark(self) -> int:
        """Note this instant, and return its number."""
        self._note(self._count)
        self._count += 1
        return self._count - 1

    def restart(self) -> None:
        """Forget the instants of an earlier run."""
        self._count = 0

    def between_ns(self) -> list[int]:
        """Return the time from each instant to the next; asked once the device is idle."""
        return [self.ns(number, number + 1) for number in range(self._count - 1)]

    @property
    def total_ns(self) -> int:
        """The time from the first instant to the last."""
        return self.ns(0, self._count - 1)

    @abstractmethod
    def ns(self, start: int, end: int) -> int:
        """Return the time from one instant to another; asked once the device is idle."""

    @abstractmethod
    def _note(self, number: int) -> None:
        """Note this instant, which has a number of its own."""


class ClockMarks(Marks):
    """Instants of the host's clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._at_ns: list[int] = []

    def ns(self, start: int, end: int) -> int:
        """Return the time from one instant to another."""
        return self._at_ns[end] - self._at_ns[start]

    def _note(self, number: int) -> None:
        self._at_ns[number:] = [to_ns(self._clock())]


class EventMarks(Marks):
    """Instants of a CUDA device's current stream, whichever device is the current one."""

    def __init__(self, device: str) -> None:
        import torch

        super().__init__()
        self._new_event = partial(torch.cuda.Event, enable_timing=True)
        self._stream = torch.cuda.current_stream(device)
        self._events: list[Any] = []

    def ns(self, start: int, end: int) -> int:
        """Return the time from one event to another, to about half a microsecond."""
        return round(float(self._events[start].elapsed_time(self._events[end])) * 1e6)

    def _note(self, number: int) -> None:
        if number == len(self._events):  # those of an earlier run are used again
            self._events.append(self._new_event())
        self._events[number].record(self._stream)


def to_ns(seconds: float) -> int:
    """Return a clock's reading in whole nanoseconds.

    >>> to_ns(1.5e-6)
    1500
    """
    return round(seconds * 1e9)


def synchronize(device: str) -> None:
    """Wait until the device has done everything that was launched."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)


class PartTimer:
    """Times the parts of one run end to end, so that they add up to the whole.

    A part begins where the one before it ended. On a CPU all instants come from the host's clock,
    and the parts add up to the whole exactly. On a GPU they are CUDA events on the current stream,
    read when all is done; the whole is the host's, from an idle device to an idle one, and is
    longer than their sum by the launch of the first piece of work and the last wait.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        clock: of the host; a test gives its own.
    """

    def __init__(self, device: str, clock: Clock = default_timer) -> None:
        self._device = device
        self._host = ClockMarks(clock)
        self._marks: Marks = EventMarks(device) if device.startswith("cuda") else self._host
        self._parts: list[str] = []

    def start(self, *, wait: bool = True) -> None:
        """Begin the first part, once the device is idle; it is known to be where none waits."""
        if wait:
            synchronize(self._device)
        self._host.mark()
        if self._marks is not self._host:
            self._marks.mark()

    def done(self, part: str) -> None:
        """End a part, and begin the next one."""
        self._marks.mark()
        self._parts.append(part)

    def stop(self) -> None:
        """Wait until the device is done; nothing is timed any more."""
        if self._marks is not self._host:
            synchronize(self._device)
            self._host.mark()

    @property
    def wall_ns(self) -> int:
        """From start to stop on the host."""
        return self._host.total_ns

    def parts_ns(self) -> list[tuple[str, int]]:
        """Return each part and its time, in order; a name may come several times."""
        return list(zip(self._parts, self._marks.between_ns(), strict=True))


def time_parts(
    parts: dict[str, Callable[[], None]], device: str, clock: Clock = default_timer
) -> StepTime:
    """Run the parts of one step in order, and time each and the whole.

    The device must be idle before, as it is after `synchronize` and after every call of this.

    Args:
        parts: what to run, by name.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        clock: of the host; a test gives its own.
    """
    watch = PartTimer(device, clock)
    watch.start(wait=False)
    for name, part in parts.items():
        part()
        watch.done(name)
    watch.stop()
    return StepTime(watch.wall_ns, dict(watch.parts_ns()))
