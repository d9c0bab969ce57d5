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
from model.flash.availability import check_available, is_interpreted
from model.flash.tiles import Pass, Tiling, masked_tiles, padded
from model.flops import visible_pairs

LOG2_E = math.log2(math.e)
DELTA_ROWS = 64


def precision(dtype: torch.dtype) -> str:
    """Return how Triton multiplies: TF32 for fp32 only where torch is allowed it too."""
    if dtype == torch.float32 and torch.get_float32_matmul_precision() == "highest":
        return "ieee"
    return "tf32"


def rows(tensor: Tensor) -> tuple[int, int, int]:
    """Return the strides of batch, head and row."""
    batch, head, row, _ = tensor.stride()
    return batch, head, row


def with_rows(tensor: Tensor) -> Tensor:
    """Return the tensor, copied where its channels do not lie side by side."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def empty_like(tensor: Tensor) -> Tensor:
    """Return a tensor to be filled, of the same layout, its channels side by side in any case."""
    made = torch.empty_like(tensor)
    if made.stride(-1) == 1:
        return made
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


def constants(q: Tensor, keys: int, is_causal: bool, chosen: Tiling) -> dict[str, Any]:
    """Return what a kernel with tiles is compiled for."""
    limit = {"maxnreg": chosen.registers} if chosen.registers and torch.version.hip is None else {}
    return {
        "TILE_Q": chosen.queries,
        "TILE_K": chosen.keys,
        "WIDTH": q.shape[-1],
        "BLOCK": padded(q.shape[-1]),
        "CAUSAL": is_causal,
        "SHORT_Q": bool(q.shape[-2] % chosen.queries),
        "SHORT_K": bool(keys % chosen.keys),
        "PRECISION": precision(q.dtype),
        "UPCAST": is_interpreted() and q.dtype == torch.bfloat16,
        "num_warps": chosen.warps,
        "num_stages": chosen.stages,
        **limit,
    }


def tuned(which: Pass, q: Tensor, keys: int, is_causal: bool, run: Any) -> Tiling:
    """Return the tiling of a kernel for this work."""
    return tuning.tiling(tuning.kind(which, q, keys, is_causal, precision(q.dtype)), run)


def programs(q: Tensor, length: int, tile: int) -> tuple[int]:
    """Return the grid: a program for each tile of each head, the tiles of a head side by side."""
    return (-(-length // tile) * q.shape[0] * q.shape[1],)


@torch.library.custom_op("spanlight::flash_forward", mutates_args=())
def flash_forward(q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> tuple[Tensor, Tensor]:
    """Return the output, of q's layout, and the log-sum-exp ``(batch, heads, queries)``."""
    check_available(q.device)
    from model.flash.triton_forward import flash_forward_kernel

    q, k, v = with_rows(q), with_rows(k), with_rows(v)
    output = empty_like(q)
    lse = torch.empty(q.shape[:-1], dtype=torch.float32, device=q.device)
    if not q.numel():
        return output, lse
    queries, keys = q.shape[-2], k.shape[-2]
    scale = LOG2_E / math.sqrt(q.shape[-1])

    def run(chosen: Tiling) -> None:
        flash_forward_kernel[programs(q, queries, chosen.queries)](
            *(q, k, v, output, lse, *rows(q), *rows(k), *rows(v), *rows(output)),
            *(q.shape[1], queries, keys, scale),
            MASKED_TILES=masked_tiles(chosen, is_causal),
            **constants(q, keys, is_causal, chosen),
        )

    with torch.cuda.device_of(q):  # type: ignore[no-untyped-call]
        run(tuned("forward", q, keys, is_causal, run))
    return output, lse


@flash_forward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> tuple[Tensor, Tensor]:
    return empty_like(with_rows(q)), q.new_empty(q.shape[:-1], dtype=torch.float32)


@register_flop_formula(torch.ops.spanlight.flash_forward)
def _(q: Sequence[int], k: Sequence[int], v: Sequence[int], is_causal: bool, **_: Any) -> int:
    """Return the FLOPs of two products of the pairs that count; torch's counter asks, by shapes."""
    return 2 * _product_flops(q, k, is_causal)


