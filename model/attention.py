"""Causal multi-head self-attention: written out so that each part can be timed, or fused.

b batch, h head, t query position, s key position, d head width
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend

from model import flops
from model.config import ModelConfig
from profiling import names
from profiling.spans import span


@lru_cache(maxsize=8)
def causal_mask(context: int, device: torch.device) -> Tensor:
    """Return the ``(t, s)`` mask that is true where a query must not look: at later keys."""
    with torch.inference_mode(False):  # an inference tensor could not be used in training later
        return torch.ones(context, context, dtype=torch.bool, device=device).triu(1)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention: the reference that every faster variant is tested against.

    Args:
        q: ``(b, h, t, d)``, and likewise ``k`` and ``v``; self-attention, so as many keys as
            queries.

    Returns:
        ``(b, h, t, d)``.
    """
    b, h, t, d = q.shape
    size = q.element_size()
    with span(
        names.ATTENTION_SCORES, cost=lambda: flops.attention_scores(b, h, t, t, d, size)
    ) as mark:
        scores = q @ k.transpose(-2, -1) / math.sqrt(d)
        scores = scores.masked_fill(causal_mask(t, q.device), -torch.inf)
        mark.output(scores)
    with span(names.SOFTMAX, cost=lambda: flops.softmax(b * h * t * t, size)) as mark:
        weights = mark.output(torch.softmax(scores, dim=-1))
    with span(names.FINAL_MATMUL, cost=lambda: flops.final_matmul(b, h, t, t, d, size)) as mark:
        return mark.output(weights @ v)


def attend_sdpa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """PyTorch's own attention, in the backend that it chooses."""
    with span(names.FUSED_ATTENTION, cost=lambda: sdpa_cost(q, k, v)) as mark:
        return mark.output(functional.scaled_dot_product_attention(q, k, v, is_causal=True))


def sdpa_cost(q: Tensor, k: Tensor, v: Tensor) -> flops.Cost:
    """Return the cost of PyTorch's attention.

    Its backend ``math`` computes the full square in the parts of `attend`; the others skip what the
    mask hides. How far their tiles reach over the diagonal is not known here: the pairs that a
    query may look at count.
    """
    b, h, t, d = q.shape
    size = q.element_size()
    if torch._fused_sdp_choice(q, k, v, None, 0.0, True) == SDPBackend.MATH.value:
        return flops.together(
            flops.attention_scores(b, h, t, t, d, size),
            flops.softmax(b * h * t * t, size),
            flops.final_matmul(b, h, t, t, d, size),
        )
    return flops.fused_attention(b * h, t, t, d, size, flops.visible_pairs(t))


