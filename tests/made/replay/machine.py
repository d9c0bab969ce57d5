"""A machine with GPUs, simulated event by event: what a program takes on it.

Written from how CUDA runs work, and from nothing of the replay that it is held against. Threads
make one call after another. A stream is a queue: the command at its head is work that runs when its
launch has reached the device and what it was made to wait for has ended, the record of an event, or
the wait for one. A call that waits puts an event behind all that is queued, and returns when that
has come. All times are whole nanoseconds.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.made.reports.build_report import THREAD

LAUNCH = "launch"
COPY = "copy to the device"
BLOCKING_COPY = "copy that its call waits for"
RECORD = "record of an event"
MAKE_WAIT = "make a stream wait for an event"
WAIT_DEVICE = "wait for the device"
WAIT_STREAM = "wait for a stream"
WAIT_EVENT = "wait for an event"

WORKS: Final = {LAUNCH, COPY, BLOCKING_COPY}
WAITS: Final = {WAIT_DEVICE, WAIT_STREAM, WAIT_EVENT}

QUEUE: Final = 1022
"""As many commands fit into a stream's queue."""

COLLECTIVE: Final = "ncclDevKernel_AllReduce"


@dataclass(frozen=True)
class Costs:
    """What the machine takes for each thing, in ns.

    Attributes:
        lag: from a launch's return to the start of its work on a free stream.
        staged: from the call of a copy that it waits for to the copy's start.
        follow: between two pieces of work of one stream.
        edge: from the end of what a stream waits for to the start of its work.
        tail: from the end of what a call waits for to its return.
        queue: from the moment a queue has room to the return of the launch.
    """

    lag: int = 6_000
    staged: int = 20_000
    follow: int = 1_000
    edge: int = 2_000
    tail: int = 3_000
    queue: int = 4_000


@dataclass(frozen=True)
class Step:
    """Time of a thread's own, then a CUDA call.

    Attributes:
        does: what the call does.
        gap: the thread's own time before it.
        host: what the call takes where nothing holds it up.
        took: how long its work runs; of a collective from when the last participant has come.
        name: of its kernel.
        stream: of its work, or what it waits for.
        device: of its stream.
        event: what it records or waits for; each is recorded once.
        thread: which makes the call.
        takes_over: whether it follows on the step before it, not on that of its own thread.
        inside: the range that it is in, or none.
        size: bytes that a copy moves.
    """

    does: str
    gap: int = 1_000
    host: int = 3_000
    took: int = 0
    name: str = "k"
    stream: int = 7
    device: int = 0
    event: int = 0
    thread: int = THREAD
    takes_over: bool = False
    inside: str = ""
    size: int = 4


Span = tuple[int, int]
Place = tuple[int, int]


class Line:
    """A stream: its queue, when its last work ended, and what it has been made to wait for."""

    def __init__(self) -> None:
        self.queue: list[tuple[str, int]] = []
        self.launched: list[int] = []
        self.freed: int | None = None
        self.held_until: int | None = None
        self.running = False


