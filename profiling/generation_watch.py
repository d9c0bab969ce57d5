"""The parts of one prompt's generation, timed end to end so that they add up to the whole.

A part begins where the one before it ended. On a CPU all instants come from the host's clock, and
the parts add up to the wall time exactly. On a GPU they are CUDA events on the model's stream, read
when all is done; the wall time is the host's, from an idle device to an idle one, and is longer
than their sum by the launch of the first piece of work and the last wait.
"""

from timeit import default_timer

from profiling.timing import Clock, ClockMarks, EventMarks, Marks, synchronize


class Watch:
    """Times the parts of one run, in the order in which they end.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        clock: of the host; a test gives its own.
    """

    def __init__(self, device: str, clock: Clock = default_timer) -> None:
        self._device = device
        self._host = ClockMarks(clock)
        self._marks: Marks = EventMarks(device) if device.startswith("cuda") else self._host
        self._parts: list[str] = []

    def start(self) -> None:
        """Begin the first part, once the device is idle."""
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
