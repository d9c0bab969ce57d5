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


def norm(tokens: int, width: int, itemsize: int) -> int:
    """Bytes RMSNorm keeps: 4Nd + 4N + sNd.

    The square and the product with the scale need x in float32 (in a float32 model that is the
    residual stream itself, which no range kept before); the square root and that product, the
    scale (N, 1) in float32; the product with the weight, the normalised x in the model's type.
    """
    return _FLOAT32 * tokens * (width + 1) + itemsize * tokens * width


def qkv_projection(tokens: int, width: int, itemsize: int) -> int:
    """Bytes the three projections keep: sNd, the input they share, for the weights' gradients."""
    return itemsize * tokens * width


def rope() -> int:
    """Bytes rotary embedding keeps: none; its products need the tables, and those need nothing."""
    return 0


def attention_scores(batch: int, heads: int, queries: int, keys: int, width: int, size: int) -> int:
    """Bytes Q K^T keeps: sBH(T + T)D, both operands; the scaling and the mask keep no activation.

    The scaling keeps its divisor, the number sqrt(D): 8 bytes on the host, made by no operator,
    which hooks on saved tensors are not told of. It counts nowhere.

    >>> attention_scores(8, 12, 256, 256, 64, 4) == 2 * 4 * 8 * 12 * 256 * 64
    True
    """
    return size * batch * heads * (queries + keys) * width


def softmax(elements: int, itemsize: int) -> int:
    """Bytes the softmax keeps: sBHTT, its result: the T x T matrices of every head.

    The scores themselves are not kept: the derivative P * (dP - rowsum(dP * P)) needs P alone.
    """
    return itemsize * elements


def final_matmul(batch: int, heads: int, keys: int, width: int, itemsize: int) -> int:
    """Bytes the weights times V keep: sBHTD, which is V; the weights are kept by the softmax."""
    return itemsize * batch * heads * keys * width


def output_projection(tokens: int, width: int, itemsize: int) -> int:
    """Bytes the output projection keeps: sNd, its input."""
    return itemsize * tokens * width


def ffn(tokens: int, width: int, hidden: int, itemsize: int) -> int:
    """Bytes SwiGLU keeps: s(Nd + 4Nf).

    The input, which gate and up share; the gate before and after silu; up; their product.
    """
    return itemsize * tokens * (width + 4 * hidden)


def lm_head(tokens: int, width: int, itemsize: int) -> int:
    """Bytes the LM head keeps: sNd, its input."""
    return itemsize * tokens * width


def loss(tokens: int, vocabulary: int, itemsize: int) -> int:
    """Bytes the cross-entropy keeps: s(NV + 1), the log-softmax and the total weight.

    The logits themselves are not kept: the derivative needs the log-softmax alone.
    """
    return itemsize * (tokens * vocabulary + 1)


def eager_attention(
    batch: int, heads: int, queries: int, keys: int, width: int, itemsize: int
) -> dict[str, int]:
    """Return the bytes that one attention keeps, by range, where q, k and v are activations.

    >>> sum(eager_attention(1, 1, 4096, 4096, 64, 4).values())  # 64 MiB of weights, 3 MiB of qkv
    70254592
    """
    return {
        names.ATTENTION_SCORES: attention_scores(batch, heads, queries, keys, width, itemsize),
        names.SOFTMAX: softmax(batch * heads * queries * keys, itemsize),
        names.FINAL_MATMUL: final_matmul(batch, heads, keys, width, itemsize),
    }


def fused_attention(batch: int, heads: int, queries: int, width: int, itemsize: int) -> int:
    """Bytes attention in one kernel keeps beside q, k and v: sBHTD + 4BHT, no square.

    Its result, and the float32 logarithm of each row's sum, of which it computes the weights again
    (FlashAttention-2, arXiv 2307.08691).
    """
    rows = batch * heads * queries
    return itemsize * rows * width + _FLOAT32 * rows


def block(config: ModelConfig, batch: int, context: int, itemsize: int) -> dict[str, int]:
    """Return the bytes that one layer keeps, by range; ``norm`` is its two norms together."""
    tokens, width = batch * context, config.d_model
    return {
        names.NORM: 2 * norm(tokens, width, itemsize),
        names.QKV_PROJECTION: qkv_projection(tokens, width, itemsize),
        names.ROPE: rope(),
        **eager_attention(batch, config.num_heads, context, context, config.head_width, itemsize),
        names.OUTPUT_PROJECTION: output_projection(tokens, width, itemsize),
        names.FFN: ffn(tokens, width, config.d_ff, itemsize),
    }


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
    tokens, width = batch * context, config.d_model
    layer = block(config, batch, context, itemsize)
    inside = (names.QKV_PROJECTION, names.ROPE, *names.ATTENTION_PARTS, names.OUTPUT_PROJECTION)
    leaves = {
        names.EMBEDDING: 0,  # its derivative needs the token ids alone
        **{name: config.num_layers * each for name, each in layer.items()},
        names.FINAL_NORM: norm(tokens, width, itemsize),
        names.LM_HEAD: lm_head(tokens, width, itemsize),
        names.LOSS: loss(tokens, config.vocab_size, itemsize),
    }
    return leaves | {
        names.ATTENTION: sum(leaves[name] for name in inside),
        names.BLOCK: config.num_layers * sum(layer.values()),
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


def parameter_tensors(config: ModelConfig) -> int:
    """Return how many tensors the parameters are: 9 a layer, and 3."""
    return 9 * config.num_layers + 3


def optimizer_bytes(config: ModelConfig, itemsize: int) -> int:
    """Return the bytes of AdamW's state: two moments a parameter, a float32 step a tensor."""
    return 2 * itemsize * config.parameter_count + _FLOAT32 * parameter_tensors(config)
