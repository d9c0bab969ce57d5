"""The ranges open on each thread, innermost last."""

import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from profiling.backward import BackwardRange


class OpenRange(Protocol):
    """A pushed range, forward or backward."""

    @property
    def name(self) -> str:
        """What it was called when it was opened."""

    @property
    def backward(self) -> "BackwardRange":
        """Itself, or the range its backward pass will open."""

    def close(self) -> None:
        """Pop it from its recorder; called by whoever took it off the stack."""


_threads = threading.local()


def stack() -> list[OpenRange]:
    """Return the open ranges of the calling thread."""
    try:
        ranges: list[OpenRange] = _threads.ranges
    except AttributeError:
        ranges = _threads.ranges = []
    return ranges
