"""A progress bar on stderr, silent where stderr is no terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


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
