"""FlashAttention-2 in PyTorch's own operators, tile by tile: to be read, and tested against.

b batch (with the heads, or before them), i query, j key, d channel
"""

import math
from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.flash.tiles import REFERENCE

RANKS: Final = (3, 4)


def check_inputs(q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> None:
    """Refuse queries, keys and values that attention is not defined for.

    The queries may be more or fewer than the keys, unless the attention is causal: a query looks at
    the keys up to its own position, which says nothing where the two are not the same positions.

    Args:
        q: ``(batch, queries, width)`` or ``(batch, heads, queries, width)``.
        k: the same with ``keys`` in the place of ``queries``.
        v: as ``k``.
        is_causal: whether a query looks only at keys up to its own position.

    Raises:
        ValueError: ranks, batches, heads or widths differ, there are no keys, or the attention is
            causal and the lengths differ.
        TypeError: the number formats or the devices differ, or are no floating point.
    """
    if not (q.dim() == k.dim() == v.dim() and q.dim() in RANKS):
        raise ValueError(
            "q, k and v must be (batch*heads, length, width) or (batch, heads, length, width), "
            f"not {tuple(q.shape)}, {tuple(k.shape)}, {tuple(v.shape)}"
        )
    if k.shape != v.shape or q.shape[:-2] != k.shape[:-2] or q.shape[-1] != k.shape[-1]:
        raise ValueError(
            "k and v must have one shape, and q the same but for its length; they are "
            f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
        )
    if not (q.dtype == k.dtype == v.dtype and q.dtype.is_floating_point):
        raise TypeError(
            f"q, k and v must have one floating-point dtype, not {q.dtype}, {k.dtype}, {v.dtype}"
        )
    if not (q.device == k.device == v.device):
        raise TypeError(f"q, k and v must be on one device, not {q.device}, {k.device}, {v.device}")
    if not k.shape[-2] or not k.shape[-1]:
        raise ValueError(f"attention needs at least one key and channel, not k {tuple(k.shape)}")
    if is_causal and q.shape[-2] != k.shape[-2]:
        raise ValueError(
            f"causal attention needs as many keys as queries, not {k.shape[-2]} keys for "
            f"{q.shape[-2]} queries; pass is_causal=False, or the same positions"
        )


def with_heads(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return ``(batch, heads, length, width)`` views; a tensor of rank 3 gets one head."""
    return tuple(tensor.unsqueeze(1) if tensor.dim() == 3 else tensor for tensor in tensors)


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

    With q ``(..., i, d)`` and k and v ``(..., j, d)``. Tiles wholly above the diagonal are skipped
    where it is causal.

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

    With ``output`` and ``lse`` as `attention` returned them, and the ``gradient`` of the output.
    """
    scale = 1 / math.sqrt(q.shape[-1])
    delta = (output * gradient).sum(-1)
    dq, dk, dv = torch.zeros_like(q), torch.empty_like(k), torch.empty_like(v)
    for columns in tiles(k.shape[-2], TILE_KEYS):
        k_sum, v_sum = torch.zeros_like(k[..., columns, :]), torch.zeros_like(v[..., columns, :])
        first = columns.start // TILE_QUERIES * TILE_QUERIES if is_causal else 0
        for rows in tiles(q.shape[-2], TILE_QUERIES, first):
            scores = tile_scores(q, k, rows, columns, is_causal)
            # No weight exceeds 1: scores rounded otherwise than before may, where they are huge.
            weights = torch.exp((scores - lse[..., rows, None]).clamp(max=0))
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
    floating-point dtype, length and width; see `check_inputs` for what is refused. Arithmetic is in
    float32, or float64 for such inputs.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, is_causal: bool = False) -> Tensor:
        """Return the output, of q's shape and dtype."""
        check_inputs(q, k, v, is_causal)
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
