"""Progress bars on stderr, silent where stderr is no terminal."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.constrain import Constrain
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

REDRAWN_PER_S: Final = 2.0
ENOUGH_STEPS: Final = 2


class StepsBar:
    """The progress of a run, step by step."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=total)

    def done(self, what: str, duration_ns: int) -> int:
        """Count one step, and return its duration."""
        self._progress.update(self._task, advance=1, description=what, refresh=True)
        return duration_ns


@contextmanager
def steps_bar(total: int) -> Iterator[StepsBar]:
    """Show a bar of ``total`` steps while inside; none where nobody knows how many (0)."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    # A thread that redraws would disturb what is timed: redraw when a step is done instead.
    quiet = not total or not sys.stderr.isatty()
    with Progress(
        *columns, console=console, transient=True, disable=quiet, auto_refresh=False
    ) as progress:
        yield StepsBar(progress, total)
        progress.refresh()


class RunBar:
    """What a run in another process is doing, how far it is, and for how long still.

    It moves by itself, twice a second: what is timed runs elsewhere. In a phase whose length nobody
    knows it shows the time that has passed.
    """

    def __init__(self, progress: Progress, steps: int) -> None:
        self._progress = progress
        self._steps = steps
        self._done = 0
        self._task = self._added("starting")
        self._begun: tuple[float, int] = (time.monotonic(), 0)

    def phase(self, what: str) -> None:
        """Say what is being done from now on."""
        self._begun = (time.monotonic(), self._done)
        if self._done < self._steps:
            self._progress.update(self._task, description=what, total=self._steps)
        else:
            self._progress.remove_task(self._task)
            self._task = self._added(what)
        # At once: a phase may be over before the next redrawing.
        self._progress.refresh()

    def step(self) -> None:
        """Count a step that is done."""
        self._done += 1
        since, before = self._begun
        # Steps of another phase take another time: once there are two of this one, they count.
        if self._done - before >= ENOUGH_STEPS:
            pace_s = (time.monotonic() - since) / (self._done - before)
            self._progress.update(self._task, completed=self._done, pace_s=pace_s)
        else:
            self._progress.update(self._task, completed=self._done)

    def part(self, done: int, total: int) -> None:
        """Say how much of a phase is done; a total of 0 is unknown."""
        self._progress.update(self._task, completed=done, total=total or None)

    def _added(self, what: str) -> TaskID:
        return self._progress.add_task(what, total=None, pace_s=None)

    def show(self) -> None:
        """Show it from now on, where it was not: the terminal was somebody else's."""
        self._progress.start()


@contextmanager
def run_bar(steps: int, *, at_once: bool = True) -> Iterator[RunBar]:
    """Show a `RunBar` while inside.

    Args:
        steps: of the run; 0 where nobody knows how many.
        at_once: whether it is shown from the start.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        _Steps(steps),
        _Times(),
    )
    progress = _NarrowerProgress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
        refresh_per_second=REDRAWN_PER_S,
        expand=True,
    )
    bar = RunBar(progress, steps)
    if at_once:
        bar.show()
    try:
        yield bar
    finally:
        progress.stop()


@dataclass(frozen=True)
class _Narrower:
    """Something shown with room for the ``^C`` of a terminal: beyond the edge none is erased."""

    shown: RenderableType

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        yield Constrain(self.shown, max(1, options.max_width - len("^C") - 1))


class _NarrowerProgress(Progress):
    def get_renderable(self) -> RenderableType:
        """Return the bar."""
        return _Narrower(super().get_renderable())


class _Steps(ProgressColumn):
    """How many steps are done of how many."""

    def __init__(self, steps: int) -> None:
        super().__init__(Column(no_wrap=True))
        self._steps = steps

    def render(self, task: Task) -> Text:
        """Return both where steps are what is done."""
        return Text(f"{task.completed:.0f}/{self._steps}" if task.total == self._steps else "")


class _Times(ProgressColumn):
    """The time since the start, and about how long still, where there is something to go by."""

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True))
        self._begun = time.monotonic()

    def render(self, task: Task) -> Text:
        """Return both."""
        passed = _clock(time.monotonic() - self._begun)
        pace_s: float | None = task.fields["pace_s"]
        left = None if task.finished else task.time_remaining
        if pace_s and task.remaining:
            left = pace_s * task.remaining
        return Text(passed if left is None else f"{passed}, about {_clock(left)} left")


def _clock(seconds: float) -> str:
    """Return a time as a clock shows it.

    >>> _clock(75.4)
    '0:01:15'
    """
    return str(timedelta(seconds=int(seconds)))
