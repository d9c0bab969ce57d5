"""How many matrix products a forward pass launches: linear layers', and attention's in batches."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools
from analysis.attribution import work_phases
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution.selected import Selected
    from analysis.recorded.work import Work

GEMM: Final = "gemm"
"""The category of matrix products."""

ON_CPU: Final = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")
"""Of the operators of category gemm, those that multiply; the others contain them."""

PART: Final = re.compile(
    r"split_?k_?reduce|reduce_?split_?k|reduce_1block|epilogue::impl::globalkernel"
    r"|cijk_(?!a[a-z]+_b)",
    re.IGNORECASE,
)
"""Kernels that end a product which another one did: they add up its parts, or do its epilogue.

cuBLAS's `splitKreduce_kernel`, the second half of its dot product, CUTLASS's `ReduceSplitK`, and
those of Tensile without operands in their name, `Cijk_SB_…_PostGSU8`.
"""

LINEARS: Final = 7
"""Of a block: q, k, v and the output projection, and three of a gated feed-forward."""

BATCHED: Final = (names.ATTENTION_SCORES, names.FINAL_MATMUL)
"""The parts of attention that are a product for each head of each sequence, in one call."""


@dataclass(frozen=True)
class GemmCalls:
    """The matrix products that one forward pass launches.

    Attributes:
        linear: those of linear layers; all of them, where no range tells attention's.
        batched: those of attention's scores and values.
        layers: how many blocks one forward passes; 0 where no range tells.
    """

    linear: float
    batched: float
    layers: float

    @property
    def by_layer(self) -> bool:
        """Whether there are 7 linear layers and 2 batched products a block, and one head."""
        wanted = (LINEARS * self.layers + 1, len(BATCHED) * self.layers)
        return self.layers > 0 and (self.linear, self.batched) == wanted

    def describe(self) -> str:
        """Return the numbers of products in words.

        >>> GemmCalls(85, 24, 12).describe(), GemmCalls(2.5, 0, 0).describe()
        ('109 GEMM calls: 85 linear (7 a layer + 1) and 24 batched', '2.5 GEMM calls')
        """
        every = self.linear + self.batched
        text = f"{every:,g} GEMM {'call' if every == 1 else 'calls'}"
        if not self.batched:
            return text
        how = f" ({LINEARS} a layer + 1)" if self.by_layer else ""
        return f"{text}: {self.linear:,g} linear{how} and {self.batched:,g} batched"


def gemm_calls(chosen: Selected, forward: Bools, passes: int) -> GemmCalls:
    """Return how many matrix products one forward pass launches.

    Args:
        chosen: the part of a report that counts.
        forward: ``(N,)`` which of it belongs to the forward passes.
        passes: how many those are, at least 1.
    """
    attribution = chosen.attribution
    ranges = attribution.ranges
    batched = np.zeros_like(forward)
    for part in BATCHED:
        of_part = ranges.called(part)
        if of_part.any():
            batched |= work_phases.work_inside(attribution, of_part)[: len(batched)]
    linear, others = (
        count_products(attribution.work.take(forward & side)) / passes
        for side in (~batched, batched)
    )
    counted = ranges.called(names.FINAL_MATMUL) & chosen.ranges
    return GemmCalls(linear, others, int(counted.sum()) / passes)


def count_products(work: Work) -> int:
    """Return how many matrix products some work holds; kernels that add up parts are none."""
    counts = np.bincount(work.kind, minlength=len(work.names))
    return sum(
        int(count)
        for name, label, count in zip(work.names, work.categories, counts.tolist(), strict=True)
        if label == GEMM and not PART.search(name) and not wraps_another(name)
    )


def wraps_another(name: str) -> bool:
    """Return whether an operator's product is launched by another operator inside it."""
    return name.startswith("aten::") and name not in ON_CPU
