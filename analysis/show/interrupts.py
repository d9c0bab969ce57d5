"""Ctrl-C while a command starts, runs and ends: one line, and exit status 130, at once.

Python raises KeyboardInterrupt. While a command still imports what it needs, nobody is there to
catch it, and modules written in C lose it or make another error of it. Nothing is begun yet, so
the process can simply end; the same holds when the command is done and Python tidies up. Between
the two, in `Interruptible`, the exception is what lets a command clean up after itself.

Only a process started with ``python -m`` and the name of a command, or with ``spanlight``, does so:
for a program or a notebook that imports these packages nothing changes.
"""

# Imported before all else, and only what Python has loaded by itself: until this module has run,
# an interrupted command ends with a traceback. `_signal` is all of `signal` but its enumerations.
import _signal as signal  # type: ignore[import-not-found]  # mypy knows only `signal`
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    Handler = Callable[[int, FrameType | None], object]

STATUS = 130
"""The exit status of a command that was interrupted."""

MESSAGE = "error: interrupted\n"

OURS = ("analysis", "profiling", "spanlight")
"""The packages whose modules are commands."""

PROGRAM = "spanlight"
"""The script that packaging makes of our command line."""


def end_starting_command() -> None:
    """Let Ctrl-C end the process from now on, where it is one of our commands that starts."""
    if is_starting(sys.argv, sys.orig_argv):
        _exchange(signal.default_int_handler, end)


def is_starting(argv: list[str], typed: list[str]) -> bool:
    """Return whether Python is about to run one of our modules, or our command line.

    Args:
        argv: ``sys.argv``; it begins with ``-m`` while Python imports the module's package.
        typed: ``sys.orig_argv``, which holds the module's name, after ``-m`` or in one with it.

    >>> is_starting(["-m", "a.sqlite"], ["python", "-m", "analysis.kernels", "a.sqlite"])
    True
    >>> is_starting(["bin/spanlight"], ["python", "bin/spanlight", "kernels"])
    True
    >>> is_starting(["train.py"], ["python", "train.py", "analysis"])
    False
    """
    if argv[:1] == typed[1:2] and os.path.basename(argv[0]) == PROGRAM:
        return True
    words = (word.removeprefix("-m").partition(".")[0] for word in typed)
    return argv[:1] == ["-m"] and any(word in OURS for word in words)


class Interruptible:
    """The part of a command in which Ctrl-C raises KeyboardInterrupt; after it, Ctrl-C ends it."""

    def __enter__(self) -> None:
        self._is_command = _exchange(end, signal.default_int_handler)

    def __exit__(self, *_: object) -> None:
        if self._is_command:
            _exchange(signal.default_int_handler, end)


def end(number: int, frame: "FrameType | None") -> None:
    """Handle SIGINT: print one line, and end the process without unwinding what it does."""
    try:
        os.write(2, MESSAGE.encode())
    finally:
        os._exit(STATUS)


def _exchange(before: "Handler", after: "Handler") -> bool:
    """Install a handler where another one stands; return whether it stood there."""
    found = signal.getsignal(signal.SIGINT) is before
    if found:
        signal.signal(signal.SIGINT, after)
    return found
