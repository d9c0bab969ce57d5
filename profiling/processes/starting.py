"""Processes of this project: how they are started, and how a signal to us ends what we do.

Nothing here imports torch, so that a command which needs none starts without it.
"""

import os
import signal
import site
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from analysis.show.called import words
from analysis.show.sheet import say
from profiling.common.cli import relative_to_here

PAGE: Final = ".html"
"""After the name of a report: its page for a browser."""

_ERROR: Final = "error: "
_ROOT: Final = Path(__file__).resolve().parents[2]


def child_environment() -> dict[str, str]:
    """Return the environment of a process that imports this project from anywhere."""
    given = os.environ.get("PYTHONPATH")
    known = given.split(os.pathsep) if given else []
    # Installed, it is found last of all: named here, its neighbours would go before what is known.
    places = (*site.getsitepackages(), site.getusersitepackages())
    installed = {str(Path(place).resolve()) for place in places}
    if str(_ROOT) not in {*known, *installed}:
        known.insert(0, str(_ROOT))
    # Kineto writes its own log to stderr unless told not to.
    return {"KINETO_LOG_LEVEL": "99", **os.environ, "PYTHONPATH": os.pathsep.join(known)}


def python_command(module: str, *arguments: str | Path) -> list[str]:
    """Return the command line that runs a module of this project in a process of its own."""
    # -P: a module of the same name in the current folder is somebody else's.
    return [sys.executable, "-P", "-m", module, *map(str, arguments)]


def show_page(reports: Sequence[Path]) -> int:
    """Print the page of the first report, and then the overlap of all where there are several.

    Returns:
        The exit status of what printed it.
    """
    page = python_command(*words("analysis"), relative_to_here(reports[0]))
    status = subprocess.run(page, env=child_environment(), check=False).returncode
    return status or (_show_overlap(reports) if len(reports) > 1 else 0)


def _show_overlap(reports: Sequence[Path]) -> int:
    """Print the overlap of ranks; where that cannot be told, a note of why, which is no failure."""
    overlap = python_command(*words("analysis.overlap"), *map(relative_to_here, reports))
    done = subprocess.run(
        overlap, env=child_environment(), stderr=subprocess.PIPE, text=True, check=False
    )
    *_, last = ["", *done.stderr.splitlines()]
    if done.returncode == 1 and last.startswith(_ERROR):
        say(f"note: {last.removeprefix(_ERROR)}")
        return 0
    sys.stderr.write(done.stderr)
    return done.returncode


def write_page(report: Path) -> int:
    """Write the page of a report for a browser beside it, and print the path of that.

    Returns:
        The exit status of what wrote it.
    """
    shown = relative_to_here(report.with_suffix(PAGE))
    command = python_command(*words("analysis"), relative_to_here(report), "--html", shown)
    status = subprocess.run(command, env=child_environment(), check=False).returncode
    if not status:
        print(shown, flush=True)
    return status


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Let signals wait while a process is started: what nobody knows of yet, nobody could end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    held = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # One that is ignored stays so (nohup), and so does a handler that Python did not set.
    before = {
        number: handler
        for number in held
        if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)
    }
    for number in before:
        signal.signal(number, lambda got, _: heard.append(got))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if heard:
            signal.raise_signal(heard[0])


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let a signal end us like an interruption: what we started first, then what it left."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = {
        number: signal.signal(number, end)
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) != signal.SIG_IGN  # nohup's stays ignored
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
