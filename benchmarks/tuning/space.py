"""Which tilings of FlashAttention are worth compiling for an H100: many, less what cannot fit.

What a tiling needs is added up from the tiles that are there at once, in float32 for what is summed
up and twice in the inputs' format for what is loaded. The compiler has the last word: what it
spills or refuses shows in the table.
"""

from collections.abc import Iterator
from itertools import product
from typing import Final

from model.flash.tiles import Pass, Tiling, candidates, padded

PASSES: Final[tuple[Pass, ...]] = ("forward", "one_pass", "dkdv", "dq")
SIDES: Final = (32, 64, 128)
WARPS: Final = (4, 8)
STAGES: Final = (2, 3, 4)

SHARED_BYTES: Final = 232_448
"""Of one program: CUDA C++ Programming Guide, technical specifications, compute capability 9.0."""

REGISTERS: Final = 255
"""Of one thread, at most."""

FILE: Final = 65_536
"""Registers of a multiprocessor."""

SPARE: Final = 60
"""Registers beside the tiles, for addresses and what the compiler keeps: seen in its output."""

ROWS_OF_A_WARP: Final = 16
"""Of the left side of a product, where four warps work together on 64 rows."""


def tilings(which: Pass, width: int, dtype_bytes: int, precision: str) -> list[Tiling]:
    """Return the tilings worth timing, the shipped ones first; for float32 only those.

    ``precision`` is that of products in float32, see `model.flash.tiles.candidates`.
    """
    shipped = candidates(which, width, dtype_bytes, precision)
    if dtype_bytes > 2:
        return list(shipped)
    return list(dict.fromkeys((*shipped, *_wide(which, padded(width), dtype_bytes))))


def _wide(which: Pass, width: int, dtype_bytes: int) -> Iterator[Tiling]:
    for queries, keys, warps, stages in product(SIDES, SIDES, WARPS, STAGES):
        needed = needed_registers(which, queries, keys, width, warps)
        shared = needed_bytes(which, queries, keys, width, stages, dtype_bytes)
        rows = queries if which in ("forward", "dq") else keys
        if rows < ROWS_OF_A_WARP * warps or needed > REGISTERS or shared > SHARED_BYTES:
            continue
        yield Tiling(queries, keys, warps, stages)
        for programs in (2, 3, 4):
            limit = FILE // (programs * 32 * warps) // 8 * 8
            together = programs * shared <= SHARED_BYTES
            if together and needed - SPARE // 2 <= limit < min(REGISTERS, needed + SPARE):
                yield Tiling(queries, keys, warps, stages, limit)


def needed_registers(which: Pass, queries: int, keys: int, width: int, warps: int) -> int:
    """Return about how many registers a thread needs.

    >>> needed_registers("forward", 128, 64, 64, 8), needed_registers("one_pass", 64, 128, 64, 8)
    (124, 204)
    """
    square, by_query, by_key = queries * keys, queries * width, keys * width
    numbers = {
        "forward": square + by_query,
        "dq": 2 * square + by_query,
        "dkdv": 2 * square + 2 * by_key,
        "one_pass": 2 * square + 2 * by_key + by_query,
    }[which]
    return numbers // (32 * warps) + SPARE


def needed_bytes(
    which: Pass, queries: int, keys: int, width: int, stages: int, dtype_bytes: int
) -> int:
    """Return how much shared memory a program needs: what stays, and what is in flight.

    >>> needed_bytes("forward", 128, 64, 64, 3, 2), needed_bytes("dkdv", 64, 128, 64, 3, 2)
    (65536, 81920)
    """
    by_query, by_key = queries * width * dtype_bytes, keys * width * dtype_bytes
    stays, flies = (by_query, by_key) if which in ("forward", "dq") else (by_key, by_query)
    kept = 1 if which == "forward" else 2
    of_scores = queries * keys * dtype_bytes if which == "one_pass" else 0
    return kept * stays + 2 * stages * flies + of_scores
