"""The tiles that attention is cut into: which there are to choose from, and which are computed.

Also what the Triton kernels are called with: strides, layouts, constants, grids.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

import torch
from torch import Tensor

from model.flash.availability import is_interpreted

Pass = Literal["forward", "dq", "dkdv", "one_pass"]
"""What has tiles: the forward pass, the two of the backward pass, and the backward pass in one."""

PRODUCTS: Final[dict[Pass, int]] = {"forward": 2, "dq": 3, "dkdv": 4, "one_pass": 5}
"""Matrix products of each pair of a query and a key."""

TWO_PASSES: Final[tuple[Pass, ...]] = ("dq", "dkdv")
ONE_PASS: Final[tuple[Pass, ...]] = ("one_pass",)

WIDEST: Final = 128
"""The greatest width of a head that the Triton version takes."""

NARROWEST: Final = 16
"""The narrowest tile that tensor cores take; a narrower head is padded to it."""

PADDED_QUERIES: Final = 128
"""The backward pass has its own rows of numbers for each query, so many to a tile at most: up to a
multiple of this they are there for queries that are not, so that no tile sticks out."""

STATISTICS: Final = 4
"""Numbers in a row of what the backward pass knows of a query: log-sum-exp, delta, two unused."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """How one kernel cuts the score square.

    Attributes:
        queries: rows of a tile.
        keys: columns of a tile.
        warps: that work on it together.
        stages: tiles in flight: one is computed while the next are loaded.
        registers: the most a thread may take, so that more programs fit on a multiprocessor; 0
            leaves it to the compiler.
    """

    queries: int
    keys: int
    warps: int
    stages: int
    registers: int = 0


INTERPRETED: Final = Tiling(128, 64, 4, 1)
"""What Triton's interpreter gets: it takes a few milliseconds a tile, whatever the tile's size."""

REFERENCE: Final = Tiling(128, 128, 0, 0)
"""What the version in PyTorch's operators uses, forward and backward."""


def _listed(text: str) -> tuple[Tiling, ...]:
    """Return tilings, each written as QUERIESxKEYS/WARPS/STAGES or with /REGISTERS behind."""
    return tuple(Tiling(*map(int, re.split("[x/]", each))) for each in text.split())


HALF: Final[dict[tuple[Pass, int], tuple[Tiling, ...]]] = {
    ("forward", 64): _listed("128x64/8/3/128 128x128/8/3 128x64/8/2/128 64x64/4/3/128 64x128/4/2"),
    ("forward", 128): _listed("128x128/8/2 128x64/8/3 128x64/8/2 64x64/4/2 64x32/4/2"),
    ("dkdv", 64): _listed("64x128/8/3 64x64/4/3 32x128/8/3/128 32x64/4/3 64x64/4/2"),
    ("dkdv", 128): _listed("64x128/8/3 32x128/8/3 64x64/8/2 32x64/4/3"),
    ("one_pass", 64): _listed("64x128/8/2 64x128/8/3 64x64/4/2 32x64/4/3/168 32x64/4/2"),
    ("one_pass", 128): _listed("32x128/8/2 32x128/8/3 32x64/8/2"),
    ("dq", 64): _listed("128x64/8/3 128x128/8/2 128x64/8/2 64x64/4/3 64x128/4/2"),
    ("dq", 128): _listed("128x64/8/3 128x128/8/2 64x64/4/2 64x32/4/3"),
}
"""For bf16 and fp16, by pass and by the width up to which they are meant; the first is a guess.

Each was compiled for an H100 (`tests.model.flash.test_compiled`) by Triton 3.6.0 and 3.7.1: none
keeps its sums in local memory, in none are the tensor cores' instructions serialised. The last of
each fits smaller GPUs. In one pass a tile of 64 x 128, width 64, takes 1280 cycles of the tensor
cores and some 360 instructions a thread, in two 1792 and some 550: so much is known without a GPU.
"""

IEEE: Final[dict[Pass, tuple[Tiling, ...]]] = {
    "forward": _listed("32x32/8/1 32x32/4/2"),
    "dkdv": _listed("16x32/8/1 32x32/8/1"),
    "dq": _listed("32x32/8/1 16x32/8/1"),
}
"""For fp32 where TF32 is not allowed: no tensor core does such products.

Triton unrolls them into single instructions, so that larger tiles take minutes to compile.
"""

TF32: Final[dict[Pass, tuple[Tiling, ...]]] = {
    "forward": _listed("64x32/4/2 64x64/8/2 32x32/4/2"),
    "dkdv": _listed("32x32/4/2 64x32/4/2"),
    "dq": _listed("64x32/4/2 32x32/4/2"),
}
"""For fp32 where TF32 is allowed."""