@torch.library.custom_op("spanlight::flash_backward", mutates_args=())
def flash_backward(
    q: Tensor, k: Tensor, v: Tensor, output: Tensor, lse: Tensor, gradient: Tensor, is_causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of q, k and v, each of its layout."""
    check_available(q.device)
    q, k, v = with_rows(q), with_rows(k), with_rows(v)
    output, gradient, lse = with_rows(output), with_rows(gradient), lse.contiguous()
    dq, dk, dv = empty_like(q), empty_like(k), empty_like(v)
    if not q.numel():
        return dq, dk.zero_(), dv.zero_()
    with torch.cuda.device_of(q):  # type: ignore[no-untyped-call]
        delta = _delta(output, gradient, lse)
        _backward_dq(q, k, v, gradient, dq, lse, delta, is_causal)
        _backward_dkdv(q, k, v, gradient, dk, dv, lse, delta, is_causal)
    return dq, dk, dv


@flash_backward.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, output: Tensor, lse: Tensor, gradient: Tensor, is_causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    dq, dk, dv = (empty_like(with_rows(tensor)) for tensor in (q, k, v))
    return dq, dk, dv


@register_flop_formula(torch.ops.spanlight.flash_backward)
def _(
    q: Sequence[int], k: Sequence[int], v: Sequence[int], output: Sequence[int],
    lse: Sequence[int], gradient: Sequence[int], is_causal: bool, **_: Any,
) -> int:  # fmt: skip
    """Return the FLOPs of seven products: three for dQ, four for dK and dV."""
    return 7 * _product_flops(q, k, is_causal)


def _product_flops(q: Sequence[int], k: Sequence[int], is_causal: bool) -> int:
    batch, heads, queries, width = q
    pairs = visible_pairs(queries) if is_causal else queries * k[2]
    return 2 * batch * heads * width * pairs


def _delta(output: Tensor, gradient: Tensor, lse: Tensor) -> Tensor:
    from model.flash.triton_backward import flash_backward_delta_kernel

    delta = torch.empty_like(lse)
    queries, width = output.shape[-2:]
    flash_backward_delta_kernel[programs(output, queries, DELTA_ROWS)](
        *(output, gradient, delta, *rows(output), *rows(gradient), output.shape[1], queries),
        ROWS=DELTA_ROWS,
        WIDTH=width,
        BLOCK=padded(width),
        SHORT_Q=bool(queries % DELTA_ROWS),
    )
    return delta


def _backward_dq(
    q: Tensor, k: Tensor, v: Tensor, gradient: Tensor, dq: Tensor, lse: Tensor, delta: Tensor,
    is_causal: bool,
) -> None:  # fmt: skip
    from model.flash.triton_backward import flash_backward_dq_kernel

    queries, keys = q.shape[-2], k.shape[-2]
    scale = 1 / math.sqrt(q.shape[-1])

    def run(chosen: Tiling) -> None:
        flash_backward_dq_kernel[programs(q, queries, chosen.queries)](
            *(q, k, v, gradient, dq, lse, delta),
            *(*rows(q), *rows(k), *rows(v), *rows(gradient), *rows(dq)),
            *(q.shape[1], queries, keys, scale * LOG2_E, scale),
            MASKED_TILES=masked_tiles(chosen, is_causal),
            **constants(q, keys, is_causal, chosen),
        )

    run(tuned("dq", q, keys, is_causal, run))


def _backward_dkdv(
    q: Tensor, k: Tensor, v: Tensor, gradient: Tensor, dk: Tensor, dv: Tensor, lse: Tensor,
    delta: Tensor, is_causal: bool,
) -> None:  # fmt: skip
    from model.flash.triton_backward import flash_backward_dkdv_kernel

    queries, keys = q.shape[-2], k.shape[-2]
    scale = 1 / math.sqrt(q.shape[-1])

    def run(chosen: Tiling) -> None:
        flash_backward_dkdv_kernel[programs(q, keys, chosen.keys)](
            *(q, k, v, gradient, dk, dv, lse, delta),
            *(*rows(q), *rows(k), *rows(v), *rows(gradient), *rows(dk), *rows(dv)),
            *(q.shape[1], queries, keys, scale * LOG2_E, scale),
            **constants(q, keys, is_causal, chosen),
        )

    run(tuned("dkdv", q, keys, is_causal, run))
