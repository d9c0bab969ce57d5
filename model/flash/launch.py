"""Launching the Triton kernels, by themselves and as operators of PyTorch's dispatcher.

As operators they are opaque to ``torch.compile``, which keeps them as they are in its graph, and
work on meta tensors. Both take ``(batch, heads, length, width)`` of any strides whose channels
are contiguous; others are copied. Triton is imported with the first launch.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from model.flash import tuning
from model.flash.availability import check_available
from model.flash.tiles import (
    PADDED_QUERIES,
    PRODUCTS,
    STATISTICS,
    TWO_PASSES,
    Pass,
    Tiling,
    empty_like,
    kernel_constants,
    launch_grid,
    masked_tiles,
    padded,
    row_strides,
    with_adjacent_channels,
)
from model.flops import visible_pairs

LOG2_E: Final = math.log2(math.e)


def run_forward(
    q: Tensor, k: Tensor, v: Tensor, output: Tensor, lse: Tensor, is_causal: bool, chosen: Tiling
) -> None:
    """Write the output and the log-sum-exp."""
    from model.flash.triton_forward import flash_forward_kernel

    keys, scale = k.shape[-2], LOG2_E / math.sqrt(q.shape[-1])
    flash_forward_kernel[launch_grid(q, q.shape[-2], chosen.queries)](
        *(q, k, v, output, lse, *row_strides(q, k, v, output)),
        *(q.shape[1], q.shape[-2], keys, scale),
        MASKED_TILES=masked_tiles(chosen, is_causal),
        **kernel_constants(q, keys, is_causal, chosen),
    )


def backward_runs(
    *tensors: Tensor, statistics: Tensor, is_causal: bool
) -> dict[Pass, Callable[[Tiling], None]]:
    """Return what runs each backward pass once with a tiling.

    Args:
        tensors: q, k, v and the gradient of the output, which are read, and dq, dk and dv, which
            are written; all ``(batch, heads, length, width)``.
        statistics: ``(batch * heads, queries padded, STATISTICS)`` in float32.
        is_causal: as in the forward pass.
    """
    from model.flash.triton_backward import (
        flash_backward_dkdv_kernel,
        flash_backward_dq_cast_kernel,
        flash_backward_dq_kernel,
    )

    q, k, v, above, dq, dk, dv = tensors
    (_, heads, queries, width), keys = q.shape, k.shape[-2]
    scale = 1 / math.sqrt(width)
    numbers = (heads, queries, keys, scale * LOG2_E, scale)

    def run_dq(chosen: Tiling) -> None:
        used = (q, k, v, above, dq)
        flash_backward_dq_kernel[launch_grid(q, queries, chosen.queries)](
            *(*used, statistics, *row_strides(*used), *numbers),
            MASKED_TILES=masked_tiles(chosen, is_causal),
            **kernel_constants(q, keys, is_causal, chosen),
        )

    def run_dkdv(chosen: Tiling, sums: Tensor | None = None) -> None:
        used = (q, k, v, above, dk, dv)
        flash_backward_dkdv_kernel[launch_grid(q, keys, chosen.keys)](
            *(*used, statistics, sums, *row_strides(*used), *numbers),
            **kernel_constants(q, keys, is_causal, chosen),
        )

    def run_one_pass(chosen: Tiling) -> None:
        # dQ is added up in float32, which takes memory of its own.
        shape = (*statistics.shape[:-1], padded(width))
        sums = torch.zeros(shape, dtype=torch.float32, device=q.device)
        run_dkdv(chosen, sums)
        flash_backward_dq_cast_kernel[launch_grid(q, queries, PADDED_QUERIES)](
            *(sums, dq, *row_strides(dq), heads, queries, scale), **_row_constants(queries, width)
        )

    return {"dq": run_dq, "dkdv": run_dkdv, "one_pass": run_one_pass}


def _row_constants(queries: int, width: int) -> dict[str, Any]:
    """Return the constants of a kernel that goes over rows once, `PADDED_QUERIES` at a time."""
    short = bool(queries % PADDED_QUERIES)
    return {"WIDTH": width, "BLOCK": padded(width), "SHORT_Q": short, "num_warps": 8}


def statistics(output: Tensor, above: Tensor, lse: Tensor) -> Tensor:
    """Return the numbers of each query that `backward_runs` takes."""
    from model.flash.triton_backward import flash_backward_statistics_kernel

    batch, heads, queries, width = output.shape
    rows = -(-queries // PADDED_QUERIES) * PADDED_QUERIES
    shape = (batch * heads, rows, STATISTICS)
    made = torch.empty(shape, dtype=torch.float32, device=output.device)
    flash_backward_statistics_kernel[launch_grid(output, queries, PADDED_QUERIES)](
        *(output, above, lse, made, *row_strides(output, above), heads, queries),
        **_row_constants(queries, width),
    )
    return made


@torch.library.custom_op("spanlight::flash_forward", mutates_args=())
def flash_forward(q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> tuple[Tensor, Tensor]:
    """Return the output, of q's layout, and the log-sum-exp ``(batch, heads, queries)``."""
    check_available(q.device)
    q, k, v = with_adjacent_channels(q, k, v)
    output = empty_like(q)
    lse = torch.empty(q.shape[:-1], dtype=torch.float32, device=q.device)
    if not q.numel():
        return output, lse
    work = tuning.kind("forward", q, k.shape[-2], is_causal)

    def run(chosen: Tiling) -> None:
        run_forward(q, k, v, output, lse, is_causal, chosen)

    with torch.cuda.device_of(q):  # type: ignore[no-untyped-call]
        run(tuning.tiling(work, run))
    return output, lse


@flash_forward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> tuple[Tensor, Tensor]:
    return empty_like(*with_adjacent_channels(q)), q.new_empty(q.shape[:-1], dtype=torch.float32)


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
    q, k, v, output, gradient = with_adjacent_channels(q, k, v, output, gradient)
    dq, dk, dv = empty_like(q), empty_like(k), empty_like(v)
    if not q.numel():
        return dq, dk.zero_(), dv.zero_()
    with torch.cuda.device_of(q):  # type: ignore[no-untyped-call]
        known = statistics(output, gradient, lse.contiguous())
        tensors = (q, k, v, gradient, dq, dk, dv)
        runs = backward_runs(*tensors, statistics=known, is_causal=is_causal)
        works = tuning.kinds(q, k.shape[-2], is_causal)
        for which, chosen in tuning.backward_tilings(works, runs):
            runs[which](chosen)
    return dq, dk, dv


@flash_backward.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, output: Tensor, lse: Tensor, gradient: Tensor, is_causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    dq, dk, dv = map(empty_like, with_adjacent_channels(q, k, v))
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
