"""Launching the backward kernels: in two passes, or in one that adds dQ up in memory."""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch import Tensor

from model.flash.tiles import (
    PADDED_QUERIES,
    STATISTICS,
    Pass,
    Tiling,
    kernel_constants,
    launch_grid,
    masked_tiles,
    padded,
    product_precision,
    row_strides,
)
from model.flash.tuning import Kind, kind

LOG2_E: Final = math.log2(math.e)
ROW_WARPS: Final = 8
"""Of the kernels that go over rows once, `PADDED_QUERIES` at a time."""


class Backward(NamedTuple):
    """The tensors of the backward kernels, all ``(batch, heads, length, width)``.

    Attributes:
        above: the gradient of the output.
        statistics: ``(batch * heads, queries padded, STATISTICS)`` in float32.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    above: Tensor
    dq: Tensor
    dk: Tensor
    dv: Tensor
    statistics: Tensor
    is_causal: bool

    @property
    def queries(self) -> int:
        """How many queries there are."""
        return self.q.shape[-2]

    @property
    def keys(self) -> int:
        """How many keys there are."""
        return self.k.shape[-2]

    @property
    def scale(self) -> float:
        """The factor that scores are multiplied by."""
        return 1 / math.sqrt(self.q.shape[-1])

    def kinds(self) -> dict[Pass, Kind]:
        """Return the kind of work of each pass, under which its tiling is kept."""
        return kinds(self.q, self.keys, self.is_causal)

    def run_dq(self, chosen: Tiling) -> None:
        """Write dQ."""
        from model.flash.triton_backward import flash_backward_dq_kernel

        read = (self.q, self.k, self.v, self.above)
        flash_backward_dq_kernel[launch_grid(self.q, self.queries, chosen.queries)](
            *(*read, self.dq, self.statistics),
            *(stride for tensor in (*read, self.dq) for stride in row_strides(tensor)),
            *(self.q.shape[1], self.queries, self.keys, self.scale * LOG2_E, self.scale),
            MASKED_TILES=masked_tiles(chosen, self.is_causal),
            **kernel_constants(self.q, self.keys, self.is_causal, chosen),
        )

    def run_dkdv(self, chosen: Tiling, sums: Tensor | None = None) -> None:
        """Write dK and dV, and add to the sums of dQ if they are there."""
        from model.flash.triton_backward import flash_backward_dkdv_kernel

        both = (self.q, self.k, self.v, self.above, self.dk, self.dv)
        flash_backward_dkdv_kernel[launch_grid(self.q, self.keys, chosen.keys)](
            *(*both, self.statistics, sums),
            *(stride for tensor in both for stride in row_strides(tensor)),
            *(self.q.shape[1], self.queries, self.keys, self.scale * LOG2_E, self.scale),
            **kernel_constants(self.q, self.keys, self.is_causal, chosen),
        )

    def run_one_pass(self, chosen: Tiling) -> None:
        """Write all three gradients; dQ is added up in float32, which takes memory of its own."""
        from model.flash.triton_backward import flash_backward_dq_cast_kernel

        width = self.q.shape[-1]
        shape = (*self.statistics.shape[:-1], padded(width))
        sums = torch.zeros(shape, dtype=torch.float32, device=self.q.device)
        self.run_dkdv(chosen, sums)
        flash_backward_dq_cast_kernel[launch_grid(self.q, self.queries, PADDED_QUERIES)](
            *(sums, self.dq, *row_strides(self.dq), self.q.shape[1], self.queries, self.scale),
            WIDTH=width,
            BLOCK=padded(width),
            SHORT_Q=bool(self.queries % PADDED_QUERIES),
            num_warps=ROW_WARPS,
        )

    def runs(self) -> dict[Pass, Callable[[Tiling], None]]:
        """Return the function that runs each pass with a tiling."""
        return {"dq": self.run_dq, "dkdv": self.run_dkdv, "one_pass": self.run_one_pass}


def kinds(q: Tensor, keys: int, is_causal: bool) -> dict[Pass, Kind]:
    """Return the kind of work of each backward pass, under which its tiling is kept."""
    every: tuple[Pass, ...] = ("dq", "dkdv", "one_pass")
    return {which: kind(which, q, keys, is_causal, product_precision(q.dtype)) for which in every}


def statistics(output: Tensor, above: Tensor, lse: Tensor) -> Tensor:
    """Return the numbers that the kernels read of each query: `Backward.statistics`."""
    from model.flash.triton_backward import flash_backward_statistics_kernel

    batch, heads, queries, width = output.shape
    grid = launch_grid(output, queries, PADDED_QUERIES)
    made = torch.empty(
        (batch * heads, -(-queries // PADDED_QUERIES) * PADDED_QUERIES, STATISTICS),
        dtype=torch.float32,
        device=output.device,
    )
    flash_backward_statistics_kernel[grid](
        *(output, above, lse, made, *row_strides(output), *row_strides(above), heads, queries),
        WIDTH=width,
        BLOCK=padded(width),
        SHORT_Q=bool(queries % PADDED_QUERIES),
        num_warps=ROW_WARPS,
    )
    return made