def padded(width: int) -> int:
    """Return the width of a tile for heads of this width: a power of two, as Triton needs.

    >>> padded(64), padded(80), padded(8)
    (64, 128, 16)
    """
    return max(NARROWEST, 1 << (width - 1).bit_length())


def candidates(which: Pass, width: int, itemsize: int, precision: str) -> tuple[Tiling, ...]:
    """Return the tilings worth timing, the best guess first; none where a pass is not done so.

    In float32 there is no single backward pass: its sums are to be as exact as its products, whose
    ``precision`` is ``ieee`` or ``tf32``.
    """
    if itemsize > 2:
        return (IEEE if precision == "ieee" else TF32).get(which, ())
    return HALF[which, 64 if padded(width) <= 64 else 128]


def masked_tiles(chosen: Tiling, is_causal: bool) -> int:
    """Return how many tiles of a row of tiles need a mask at most.

    Those the diagonal goes through, tile sizes being powers of two; else the ragged last one.

    >>> masked_tiles(Tiling(128, 64, 4, 1), True), masked_tiles(Tiling(64, 128, 4, 1), True)
    (2, 1)
    """
    return max(1, chosen.queries // chosen.keys) if is_causal else 1


def length_class(length: int) -> int:
    """Return the class of a length: lengths of one class share a tuned tiling.

    >>> [length_class(n) for n in (100, 512, 513, 2048, 16384, 65536)]
    [512, 512, 2048, 2048, 8193, 8193]
    """
    return next((bound for bound in (512, 2048, 8192) if length <= bound), 8193)


@lru_cache(maxsize=256)
def computed_pairs(
    queries: int, keys: int, is_causal: bool, tile_queries: int, tile_keys: int
) -> int:
    """Return how many query-key pairs lie in tiles that are computed.

    Tiles wholly above the diagonal are skipped, those on it are computed whole. What pads the last
    tile of a length, or the width, does not count.

    >>> computed_pairs(1024, 1024, False, 128, 64), 1024 * 1024
    (1048576, 1048576)
    >>> computed_pairs(1024, 1024, True, 128, 64), 1024 * 1025 // 2
    (589824, 524800)
    """
    if not is_causal:
        return queries * keys
    pairs = 0
    for first in range(0, queries, tile_queries):
        after = min(first + tile_queries, queries)
        seen = -(-after // tile_keys) * tile_keys
        pairs += (after - first) * min(seen, keys)
    return pairs


def product_precision(dtype: torch.dtype) -> str:
    """Return how Triton multiplies: TF32 for fp32 only where torch is allowed it too."""
    if dtype == torch.float32 and torch.get_float32_matmul_precision() == "highest":
        return "ieee"
    return "tf32"


def row_strides(*tensors: Tensor) -> tuple[int, ...]:
    """Return the strides of batch, head and row of each tensor, one after the other."""
    return tuple(stride for tensor in tensors for stride in tensor.stride()[:3])


def with_adjacent_channels(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the tensors, copied where their channels do not lie side by side."""
    return tuple(each if each.stride(-1) == 1 else each.contiguous() for each in tensors)


def empty_like(tensor: Tensor) -> Tensor:
    """Return a tensor to be filled, of the same layout, its channels side by side in any case."""
    (made,) = with_adjacent_channels(torch.empty_like(tensor))
    return made


def kernel_constants(q: Tensor, keys: int, is_causal: bool, chosen: Tiling) -> dict[str, Any]:
    """Return the constants that a kernel with tiles is compiled for."""
    limit = {"maxnreg": chosen.registers} if chosen.registers and torch.version.hip is None else {}
    return {
        "TILE_Q": chosen.queries,
        "TILE_K": chosen.keys,
        "WIDTH": q.shape[-1],
        "BLOCK": padded(q.shape[-1]),
        "CAUSAL": is_causal,
        "SHORT_Q": bool(q.shape[-2] % chosen.queries),
        "SHORT_K": bool(keys % chosen.keys),
        "PRECISION": product_precision(q.dtype),
        "UPCAST": is_interpreted() and q.dtype == torch.bfloat16,
        "num_warps": chosen.warps,
        "num_stages": chosen.stages,
        **limit,
    }


def launch_grid(q: Tensor, length: int, tile: int) -> tuple[int]:
    """Return the grid: a program for each tile of each head, the tiles of a head side by side."""
    return (-(-length // tile) * q.shape[0] * q.shape[1],)
