"""Inside a recorded process: steps with nothing recording, then warm-up and as many recorded."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profiling import names
from profiling.common.timing import synchronize
from profiling.processes.notes import SendMessage
from profiling.recorders.recorder import Recorder
from profiling.spans import costs, recording, span
from profiling.spans.backends import RangeSink
from profiling.spans.backward import left_out_backward_ranges

Timer = Callable[[Callable[[], Any]], int]
"""Runs what it is given, and returns how long that took in nanoseconds."""


@dataclass(frozen=True, kw_only=True)
class RecordedProcess:
    """The process that a run is recorded in.

    Attributes:
        recorder: who records it.
        device: that it runs on.
        folder: where it leaves what the report is made of.
        memory: whether what tensors hold is recorded too.
        shapes: whether operators' shapes are, by a recorder that does not always do so.
        tell: what the launcher hears: ``phase``, what is done from now on, and after each step
            ``step``, its kind, and ``duration_ns``.
    """

    recorder: type[Recorder]
    device: str
    folder: Path
    memory: bool = False
    shapes: bool = False
    tell: SendMessage = lambda _: None

    def record(self) -> AbstractContextManager[RangeSink]:
        """Return the context in which everything is recorded."""
        return self.recorder.inside(
            self.device, self.folder, memory=self.memory, shapes=self.shapes
        )

    def now(self, phase: str) -> None:
        """Tell the launcher what is done from now on."""
        self.tell({"phase": phase})

    def steps(
        self,
        step: Callable[[], Any],
        *,
        warmup: int,
        count: int,
        timer: Timer | None = None,
        before_each: Callable[[], None] = lambda: None,
        before_recording: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """Time steps with nothing recording, then record warm-up and as many steps.

        Args:
            step: one of them.
            warmup: steps before each set that do not count.
            count: steps of each set.
            timer: of one step; `timed_ns` on the device where there is none.
            before_each: called before each set.
            before_recording: called once the unrecorded steps are timed.

        Returns:
            ``unprofiled_step_ns`` and ``step_ns``, a number for each step, and `range_facts`.
        """
        time_one = timer or (lambda run: timed_ns(run, self.device))

        def repeat(times: int, run: Callable[[], Any], what: str) -> list[int]:
            durations_ns = []
            if times:
                self.now(what)
            for _ in range(times):
                durations_ns.append(time_one(run))
                self.tell({"step": what, "duration_ns": durations_ns[-1]})
            return durations_ns

        def within(name: str) -> Callable[[], Any]:
            def ranged() -> Any:
                with span(name):
                    return step()

            return ranged

        def unrecorded() -> dict[str, Any]:
            with recording(None):  # under nsys spans are on by themselves
                before_each()
                repeat(warmup, step, "warm-up")
                return {"unprofiled_step_ns": repeat(count, step, "steps, unrecorded")}

        def recorded() -> dict[str, Any]:
            with recording(None):
                before_recording()
                before_each()
            with self.record() as ranges:
                repeat(warmup, within(names.WARMUP), "warm-up, recorded")
                durations_ns = repeat(count, within(names.STEP), "steps, recorded")
                self.now(self.recorder.finishing)
            return {"step_ns": durations_ns, **range_facts(ranges)}

        # What an optimizer holds comes with its first step: a recording of memory is to see that.
        first, second = (recorded, unrecorded) if self.memory else (unrecorded, recorded)
        return {**first(), **second()}


def timed_ns(step: Callable[[], Any], device: str) -> int:
    """Return how long one step takes, from an idle device to an idle device."""
    synchronize(device)
    start = time.perf_counter_ns()
    step()
    synchronize(device)
    return time.perf_counter_ns() - start


def range_facts(ranges: RangeSink) -> dict[str, Any]:
    """Return what the spans of a recording know at its end.

    Returns:
        ``pushed``: how often each name was; ``costs``: rows of TOOLKIT_RANGE_COST; ``too_deep``:
        backward ranges left out, by name.
    """
    return {"pushed": ranges.pushed(), "costs": costs(), "too_deep": left_out_backward_ranges()}
