"""Memory of a known size that was not there before."""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def resident_memory(size_bytes: int) -> Iterator[None]:
    """Hold so much resident memory, straight from the system.

    What an allocator hands out may be memory that earlier tests gave back to it.
    """
    with mmap.mmap(-1, size_bytes) as block:
        for place in range(0, size_bytes, mmap.PAGESIZE):
            block[place] = 1
        yield