class Machine:
    """Runs a program; ``calls`` and ``work`` are then its times, by position of the step."""

    def __init__(self, program: Sequence[Step], costs: Costs | None = None) -> None:
        self.program = program
        self.costs = costs or Costs()
        self.calls: dict[int, Span] = {}
        self.work: dict[int, Span] = {}
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0
        self._now = 0
        self._lines: dict[Place, Line] = {}
        self._ready: dict[int, int] = {}
        self._fired: dict[tuple[str, int], int | None] = {}
        self._waiting: dict[tuple[str, int], list[Callable[[], None]]] = {}
        self._marks = 0
        self._followers: dict[int, list[int]] = {}
        last: dict[int, int] = {}
        for place, step in enumerate(program):
            before = place - 1 if step.takes_over else last.get(step.thread, -1)
            if before < 0:
                self._at(step.gap, lambda place=place: self._begin(place))  # type: ignore[misc]
            else:
                self._followers.setdefault(before, []).append(place)
            last[step.thread] = place
        while self._agenda:
            self._now, _, action = heapq.heappop(self._agenda)
            action()
        assert len(self.calls) == len(program), "a call never returned"

    def _at(self, time: int, action: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._agenda, (time, self._order, action))

    def _line(self, step: Step) -> Line:
        return self._lines.setdefault((step.device, step.stream), Line())

    def _begin(self, place: int) -> None:
        """Let a call begin now: what it asks for is queued, and what it waits for is found."""
        step, costs, now = self.program[place], self.costs, self._now
        awaited: list[tuple[tuple[str, int], int]] = []
        if step.does in WORKS:
            line = self._line(step)
            if step.does == BLOCKING_COPY:
                self._ready[place] = now + costs.staged
                awaited.append((("work", place), costs.tail))
            elif len(line.launched) >= QUEUE:
                awaited.append((("work", line.launched[-QUEUE]), costs.queue))
            line.launched.append(place)
            line.queue.append(("work", place))
        elif step.does == RECORD:
            self._line(step).queue.append(("record", step.event))
        elif step.does == MAKE_WAIT:
            self._line(step).queue.append(("wait", step.event))
        elif step.does == WAIT_EVENT:
            awaited.append((("record", step.event), costs.tail))
        else:
            lines = [self._line(step)] if step.does == WAIT_STREAM else list(self._lines.values())
            for line in lines:
                self._marks -= 1  # an event of its own
                line.queue.append(("record", self._marks))
                awaited.append((("record", self._marks), costs.tail))
        for line in list(self._lines.values()):
            self._advance(line)
        self._return_when(place, now, awaited)

    def _return_when(
        self, place: int, begun: int, awaited: list[tuple[tuple[str, int], int]]
    ) -> None:
        for token, _ in awaited:
            if token not in self._fired:
                self._waiting.setdefault(token, []).append(
                    lambda: self._return_when(place, begun, awaited)
                )
                return
        ends = [begun + self.program[place].host]
        for token, after in awaited:
            time = self._fired[token]
            ends += [] if time is None else [time + after]
        self._at(max(ends), lambda: self._return(place, begun))

    def _return(self, place: int, begun: int) -> None:
        step = self.program[place]
        self.calls[place] = (begun, self._now)
        if step.does in (LAUNCH, COPY):
            self._ready[place] = self._now + self.costs.lag
            self._advance(self._line(step))
        for follower in self._followers.get(place, ()):
            time = self._now + self.program[follower].gap
            self._at(time, lambda follower=follower: self._begin(follower))  # type: ignore[misc]

    def _fire(self, token: tuple[str, int], time: int | None) -> None:
        self._fired[token] = time
        for action in self._waiting.pop(token, []):
            action()

    def _advance(self, line: Line) -> None:
        """Let a stream go on as far as it can."""
        while line.queue and not line.running:
            kind, number = line.queue[0]
            if kind == "work":
                if number in self._ready:
                    self._start(line, number)
                return
            token = ("record", number)
            if kind == "record":
                line.queue.pop(0)
                known = [time for time in (line.freed, line.held_until) if time is not None]
                self._fire(token, max(known, default=None))
            elif token in self._fired:
                line.queue.pop(0)
                time = self._fired[token]
                if time is not None:
                    line.held_until = max(time, line.held_until or 0)
            else:
                self._waiting.setdefault(token, []).append(lambda: self._advance(line))
                return

    def _start(self, line: Line, place: int) -> None:
        step, costs = self.program[place], self.costs
        starts = [self._ready[place]]
        starts += [] if line.freed is None else [line.freed + costs.follow]
        starts += [] if line.held_until is None else [line.held_until + costs.edge]
        line.running, line.held_until = True, None
        self.work[place] = (max(starts), 0)
        parts = self._parts(place) if step.name == COLLECTIVE else [place]
        if all(part in self.work for part in parts):
            come = max(self.work[part][0] for part in parts)
            for part in parts:
                end = come + self.program[part].took
                self._at(end, lambda part=part, end=end: self._end(part, end))  # type: ignore[misc]

    def _parts(self, place: int) -> list[int]:
        """Return the positions of the collective that a step is part of: one of each device."""
        listed: dict[int, list[int]] = {}
        for at, step in enumerate(self.program):
            if step.does == LAUNCH and step.name == COLLECTIVE:
                listed.setdefault(step.device, []).append(at)
        turn = listed[self.program[place].device].index(place)
        return [steps[turn] for steps in listed.values()]

    def _end(self, place: int, end: int) -> None:
        line = self._line(self.program[place])
        self.work[place] = (self.work[place][0], end)
        line.running, line.freed = False, end
        line.queue.pop(0)
        self._fire(("work", place), end)
        self._advance(line)

    @property
    def window_ns(self) -> int:
        """The time from the first call that starts work to the end of the last work."""
        first = min(self.calls[place][0] for place in self.work)
        return max(end for _, end in self.work.values()) - first
