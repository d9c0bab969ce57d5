"""A progress bar on stderr, silent where stderr is no terminal."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from analysis.show.cli import print_notes

T = TypeVar("T")
R = TypeVar("R")


class StepsBar:
    """The progress of a run, step by step."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=total)

    def done(self, what: str, duration_ns: int) -> int:
        """Count one step, and return its duration."""
        self._progress.update(self._task, advance=1, description=what, refresh=True)
        return duration_ns


def in_turn(
    every: Sequence[T],
    measured: Callable[[T], R],
    finish: Callable[[Sequence[R]], None],
    *,
    name: Callable[[T], str] = str,
    what: str = "rows",
) -> list[R]:
    """Return what was measured of each, in order; an interruption finishes with what is done.

    Args:
        every: what to measure.
        measured: measures one.
        finish: shows and keeps the results, however many there are; with none it is not called.
        name: what one is called beside the bar.
        what: they are, in the note on an interruption.
    """
    results: list[R] = []
    try:
        with steps_bar(len(every)) as bar:
            for each in every:
                results.append(measured(each))
                bar.done(name(each), 0)
    except KeyboardInterrupt:
        if results:
            print_notes(f"interrupted: {len(results)} of {len(every)} {what} are done")
            finish(results)
        raise
    finish(results)
    return results


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
