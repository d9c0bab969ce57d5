"""A progress bar, which appears only where an operation turns out to take long."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from rich.progress import Progress

PATIENCE_S: Final = 1.0


class Bar:
    """A bar on stderr that appears after a second, and only if stderr is a terminal.

    Args:
        title: what is being done.
        patience_s: how long to wait before it shows.
    """

    def __init__(self, title: str, patience_s: float = PATIENCE_S) -> None:
        self.title = title
        self._begun = time.monotonic()
        self._patience_s = patience_s
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """Say how far it is; a total of 0 is unknown."""
        if self._bar is None:
            waited = time.monotonic() - self._begun
            # Two bars would write over each other: what another thread reads shows none.
            main = threading.current_thread() is threading.main_thread()
            if waited < self._patience_s or not main or not sys.stderr.isatty():
                return
            self._bar = self._shown()
        self._bar.update(self._bar.task_ids[0], completed=done, total=total or None)

    def _shown(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn())
        console = Console(stderr=True)
        bar = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
        bar.add_task(self.title)
        bar.start()
        return bar
