"""Analytic memory of the model: bytes kept for the backward pass, range by range, and the rest.

Autograd keeps what the derivative of each operator needs (torch's ``derivatives.yaml`` lists it),
and a tensor that several operators need is kept once. So each formula below counts the storages
that a range is the *first* to keep; parameters, token ids, and the tables of rotary embedding and
mask, which live on between steps, are no activations and count nowhere here. Exact for eager
attention without autocast, compiler or checkpoints: a test compares every range with what torch
keeps.

Letters: B batch, T positions, H heads, D head width, d = H*D model width, f hidden width,
N = B*T tokens, L layers, V vocabulary, s bytes of one number (4 in float32, 2 in bfloat16).
"""

from typing import Final

from model.config import ModelConfig
from profiling import names

_FLOAT32: Final = 4
"""Bytes of one number in float32: what norms compute in, whatever the model's type."""


def softmax(elements: int, itemsize: int) -> int:
    """Bytes the softmax keeps: sBHTT, its result: the T x T matrices of every head.

    The scores themselves are not kept: the derivative P * (dP - rowsum(dP * P)) needs P alone.

    >>> softmax(4096 * 4096, 4) // 2**20
    64
    """
    return itemsize * elements


def fused_attention(batch: int, heads: int, queries: int, width: int, itemsize: int) -> int:
    """Bytes attention in one kernel keeps beside q, k and v: sBHTD + 4BHT, no square.

    Its result, and the float32 logarithm of each row's sum, of which it computes the weights again
    (FlashAttention-2, arXiv 2307.08691).
    """
    rows = batch * heads * queries
    return itemsize * rows * width + _FLOAT32 * rows


def saved_for_backward(
    config: ModelConfig, batch: int, context: int, itemsize: int
) -> dict[str, int]:
    """Return the bytes of activations that one forward pass keeps, by the name of the range.

    Args:
        config: the model's shape; attention is eager.
        batch: sequences.
        context: positions of each.
        itemsize: bytes of one number of the model.

    Returns:
        For every leaf of `profiling.names` all its instances together, and for ``block``,
        ``attention`` and ``forward`` all that is inside.
    """
    tokens, width, layers = batch * context, config.d_model, config.num_layers
    stream = residual_bytes(config, batch, context, itemsize)
    # 4Nd + 4N + sNd: the square and the product with the scale need x in float32 (in a float32
    # model that is the residual stream itself, which no range kept before); the square root and
    # that product, the scale (N, 1) in float32; the product with the weight, the normalised x.
    norm = _FLOAT32 * tokens * (width + 1) + stream
    layer = {
        names.NORM: 2 * norm,
        # The input that three projections share, for the weights' gradients.
        names.QKV_PROJECTION: stream,
        # Its products need the tables, and those need nothing.
        names.ROPE: 0,
        # Both operands, sBH(T + T)D; the mask keeps nothing, the scaling its divisor: 8 bytes on
        # the host, made by no operator, which hooks on saved tensors are not told of.
        names.ATTENTION_SCORES: 2 * stream,
        names.SOFTMAX: softmax(batch * config.num_heads * context**2, itemsize),
        # V alone, sBHTD: the weights are kept by the softmax.
        names.FINAL_MATMUL: stream,
        names.OUTPUT_PROJECTION: stream,
        # The input, which gate and up share; the gate before and after silu; up; their product.
        names.FFN: itemsize * tokens * (width + 4 * config.d_ff),
    }
    leaves = {
        names.EMBEDDING: 0,  # its derivative needs the token ids alone
        **{name: layers * each for name, each in layer.items()},
        names.FINAL_NORM: norm,
        names.LM_HEAD: stream,
        # The log-softmax and the total weight; the derivative needs no logits.
        names.LOSS: itemsize * (tokens * config.vocab_size + 1),
    }
    inside = (names.QKV_PROJECTION, names.ROPE, *names.ATTENTION_PARTS, names.OUTPUT_PROJECTION)
    return leaves | {
        names.ATTENTION: sum(leaves[name] for name in inside),
        names.BLOCK: layers * sum(layer.values()),
        names.FORWARD: sum(leaves.values()),
    }


def residual_bytes(config: ModelConfig, batch: int, context: int, itemsize: int) -> int:
    """Return the bytes of one tensor of the residual stream: sNd.

    >>> from model.config import SIZES
    >>> residual_bytes(SIZES["2.7B"], batch=4, context=512, itemsize=4) // 2**20
    20
    """
    return itemsize * batch * context * config.d_model


def parameter_bytes(config: ModelConfig, itemsize: int) -> int:
    """Return the bytes of all parameters; the gradients take as many."""
    return itemsize * config.parameter_count


def optimizer_bytes(config: ModelConfig, itemsize: int) -> int:
    """Return the bytes of AdamW's state: two moments a parameter, a float32 step a tensor."""
    tensors = 9 * config.num_layers + 3
    return 2 * itemsize * config.parameter_count + _FLOAT32 * tensors
