"""Analytic cost of every part of the model: FLOPs, least bytes moved, elements.

A multiplication and an addition count as two FLOPs, so an (m, k) x (k, n) product is 2mkn, as in
``torch.utils.flop_counter``. The count is of the work *launched*: eager attention computes the
full T x T square and masks half of it, so the full square counts. Matrix products agree with
torch's ``FlopCounterMode`` exactly; elementwise work, which torch counts as nothing, is counted
by the formula written at each function.

Letters: B batch, T positions, H heads, D head width, N = B*T tokens, L layers, V vocabulary.
"""

from dataclasses import dataclass
from typing import Final

from model.config import ModelConfig

SOFTMAX_FLOPS: Final = 3
"""FLOPs per softmax element: exponential, sum, division (Chinchilla, arXiv 2203.15556, app. F).

Others count 5 (the maximum and its subtraction too) or 1; reports keep the element count, so the
analysis can rescale.
"""

SOFTMAX_BACKWARD_FLOPS: Final = 4
"""FLOPs per element of dS = P * (dP - rowsum(dP * P)): two products, a sum, a difference."""

RMSNORM_FLOPS: Final = 4
"""FLOPs per element of x / rms(x) * w: square, sum, scale, weight."""

RMSNORM_BACKWARD_FLOPS: Final = 9
"""FLOPs per element of the gradients of x (six) and of the weight (three)."""

ROPE_FLOPS: Final = 3
"""FLOPs per element of x * cos + rotate(x) * sin; the backward is the inverse rotation."""

SWIGLU_FLOPS: Final = 5
"""FLOPs per hidden element of silu(a) * b: exponential, sum, quotient, two products."""

SWIGLU_BACKWARD_FLOPS: Final = 9
"""FLOPs per hidden element of the gradients of a (eight) and b (one, silu(a) being kept)."""

ADAMW_FLOPS: Final = 14
"""FLOPs per parameter of AdamW (arXiv 1711.05101, alg. 2): decay 1, moments 3 + 4, step 6."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of the work that one range launches.

    Attributes:
        flops: in the forward pass.
        backward_flops: in the backward pass, where every operand needs its gradient.
        bytes: the least that must move in the forward pass: operands read and result written once.
        elements: numbers in the result (for the softmax, what its FLOPs are proportional to).
    """

    flops: int
    backward_flops: int
    bytes: int
    elements: int


def linear(tokens: int, inputs: int, outputs: int, itemsize: int) -> Cost:
    """Cost of ``tokens`` vectors times an ``(inputs, outputs)`` matrix: 2*N*in*out.

    The backward has two such products: one for the input's gradient, one for the weight's.
    """
    flops = 2 * tokens * inputs * outputs
    moved = tokens * inputs + inputs * outputs + tokens * outputs
    return Cost(flops, 2 * flops, itemsize * moved, tokens * outputs)


def embedding(tokens: int, width: int, itemsize: int) -> Cost:
    """Cost of a table look-up: no arithmetic forward, one addition an element backward."""
    elements = tokens * width
    return Cost(0, elements, 2 * itemsize * elements, elements)


def rmsnorm(tokens: int, width: int, itemsize: int) -> Cost:
    """Cost of RMSNorm (arXiv 1910.07467) over vectors of ``width``."""
    elements = tokens * width
    moved = 2 * elements + width
    return Cost(
        RMSNORM_FLOPS * elements, RMSNORM_BACKWARD_FLOPS * elements, itemsize * moved, elements
    )


def rope(elements: int, itemsize: int) -> Cost:
    """Cost of rotary embedding (arXiv 2104.09864) on ``elements`` numbers, q and k together."""
    flops = ROPE_FLOPS * elements
    return Cost(flops, flops, 2 * itemsize * elements, elements)


def attention_scores(
    batch: int, heads: int, queries: int, keys: int, width: int, itemsize: int
) -> Cost:
    """Cost of Q K^T, scaled and masked: 2*B*H*T*T*D + B*H*T*T.

    Scaling and masking count one FLOP an element together.

    >>> attention_scores(8, 12, 256, 256, 64, 4).flops
    811597824
    """
    elements = batch * heads * queries * keys
    product = 2 * elements * width
    moved = batch * heads * (queries + keys) * width + elements
    return Cost(product + elements, 2 * product + elements, itemsize * moved, elements)


def softmax(elements: int, itemsize: int) -> Cost:
    """Cost of a softmax over ``elements`` numbers: `SOFTMAX_FLOPS` each.

    >>> softmax(8 * 12 * 256 * 256, 4).flops
    18874368
    """
    flops, backward = SOFTMAX_FLOPS * elements, SOFTMAX_BACKWARD_FLOPS * elements
    return Cost(flops, backward, 2 * itemsize * elements, elements)


