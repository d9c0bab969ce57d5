"""What the attention benchmarks measure: a row each, and what memory it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from profiling.common.cli import count, count_or_zero
from profiling.common.memory_fit import ITEMSIZE, check_bytes
from profiling.common.options import option
from profiling.common.settings import ATTENTIONS, DTYPES

COMPILED: Final = "compiled"
"""Eager attention through torch.compile."""

SDPA_FLASH: Final = "sdpa-flash"
"""PyTorch's attention, held to its flash backend; ``sdpa`` is whatever backend PyTorch chooses."""

FLASH_ATTN: Final = "flash-attn"
"""The package of the FlashAttention authors, where it is installed."""

IMPLEMENTATIONS: Final = (*ATTENTIONS, COMPILED)
FLASH_IMPLEMENTATIONS: Final = (
    *("eager", COMPILED, "sdpa", SDPA_FLASH, "flash", "flash-reference", FLASH_ATTN),
)
FLASH_DTYPES: Final = ("bfloat16", "float32", "float16")

FORWARD: Final = "forward"
BACKWARD: Final = "backward"
BOTH: Final = "both"
PRODUCTS: Final = {FORWARD: 1.0, BACKWARD: 2.5, BOTH: 3.5}
"""FLOPs as FlashAttention's own benchmarks count them, in forward passes."""

HEADS: Final = 1
"""Of an `AttentionRow`."""

_SQUARES: Final = 3
"""T x T matrices of eager attention at the peak: in the backward pass of the softmax the weights,
their gradient and the scores' (a test looks)."""

_VECTORS: Final = 10
"""Tensors of q's shape at the peak: q, k, v, the result, their gradients, and two copies."""

_FLASH_SQUARES: Final = 5
"""T x T matrices at eager attention's peak, the mask beside them."""

_FLASH_VECTORS: Final = 12
"""Tensors of q's shape at the peak: q, k, v, the result, their gradients, and copies."""


class Unsupported(Exception):
    """An implementation cannot do a shape or dtype on this device: why, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionRow:
    """One attention to measure, a row of the benchmark.

    Attributes:
        implementation: one of `IMPLEMENTATIONS`.
        width: of the head.
        length: positions, as many queries as keys.
        batch: sequences, each of one head.
        steps: timed ones.
        warmup: steps before those.
    """

    implementation: str
    width: int
    length: int
    batch: int = option(8, "sequences", read=count)
    dtype: str = option(DTYPES[0], "of q, k and v", choices=DTYPES)
    device: str
    steps: int = option(100, "timed", read=count)
    warmup: int = option(10, "before them", read=count_or_zero)
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.implementation}, width {self.width}, length {self.length}"

    @property
    def itemsize(self) -> int:
        """Bytes of one number."""
        return ITEMSIZE[self.dtype]

    @property
    def is_square(self) -> bool:
        """Whether this implementation makes the T x T matrices."""
        return self.implementation in {"eager", COMPILED}

    @property
    def needed_bytes(self) -> int:
        """About how many bytes the row takes at its peak."""
        vectors = _VECTORS * self.batch * HEADS * self.length * self.width * self.itemsize
        if not self.is_square:
            return vectors
        # The mask is made of a full square and cut to its triangle, both of one byte an element.
        squares = _SQUARES * self.batch * HEADS * self.length**2 * self.itemsize
        return vectors + squares + 2 * self.length**2


def check(row: AttentionRow) -> None:
    """Refuse an attention that does not fit into a CPU's memory; a GPU says so itself.

    Raises:
        OutOfMemory: it cannot.
    """
    if not row.device.startswith("cuda"):
        check_bytes(row.needed_bytes, row.device)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashRow:
    """One attention at one shape, causal.

    Attributes:
        warmup_ms: how long each part runs before it is timed.
        repeat_ms: how long it is timed.
    """

    implementation: str
    dtype: str
    width: int
    length: int
    heads: int = option(16, "of each sequence", read=count)
    batch: int = option(1, "sequences", read=count)
    device: str
    warmup_ms: int = option(25, "before each part", read=count)
    repeat_ms: int = option(100, "timed", read=count)

    def __str__(self) -> str:
        return f"{self.implementation}, {self.dtype}, width {self.width}, length {self.length}"

    @property
    def flops(self) -> float:
        """FLOPs of a forward pass by FlashAttention's convention: 4*B*H*T^2*D, half if causal."""
        return 2.0 * self.batch * self.heads * self.length**2 * self.width

    @property
    def needed_bytes(self) -> int:
        """About how many bytes the attention takes at its peak."""
        itemsize = ITEMSIZE[self.dtype]
        vectors = _FLASH_VECTORS * self.batch * self.heads * self.length * self.width * itemsize
        if self.implementation not in {"eager", COMPILED}:
            return 2 * vectors
        return vectors + _FLASH_SQUARES * self.batch * self.heads * self.length**2 * itemsize


def flops_per_s(result: dict[str, Any], part: str) -> float:
    """Return the FLOPs a second of a timed part of a result of a `FlashRow`; NaN for no time."""
    row = FlashRow(**{name: result[name] for name in FlashRow.__slots__})
    median_ns = float(result[part][0])
    return PRODUCTS[part] * row.flops / (median_ns / 1e9) if median_ns > 0 else math.nan
