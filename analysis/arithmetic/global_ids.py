"""Global ids of nsys: one 64-bit number for the machine, the process and the thread of an event.

``globalTid`` holds the thread's id in its lowest 24 bits, the process's in the 24 above, and the
machine in the rest. ``globalPid`` is the global id of a process: the thread's bits are 0. See
"Common SQLite Examples" in the Nsight Systems User Guide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:  # the converter of PyTorch traces does without NumPy
    from analysis.arithmetic.arrays import Int64

Ids = TypeVar("Ids", int, "Int64")

ID_BITS: Final = 24
"""Bits of a process id, and of a thread id, within a global id."""

ID_MASK: Final = (1 << ID_BITS) - 1
"""The bits of a thread id within a global id."""

PROCESS_MASK: Final = ~ID_MASK
"""The bits that a global thread id shares with the global id of its process."""


def process_of(global_id: Ids) -> Ids:
    """Return the operating system's process id that is in a global thread or process id.

    Args:
        global_id: ``(N,)``, or one; what stands for an unknown id must be told apart before.

    >>> import numpy as np
    >>> process_of((1 << 48) + (4321 << 24) + 17), process_of(np.array([7 << 24, 8 << 24])).tolist()
    (4321, [7, 8])
    """
    return (global_id >> ID_BITS) & ID_MASK


def thread_of(global_id: Ids) -> Ids:
    """Return the operating system's thread id that is in a global thread id.

    >>> thread_of((1 << 48) + (4321 << 24) + 17)
    17
    """
    return global_id & ID_MASK


def global_process_of(global_id: Ids) -> Ids:
    """Return the global id (``globalPid``) of the process that a global thread id belongs to.

    >>> global_process_of((4321 << 24) + 17) == 4321 << 24
    True
    """
    return global_id & PROCESS_MASK


def without_machine(global_id: Ids) -> Ids:
    """Return the bits of the process and of the thread, without those of the machine.

    >>> without_machine((1 << 48) + (4321 << 24) + 17) == (4321 << 24) + 17
    True
    """
    return global_id & ((1 << 2 * ID_BITS) - 1)
