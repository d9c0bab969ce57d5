"""Arrays in temporary files, for reports that are larger than the memory there is.

Every array of numbers then lies in pages of its own: of a temporary file where it is large, so that
the system can write what does not fit to disk and read it back. What is computed, and how, stays
the same, and so does every digit.

NumPy lets a program say where arrays lie (NEP 49, ``PyDataMem_SetHandler``). It asks for pages
here, in Python; to give them back it calls the function with which CPython returns pages to the
system: arrays are also freed where no Python code may run, such as while an error is raised.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, Final

from numpy._core import _multiarray_umath  # type: ignore[attr-defined]

LARGE_BYTES: Final = 1 << 20
"""From here on an array lies in a file; below, a page of memory or a few cost less."""

SET_HANDLER: Final = 304
"""The place of ``PyDataMem_SetHandler`` in NumPy's C interface (`__multiarray_api.h`)."""

HANDLER_NAME: Final = b"mem_handler"
HANDLER_VERSION: Final = 1
MADV_PAGEOUT: Final = 21
"""Of Linux since 5.4: take these pages out of memory; they are read again when they are used."""

RETRY_S: Final = 0.05

_address, _bytes = ctypes.c_void_p, ctypes.c_size_t
_MALLOC: Final = ctypes.CFUNCTYPE(_address, _address, _bytes)
_CALLOC: Final = ctypes.CFUNCTYPE(_address, _address, _bytes, _bytes)
_REALLOC: Final = ctypes.CFUNCTYPE(_address, _address, _address, _bytes)


class _Handler(ctypes.Structure):
    """``PyDataMem_Handler`` of NumPy."""

    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", _address),
        ("malloc", _MALLOC),
        ("calloc", _CALLOC),
        ("realloc", _REALLOC),
        ("free", _address),
    )


class _ArenaAllocator(ctypes.Structure):
    """``PyObjectArenaAllocator`` of CPython; its ``free`` takes what NumPy's handler gives."""

    _fields_ = (("context", _address), ("alloc", _address), ("free", _address))


class Pages:
    """Pages of memory and of temporary files, which NumPy's arrays are put into.

    Args:
        folder: where the files are made; they have no name, and go with their array or the process.
        budget_bytes: above this much resident memory, what lies in files is taken out of it.
    """

    def __init__(self, folder: Path, budget_bytes: int) -> None:
        self.folder = folder
        self.budget_bytes = budget_bytes
        self.failure: OSError | None = None
        self.in_files = 0
        self._sizes: dict[int, int] = {}
        arena = _ArenaAllocator()
        ctypes.pythonapi.PyObject_GetArenaAllocator(ctypes.byref(arena))
        self._callbacks = (_MALLOC(self._malloc), _CALLOC(self._calloc), _REALLOC(self._realloc))
        name = b"temporary files"
        self._handler = _Handler(name, HANDLER_VERSION, None, *self._callbacks, arena.free)
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, (_address, ctypes.c_char_p, _address)
        self.capsule = new(ctypes.byref(self._handler), HANDLER_NAME, None)
        # An array may live longer than the time it was made in, and longer than this module.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))

    def _malloc(self, _: int | None, size: int) -> int | None:
        try:
            if size < LARGE_BYTES:
                return self._mapped(size, -1)
            self.in_files += 1
            self.relieve()
            with tempfile.TemporaryFile(dir=self.folder) as file:
                # Space is reserved first: a full disk is an error now, and not a crash later.
                os.posix_fallocate(file.fileno(), 0, size)
                return self._mapped(size, file.fileno())
        except OSError as error:
            self.failure = error
            return None  # which NumPy makes a MemoryError

    def _calloc(self, context: int | None, count: int, size: int) -> int | None:
        return self._malloc(context, count * size)  # new pages are zero

    def _realloc(self, context: int | None, old: int | None, size: int) -> int | None:
        new = self._malloc(context, size)
        if new is not None and old is not None:
            before = self._sizes[old]
            ctypes.memmove(new, old, min(before, size))
            _libc().munmap(old, max(before, 1))
        return new

    def _mapped(self, size: int, file: int) -> int:
        shared = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS if file < 0 else mmap.MAP_SHARED
        access = mmap.PROT_READ | mmap.PROT_WRITE
        found = _libc().mmap(None, max(size, 1), access, shared, file, 0)
        if found in (None, _address(-1).value):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._sizes[found] = size
        return int(found)

    def relieve(self) -> None:
        """Take the pages of files out of memory where the process holds more than its budget."""
        if resident_bytes() <= self.budget_bytes:
            return
        for line in Path("/proc/self/maps").read_text().splitlines():
            bounds, access, _ = line.split(maxsplit=2)
            if access == "rw-s":
                begin, end = (int(part, 16) for part in bounds.split("-"))
                _libc().madvise(begin, end - begin, MADV_PAGEOUT)


@contextmanager
def arrays_in_files(folder: Path, budget_bytes: int) -> Iterator[Pages]:
    """Put arrays made in the meantime into temporary files; they may be used afterwards."""
    pages = Pages(folder, budget_bytes)
    _all.append(pages)
    _using.append(pages.capsule)
    before = set_allocator(pages.capsule)
    if len(_using) == 1:
        _plain[:] = [before]
    try:
        with _interrupts_outside():
            yield pages
    finally:
        # Whoever began first need not be the last to end.
        _using.remove(pages.capsule)
        set_allocator([*_plain, *_using][-1])


_all: Final[list[Pages]] = []
"""Every one there was, the last one last."""

_using: Final[list[Any]] = []
_plain: Final[list[Any]] = []
"""The handlers in use, the last one foremost, and NumPy's own."""


def failure() -> OSError | None:
    """Return the error for which the last array could not be made, if there was one."""
    return _all[-1].failure if _all else None


def set_allocator(capsule: Any) -> Any:
    """Give NumPy another handler of memory, and return the one before."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = _address, (ctypes.py_object, ctypes.c_char_p)
    table = pointer(_multiarray_umath._ARRAY_API, None)
    function = ctypes.c_void_p.from_address(table + SET_HANDLER * ctypes.sizeof(_address)).value
    set_it = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(function or 0)
    return set_it(capsule)


@contextmanager
def _interrupts_outside() -> Iterator[None]:
    """Let Ctrl-C wait while NumPy asks for pages: an error raised there would be lost."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    me = threading.get_ident()

    def interrupted(number: int, frame: FrameType | None) -> None:
        if not inside_allocator(frame):
            signal.default_int_handler(number, frame)
        again = threading.Timer(RETRY_S, signal.pthread_kill, (me, signal.SIGINT))
        again.daemon = True
        again.start()

    signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def inside_allocator(frame: FrameType | None) -> bool:
    """Return whether a frame runs inside a function that NumPy asks for memory."""
    callbacks = (Pages._malloc, Pages._calloc, Pages._realloc)
    mine = {callback.__code__ for callback in callbacks}
    while frame is not None and frame.f_code not in mine:
        frame = frame.f_back
    return frame is not None


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = _address
    numbers = (ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    libc.mmap.argtypes = (_address, _bytes, *numbers)
    libc.munmap.argtypes = (_address, _bytes)
    libc.madvise.argtypes = (_address, _bytes, ctypes.c_int)
    return libc


def resident_bytes() -> int:
    """Return how much memory the process holds, pages of files included."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * mmap.PAGESIZE