def attend_flash(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """FlashAttention-2 in our Triton kernels; on a CPU only under Triton's interpreter."""
    # Here, not above: it brings Triton along, and every run would wait for that import.
    from model.flash.function import FlashAttentionTriton, launched_pairs

    return _fused(FlashAttentionTriton, q, k, v, lambda: launched_pairs(q, k, v, is_causal=True))


def attend_flash_reference(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """FlashAttention-2 in PyTorch's operators, a tile at a time: slow, and anywhere."""
    from model.flash.reference import FlashAttentionReference
    from model.flash.tiles import REFERENCE, computed_pairs

    def pairs() -> tuple[int]:
        length = q.shape[-2]
        return (computed_pairs(length, length, True, REFERENCE.queries, REFERENCE.keys),)

    return _fused(FlashAttentionReference, q, k, v, pairs)


def _fused(
    function: Any, q: Tensor, k: Tensor, v: Tensor, pairs: Callable[[], tuple[int, ...]]
) -> Tensor:
    """Attend by an autograd function that computes these pairs, see `flops.fused_attention`."""
    b, h, t, d = q.shape

    def cost() -> flops.Cost:
        return flops.fused_attention(b * h, t, t, d, q.element_size(), *pairs())

    with span(names.FUSED_ATTENTION, cost=cost) as mark:
        attended: Tensor = function.apply(q, k, v, True)
        return mark.output(attended)


Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Maps q, k and v, each ``(b, h, t, d)``, to ``(b, h, t, d)``, causally."""

ATTENTIONS: Final[dict[str, Attend]] = {
    "eager": attend,
    "sdpa": attend_sdpa,
    "flash": attend_flash,
    "flash-reference": attend_flash_reference,
}
"""What computes attention, by the name it is chosen by."""


class RotaryEmbedding(nn.Module):
    """Rotary position embedding (arXiv 2104.09864), on halves: channel i pairs with i + d/2.

    The tables are made with the first call that needs them, and kept.
    """

    def __init__(self, width: int, theta: float) -> None:
        super().__init__()
        self.width = width
        self.theta = theta
        self._tables: tuple[Tensor, Tensor] | None = None

    def tables(self, positions: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cosines and sines of the first ``positions``, each ``(t, d)``.

        The sines of the left half are negative: what they are multiplied with is the other half.
        What is rotated is ``like`` this tensor in dtype and device.
        """
        kept = self._tables
        if kept is None or kept[0].device != like.device or kept[0].dtype != like.dtype:
            kept = None
        if kept is None or len(kept[0]) < positions:
            with torch.inference_mode(False):
                exponents = torch.arange(0, self.width, 2, device=like.device).float() / self.width
                steps = torch.arange(positions, device=like.device).float()
                angles = torch.outer(steps, self.theta**-exponents)
                cos, sin = angles.cos().repeat(1, 2), angles.sin()
                sin = torch.cat((-sin, sin), dim=-1)
                kept = self._tables = cos.to(like.dtype), sin.to(like.dtype)
        return kept[0][:positions], kept[1][:positions]

    def forward(self, x: Tensor) -> Tensor:
        """Rotate ``(b, h, t, d)`` by position."""
        cos, sin = self.tables(x.shape[-2], x)
        # As (b, t, h, d), which is how projections lie in memory: no copy changes the layout, and
        # the compiler makes one kernel of the gradient, not three.
        x, cos, sin = x.transpose(-3, -2), cos.unsqueeze(-2), sin.unsqueeze(-2)
        left, right = x.chunk(2, dim=-1)
        return (x * cos + torch.cat((right, left), dim=-1) * sin).transpose(-3, -2)


class Attention(nn.Module):
    """Three projections, rotary embedding, causal attention, output projection; no biases.

    Raises:
        ValueError: ``attention`` is none of `ATTENTIONS`.
    """

    def __init__(self, config: ModelConfig, attention: str = "eager") -> None:
        super().__init__()
        if attention not in ATTENTIONS:
            known = ", ".join(ATTENTIONS)
            raise ValueError(f"no attention is called {attention!r}; there are: {known}")
        self.attend = ATTENTIONS[attention]
        width = config.d_model
        self.num_heads = config.num_heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.rope = RotaryEmbedding(config.head_width, config.rope_theta)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(b, t, d_model)`` to the same shape."""
        b, t, width = x.shape
        tokens, size = b * t, x.element_size()
        with span(
            names.QKV_PROJECTION, cost=lambda: flops.linear(tokens, width, 3 * width, size)
        ) as mark:
            q, k, v = mark.output(self.query(x), self.key(x), self.value(x))
        q, k, v = (  # each (b, h, t, d)
            part.view(b, t, self.num_heads, -1).transpose(1, 2) for part in (q, k, v)
        )
        with span(names.ROPE, cost=lambda: flops.rope(2 * tokens * width, size)) as mark:
            q, k = mark.output(self.rope(q), self.rope(k))
        joined = self.attend(q, k, v).transpose(1, 2).reshape(b, t, width)
        with span(
            names.OUTPUT_PROJECTION, cost=lambda: flops.linear(tokens, width, width, size)
        ) as mark:
            output: Tensor = mark.output(self.output(joined))
            return output
