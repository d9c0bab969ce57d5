"""Calls into C made in threads of their own, so that Ctrl-C is heard while one waits for them.

Python hears it between two of its own instructions, and a query may take minutes without one.
SQLite could be told to stop, but its driver has no way to say so. So a call that is no longer
waited for is left behind: it goes on until it is done, or until the process ends, which does not
wait for it.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


def begun(work: Callable[[], T]) -> "Future[T]":
    """Return what will hold the result of some work, which is begun in another thread.

    Where arrays lie (see `analysis.source.paging`) is part of the context, and holds there too.

    Raises:
        RuntimeError: there is no room for another thread.
    """
    result: Future[T] = Future()
    context = copy_context()

    def run() -> None:
        try:
            result.set_result(context.run(work))
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return result


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
