"""What queries, keys and values must be like, and how the functions see them."""

from typing import Final

from torch import Tensor

RANKS: Final = (3, 4)


def check(q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> None:
    """Refuse what attention is not defined for.

    The queries may be more or fewer than the keys, unless the attention is causal: a query looks at
    the keys up to its own position, which says nothing where the two are not the same positions.

    Args:
        q: ``(batch, queries, width)`` or ``(batch, heads, queries, width)``.
        k: the same with ``keys`` in the place of ``queries``.
        v: the same as ``k``.
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
