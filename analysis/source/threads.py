"""Calls into C made in threads of their own, so that Ctrl-C is heard while one waits for them.

Python hears it between two of its own instructions, and a query may take minutes without one.
SQLite could be told to stop, but its driver has no way to say so. So a call that is no longer
waited for is left behind: it goes on until it is done, or until the process ends, which does not
wait for it.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from contextvars import copy_context
from queue import SimpleQueue
from typing import Final, TypeVar

T = TypeVar("T")

Calls = SimpleQueue[Callable[[], None]]
"""What a thread is given to do, one call after another."""

_idle: Final[list[Calls]] = []
"""Those of threads that have nothing to do: a report is read by many calls, most of them short."""

os.register_at_fork(after_in_child=_idle.clear)  # there are no threads of the parent's in a child


def begun(work: Callable[[], T]) -> "Future[T]":
    """Return what will hold the result of some work, which is begun in another thread.

    Raises:
        RuntimeError: there is no room for another thread.
    """
    result: Future[T] = Future()
    context = copy_context()

    def run() -> None:
        try:
            made = context.run(work)
        except BaseException as error:
            _idle.append(calls)
            result.set_exception(error)
        else:
            _idle.append(calls)  # first: who waits for the result may have the next call at once
            result.set_result(made)

    try:
        calls = _idle.pop()
    except IndexError:
        calls = SimpleQueue()
        threading.Thread(target=_work, args=(calls,), daemon=True).start()
    calls.put(run)
    return result


def _work(calls: Calls) -> None:
    """Do what there is to do, until the process ends."""
    while True:
        calls.get()()


def interruptible(call: Callable[[], T], used: ExitStack) -> T:
    """Return what a call into C returns; Ctrl-C is heard in the main thread meanwhile.

    Args:
        call: it calls nothing that cares which thread it runs in.
        used: what it uses. Where the call is left behind, the stack is empty afterwards, and what
            was on it is closed once the call is done.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()  # where no signal comes
    held: list[ExitStack] = []

    def last() -> T:
        try:
            return call()
        finally:
            for stack in held:
                stack.close()

    try:
        result = begun(last)
    except RuntimeError:
        return call()
    try:
        return result.result()
    except KeyboardInterrupt:
        if not result.done():
            held.append(used.pop_all())
        raise
