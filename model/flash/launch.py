"""Launching the Triton kernels, as operators of PyTorch's dispatcher.

As operators they are opaque to ``torch.compile``, which keeps them as they are in its graph, and
work on meta tensors. Both take ``(batch, heads, length, width)`` of any strides whose channels
are contiguous; others are copied. Triton is imported with the first launch.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from model.flash import tuning
from model.flash.availability import check_available
from model.flash.backward import LOG2_E, Backward, statistics
from model.flash.tiles import (
    PRODUCTS,
    TWO_PASSES,
    Tiling,
    empty_like,
    kernel_constants,
    launch_grid,
    masked_tiles,
    product_precision,
    row_strides,
    with_adjacent_channels,
)
from model.flops import visible_pairs


@torch.library.custom_op("spanlight::flash_forward", mutates_args=())
def flash_forward(q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> tuple[Tensor, Tensor]:
    """Return the output, of q's layout, and the log-sum-exp ``(batch, heads, queries)``."""
    check_available(q.device)
    q, k, v = with_adjacent_channels(q), with_adjacent_channels(k), with_adjacent_channels(v)
    output = empty_like(q)
    lse = torch.empty(q.shape[:-1], dtype=torch.float32, device=q.device)
    if not q.numel():
        return output, lse
    work = tuning.kind("forward", q, k.shape[-2], is_causal, product_precision(q.dtype))

    def run(chosen: Tiling) -> None:
        run_forward(q, k, v, output, lse, is_causal, chosen)

    with torch.cuda.device_of(q):  # type: ignore[no-untyped-call]
        run(tuning.tiling(work, run))
    return output, lse


def run_forward(
    q: Tensor, k: Tensor, v: Tensor, output: Tensor, lse: Tensor, is_causal: bool, chosen: Tiling
) -> None:
    """Write the output and the log-sum-exp."""
    from model.flash.triton_forward import flash_forward_kernel

    keys, scale = k.shape[-2], LOG2_E / math.sqrt(q.shape[-1])
    flash_forward_kernel[launch_grid(q, q.shape[-2], chosen.queries)](
        *(
            q,
            k,
            v,
            output,
            lse,
            *row_strides(q),
            *row_strides(k),
            *row_strides(v),
            *row_strides(output),
        ),
        *(q.shape[1], q.shape[-2], keys, scale),
        MASKED_TILES=masked_tiles(chosen, is_causal),
        **kernel_constants(q, keys, is_causal, chosen),
    )


@flash_forward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> tuple[Tensor, Tensor]:
    return empty_like(with_adjacent_channels(q)), q.new_empty(q.shape[:-1], dtype=torch.float32)


@register_flop_formula(torch.ops.spanlight.flash_forward)
def _(q: Sequence[int], k: Sequence[int], v: Sequence[int], is_causal: bool, **_: Any) -> int:
    """Return the FLOPs of two products of the pairs that count; torch's counter asks, by shapes."""
    return PRODUCTS["forward"] * _product_flops(q, k, is_causal)


@torch.library.custom_op("spanlight::flash_backward", mutates_args=())
def flash_backward(
    q: Tensor, k: Tensor, v: Tensor, output: Tensor, lse: Tensor, gradient: Tensor, is_causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of q, k and v, each of its layout.

    Which passes compute them is timed, as tilings are. One pass adds dQ up in an order that differs
    from run to run: with ``torch.use_deterministic_algorithms(True)`` there are always two.
    """
    check_available(q.device)
    q, k, v = with_adjacent_channels(q), with_adjacent_channels(k), with_adjacent_channels(v)
    output, gradient, lse = (
        with_adjacent_channels(output),
        with_adjacent_channels(gradient),
        lse.contiguous(),
    )
    dq, dk, dv = empty_like(q), empty_like(k), empty_like(v)
    if not q.numel():
        return dq, dk.zero_(), dv.zero_()
    with torch.cuda.device_of(q):  # type: ignore[no-untyped-call]
        known = statistics(output, gradient, lse)
        work = Backward(q, k, v, gradient, dq, dk, dv, known, is_causal)
        runs = work.runs()
        for which, chosen in tuning.backward_tilings(work.kinds(), runs):
            runs[which](chosen)
    return dq, dk, dv


@flash_backward.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, output: Tensor, lse: Tensor, gradient: Tensor, is_causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    dq, dk, dv = (empty_like(with_adjacent_channels(tensor)) for tensor in (q, k, v))
    return dq, dk, dv


@register_flop_formula(torch.ops.spanlight.flash_backward)
def _(
    q: Sequence[int], k: Sequence[int], v: Sequence[int], output: Sequence[int],
    lse: Sequence[int], gradient: Sequence[int], is_causal: bool, **_: Any,
) -> int:  # fmt: skip
    """Return the FLOPs of the products of two passes; shapes do not tell which were chosen."""
    return sum(PRODUCTS[which] for which in TWO_PASSES) * _product_flops(q, k, is_causal)


def _product_flops(q: Sequence[int], k: Sequence[int], is_causal: bool) -> int:
    batch, heads, queries, width = q
    pairs = visible_pairs(queries) if is_causal else queries * k[2]
    return 2 * batch * heads * width * pairs
