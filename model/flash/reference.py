"""FlashAttention-2 in PyTorch's own operators, tile by tile: to be read, and tested against.

b batch (with the heads, or before them), i query, j key, d channel
"""

import math
from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.flash import shapes
from model.flash.tiles import REFERENCE

TILE_QUERIES: Final = REFERENCE.queries
TILE_KEYS: Final = REFERENCE.keys


def tiles(length: int, size: int, first: int = 0, before: int | None = None) -> Iterator[slice]:
    """Cut positions into slices of ``size`` that begin from ``first`` on and ``before`` a position.

    >>> list(tiles(10, 4)), list(tiles(10, 4, before=4))
    ([slice(0, 4, None), slice(4, 8, None), slice(8, 10, None)], [slice(0, 4, None)])
    """
    starts = range(first, length if before is None else before, size)
    return (slice(at, min(at + size, length)) for at in starts)


def tile_scores(q: Tensor, k: Tensor, rows: slice, columns: slice, is_causal: bool) -> Tensor:
    """Return the scaled scores of one tile, minus infinity where a query must not look."""
    scores = q[..., rows, :] @ k[..., columns, :].transpose(-2, -1) / math.sqrt(q.shape[-1])
    if is_causal and columns.stop - 1 > rows.start:  # the diagonal goes through it
        i = torch.arange(rows.start, rows.stop, device=q.device)
        j = torch.arange(columns.start, columns.stop, device=q.device)
        scores = scores.masked_fill(j[None, :] > i[:, None], -torch.inf)
    return scores


def attention(q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> tuple[Tensor, Tensor]:
    """Compute attention with the softmax carried from one tile of keys to the next (algorithm 1).

    Args:
        q: ``(..., i, d)``.
        k: ``(..., j, d)``.
        v: ``(..., j, d)``.
        is_causal: skip the tiles wholly above the diagonal.

    Returns:
        The output ``(..., i, d)`` and the log-sum-exp of each query's scores, ``(..., i)``.
    """
    output = torch.empty_like(q)
    lse = q.new_empty(q.shape[:-1])
    for rows in tiles(q.shape[-2], TILE_QUERIES):
        peak = q.new_full((*q.shape[:-2], rows.stop - rows.start), -torch.inf)
        total = torch.zeros_like(peak)
        sums = q.new_zeros((*peak.shape, q.shape[-1]))
        for columns in tiles(k.shape[-2], TILE_KEYS, before=rows.stop if is_causal else None):
            scores = tile_scores(q, k, rows, columns, is_causal)
            higher = torch.maximum(peak, scores.amax(-1))
            weights = torch.exp(scores - higher[..., None])
            shrink = torch.exp(peak - higher)
            total = total * shrink + weights.sum(-1)
            sums = sums * shrink[..., None] + weights @ v[..., columns, :]
            peak = higher
        output[..., rows, :] = sums / total[..., None]
        lse[..., rows] = peak + total.log()
    return output, lse


def gradients(
    q: Tensor, k: Tensor, v: Tensor, output: Tensor, lse: Tensor, gradient: Tensor, is_causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients of q, k and v, with the weights computed again (algorithm 2).

    Args:
        q: ``(..., i, d)``, and likewise ``output`` and its ``gradient``.
        k: ``(..., j, d)``, and likewise ``v``.
        output: what `attention` returned.
        lse: what `attention` returned, ``(..., i)``.
        gradient: of the loss by the output.
        is_causal: as in the forward pass.
    """
    scale = 1 / math.sqrt(q.shape[-1])
    delta = (output * gradient).sum(-1)
    dq, dk, dv = torch.zeros_like(q), torch.empty_like(k), torch.empty_like(v)
    for columns in tiles(k.shape[-2], TILE_KEYS):
        k_sum, v_sum = torch.zeros_like(k[..., columns, :]), torch.zeros_like(v[..., columns, :])
        first = columns.start // TILE_QUERIES * TILE_QUERIES if is_causal else 0
        for rows in tiles(q.shape[-2], TILE_QUERIES, first):
            scores = tile_scores(q, k, rows, columns, is_causal)
            weights = torch.exp(scores - lse[..., rows, None])
            above = gradient[..., rows, :]
            v_sum += weights.transpose(-2, -1) @ above
            by_weights = above @ v[..., columns, :].transpose(-2, -1)
            by_scores = weights * (by_weights - delta[..., rows, None]) * scale
            dq[..., rows, :] += by_scores @ k[..., columns, :]
            k_sum += by_scores.transpose(-2, -1) @ q[..., rows, :]
        dk[..., columns, :], dv[..., columns, :] = k_sum, v_sum
    return dq, dk, dv


class FlashAttentionReference(torch.autograd.Function):
    """FlashAttention-2 in PyTorch's operators: ``.apply(q, k, v, is_causal)``.

    Takes ``(batch*heads, length, width)`` or ``(batch, heads, length, width)`` of any
    floating-point dtype, length and width; see `shapes.check` for what is refused. Arithmetic is in
    float32, or float64 for such inputs.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, is_causal: bool = False) -> Tensor:
        """Return the output, of q's shape and dtype."""
        shapes.check(q, k, v, is_causal)
        with torch.autocast(q.device.type, enabled=False):
            q_, k_, v_ = wide(q, k, v)
            output, lse = attention(q_, k_, v_, is_causal)
        output = output.to(q.dtype)
        ctx.save_for_backward(q, k, v, output, lse)
        ctx.is_causal = is_causal
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Return the gradients of q, k and v."""
        q, k, v, output, lse = ctx.saved_tensors
        with torch.autocast(q.device.type, enabled=False):
            q_, k_, v_, output_, gradient_ = wide(q, k, v, output, gradient)
            dq, dk, dv = gradients(q_, k_, v_, output_, lse, gradient_, ctx.is_causal)
        return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype), None


def wide(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the tensors in the precision sums are carried in: float32 at least."""
    return tuple(tensor.to(torch.promote_types(tensor.dtype, torch.float32)) for tensor in tensors)
