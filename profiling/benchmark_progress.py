"""How far a benchmark is: lines on stderr, or a bar where that is a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from profiling.benchmark_run import STEPS, Tell
from profiling.progress import steps_bar

LINES = 10
"""How often the timed steps say how far they are, where there is no terminal."""


@contextmanager
def progress(total: int) -> Iterator[Tell]:
    """Yield what is told of every step.

    Args:
        total: how many there will be, of all kinds.
    """
    if not sys.stderr.isatty():
        yield lines
        return
    with steps_bar(total) as bar:

        def told(what: str, done: int, count: int) -> None:
            bar.done(f"Completed {done}/{count} {what}", 0)

        yield told


def lines(what: str, done: int, count: int) -> None:
    """Print a line for every tenth of the timed steps, and one when others are done."""
    often = LINES if what == STEPS else 1
    if done * often // count > (done - 1) * often // count:
        print(f"Completed {done}/{count} {what}", file=sys.stderr, flush=True)