def final_matmul(
    batch: int, heads: int, queries: int, keys: int, width: int, itemsize: int
) -> Cost:
    """Cost of the weights times V: 2*B*H*T*T*D.

    >>> final_matmul(8, 12, 256, 256, 64, 4).flops
    805306368
    """
    weights = batch * heads * queries * keys
    flops = 2 * weights * width
    elements = batch * heads * queries * width
    moved = weights + batch * heads * keys * width + elements
    return Cost(flops, 2 * flops, itemsize * moved, elements)


def visible_pairs(length: int) -> int:
    """Return how many query-key pairs causal attention looks at: T*(T + 1)/2."""
    return length * (length + 1) // 2


def fused_attention(
    heads: int,
    queries: int,
    keys: int,
    width: int,
    itemsize: int,
    pairs: int,
    backward_pairs: int | None = None,
) -> Cost:
    """Cost of attention in one kernel, its matrix products: 4*D for each pair that is computed.

    FlashAttention-2 (arXiv 2307.08691, section 4.1): two products forward, and 2.5 times as many
    FLOPs backward, where the scores are computed again: five products. As there, the softmax's own
    3 FLOPs a pair are not counted: it is no range of its own. Bytes: q, k, v and the output, and
    the log-sum-exp of each query in float32; the scores never move.

    Args:
        heads: of all batch entries together.
        queries: of each head.
        keys: of each head.
        width: channels of a head.
        itemsize: bytes a number.
        pairs: query-key pairs computed for each head: ``queries * keys``, or about half of them
            where the masked half is skipped.
        backward_pairs: those of the backward pass, summed over its products; default ``5 * pairs``.

    >>> cost = fused_attention(16, 16384, 16384, 64, 2, pairs=visible_pairs(16384))
    >>> cost.flops, cost.backward_flops / cost.flops
    (549789368320, 2.5)
    """
    in_backward = 5 * pairs if backward_pairs is None else backward_pairs
    elements = heads * queries * width
    moved = 2 * elements + 2 * heads * keys * width
    return Cost(
        4 * heads * width * pairs,
        2 * heads * width * in_backward,
        itemsize * moved + 4 * heads * queries,
        elements,
    )


def together(*parts: Cost) -> Cost:
    """Return the cost of parts that one range holds; the bytes are those of each by itself."""
    return Cost(
        sum(part.flops for part in parts),
        sum(part.backward_flops for part in parts),
        sum(part.bytes for part in parts),
        parts[-1].elements,
    )


def ffn(tokens: int, width: int, hidden: int, itemsize: int) -> Cost:
    """Cost of SwiGLU (arXiv 2002.05202): three products of 2*N*d*f, and the gate."""
    product = 2 * tokens * width * hidden
    gate = tokens * hidden
    moved = 2 * tokens * width + 3 * width * hidden
    return Cost(
        3 * product + SWIGLU_FLOPS * gate,
        6 * product + SWIGLU_BACKWARD_FLOPS * gate,
        itemsize * moved,
        tokens * width,
    )


def cross_entropy(tokens: int, vocabulary: int, itemsize: int) -> Cost:
    """Cost of log-softmax and the pick of one entry; the backward is softmax less one-hot."""
    elements = tokens * vocabulary
    return Cost(SOFTMAX_FLOPS * elements, 2 * elements, itemsize * elements, elements)


def adamw(parameters: int, itemsize: int) -> Cost:
    """Cost of one AdamW step: weight, gradient and two moments read, all but the gradient written.

    There is no backward.
    """
    return Cost(ADAMW_FLOPS * parameters, 0, 7 * itemsize * parameters, parameters)


def forward_products(config: ModelConfig, batch: int, context: int) -> int:
    """FLOPs of the matrix products of one forward: 2BT(L(4d^2 + 3df) + Vd) + 4LBT^2 d.

    Those of the backward are exactly twice as many.

    >>> from model.config import SIZES
    >>> forward_products(SIZES["small"], batch=4, context=128)
    126244356096
    """
    d, layers = config.d_model, config.num_layers
    weights = layers * (4 * d**2 + 3 * d * config.d_ff) + config.vocab_size * d
    return 2 * batch * context * weights + 4 * layers * batch * context**2 * d


def training_flops_per_token(config: ModelConfig, context: int) -> int:
    """FLOPs a token costs in forward and backward, for the model FLOPs utilisation (MFU).

    6N + 12*L*d*T, with N all parameters but the input embedding (PaLM, arXiv 2204.02311, app. B;
    the full attention square). A forward alone costs a third.
    """
    weights = config.parameter_count - config.vocab_size * config.d_model
    return 6 * weights + 12 * config.num_layers * config.d_model * context
