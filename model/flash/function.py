"""FlashAttention-2 in Triton, as an autograd function."""

from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.flash import tuning
from model.flash.availability import check_available
from model.flash.launch import flash_backward, flash_forward
from model.flash.reference import check_inputs, with_heads
from model.flash.tiles import PRODUCTS, WIDEST, Pass, computed_pairs

DTYPES: Final = (torch.float32, torch.float16, torch.bfloat16)


def check(q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> None:
    """Refuse tensors that the kernels cannot compute with, before anything is launched.

    Raises:
        ValueError: see `check_inputs`; or the heads are wider than `WIDEST`.
        TypeError: see `check_inputs`; or the dtype is none of `DTYPES`.
        FlashUnavailable: there is no Triton, or no GPU and no interpreter.
    """
    check_inputs(q, k, v, is_causal)
    if q.dtype not in DTYPES:
        raise TypeError(
            f"flash attention in Triton takes float32, float16 and bfloat16, not {q.dtype}; "
            "use attention flash-reference"
        )
    if q.shape[-1] > WIDEST:
        raise ValueError(
            f"flash attention in Triton takes heads up to {WIDEST} wide, not {q.shape[-1]}; "
            "use attention sdpa or flash-reference"
        )
    if q.device.type != "meta" and not torch.compiler.is_compiling():
        check_available(q.device)


class FlashAttentionTriton(torch.autograd.Function):
    """FlashAttention-2 in Triton kernels, forward and backward: ``.apply(q, k, v, is_causal)``.

    Takes ``(batch*heads, length, width)`` or ``(batch, heads, length, width)`` in float32, float16
    or bfloat16, heads up to 128 wide and any lengths; see `check` for what is refused. Sums are
    carried in float32; products of float32 are exact to float32 unless
    ``torch.set_float32_matmul_precision`` allows TF32.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, is_causal: bool = False) -> Tensor:
        """Return the output, of q's shape, dtype and, where it can, layout."""
        check(q, k, v, is_causal)
        lse: Tensor
        output: Tensor
        output, lse = flash_forward(*with_heads(q, k, v), is_causal)
        if q.dim() == 3:
            output, lse = output.squeeze(1), lse.squeeze(1)
        ctx.save_for_backward(q, k, v, output, lse)
        ctx.is_causal = is_causal
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Return the gradients of q, k and v."""
        q, k, v, output, lse = ctx.saved_tensors
        if q.dim() == 3:
            lse = lse.unsqueeze(1)
        q_, k_, v_, output_, gradient_ = with_heads(q, k, v, output, gradient)
        dq, dk, dv = flash_backward(q_, k_, v_, output_, lse, gradient_, ctx.is_causal)
        return dq.view_as(q), dk.view_as(k), dv.view_as(v), None


def launched_pairs(q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> tuple[int, int]:
    """Return how many query-key pairs each head computes, forward and backward.

    The forward pass has two products of each pair; the pairs of the backward pass are summed over
    its products: three for dQ and four for dK and dV, or five where one pass was chosen. Which
    tiles are computed depends on the tilings, so where they are not chosen yet, everything runs
    once for that, with q, k and v ``(batch, heads, length, width)``.
    """
    queries, keys = q.shape[-2], k.shape[-2]
    works = tuning.kinds(q, keys, is_causal)
    has_gradient = any(tensor.requires_grad for tensor in (q, k, v))
    needed = works.values() if has_gradient else [works["forward"]]
    if q.is_cuda and not all(map(tuning.is_tuned, needed)):
        with torch.no_grad():
            output, lse = flash_forward(q, k, v, is_causal)
            if has_gradient:
                flash_backward(q, k, v, output, lse, torch.ones_like(output), is_causal)

    def pairs(which: Pass) -> int:
        chosen = tuning.known_tiling(works[which])
        return computed_pairs(queries, keys, is_causal, chosen.queries, chosen.keys)

    backward = (PRODUCTS[which] * pairs(which) for which in tuning.backward_passes(works))
    return pairs("forward"), sum(backward)
