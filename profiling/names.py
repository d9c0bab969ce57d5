"""The vocabulary: every range name the model pushes and the analysis asks for.

A name never carries a number: a layer is known by its position among its siblings. The tree::

    warmup | step ─┬─ forward ── embedding · block ─┬─ norm · attention ── (ATTENTION_PARTS)
                   │             final_norm          └─ norm · ffn
                   │             lm_head · loss
                   ├─ backward ── <leaf name>.backward, on the thread autograd runs it on
                   └─ optimizer

Of two models that generate together (C2C), inside a step::

    generation ─┬─ prefill ── base_embedding · base_prefill ── cache_clone · teacher_embedding ·
                │             teacher_prefill ── cache_clone · projector (one a layer)
                └─ decode ── decode_step (one a token)
"""

from typing import Final

WARMUP: Final = "warmup"
STEP: Final = "step"
FORWARD: Final = "forward"
BACKWARD: Final = "backward"
OPTIMIZER: Final = "optimizer"
PHASES: Final = (FORWARD, BACKWARD, OPTIMIZER)

EMBEDDING: Final = "embedding"
BLOCK: Final = "block"
NORM: Final = "norm"
ATTENTION: Final = "attention"
QKV_PROJECTION: Final = "qkv_projection"
ROPE: Final = "rope"
ATTENTION_SCORES: Final = "attention_scores"
SOFTMAX: Final = "softmax"
FINAL_MATMUL: Final = "final_matmul"
FUSED_ATTENTION: Final = "fused_attention"
"""The three of them in one kernel, or one tiled algorithm, that keeps no scores in memory."""
ATTENTION_CORE: Final = "attention_core"
"""Scores, softmax and final matmul together, in a model that has them behind one call."""
OUTPUT_PROJECTION: Final = "output_projection"
FFN: Final = "ffn"
FINAL_NORM: Final = "final_norm"
LM_HEAD: Final = "lm_head"
LOSS: Final = "loss"

ATTENTION_PARTS: Final = (ATTENTION_SCORES, SOFTMAX, FINAL_MATMUL)
LEAVES: Final = (
    EMBEDDING,
    NORM,
    QKV_PROJECTION,
    ROPE,
    *ATTENTION_PARTS,
    FUSED_ATTENTION,
    OUTPUT_PROJECTION,
    FFN,
    FINAL_NORM,
    LM_HEAD,
    LOSS,
)

GENERATION: Final = "generation"
PREFILL: Final = "prefill"
BASE_EMBEDDING: Final = "base_embedding"
BASE_PREFILL: Final = "base_prefill"
TEACHER_EMBEDDING: Final = "teacher_embedding"
TEACHER_PREFILL: Final = "teacher_prefill"
CACHE_CLONE: Final = "cache_clone"
PROJECTOR: Final = "projector"
PROJECTOR_CONCAT: Final = "projector_concat"
PROJECTOR_INPUT: Final = "projector_input"
PROJECTOR_MLP: Final = "projector_mlp"
PROJECTOR_SCALAR: Final = "projector_scalar"
PROJECTOR_FEATURE: Final = "projector_feature"
PROJECTOR_FUSE: Final = "projector_fuse"
DECODE: Final = "decode"
DECODE_STEP: Final = "decode_step"

COMMUNICATION: Final = "communication"
"""Work of several ranks together, and the wait for it; around one of the four below, or none."""
ALL_REDUCE: Final = "all_reduce"
REDUCE_SCATTER: Final = "reduce_scatter"
ALL_GATHER: Final = "all_gather"
BROADCAST: Final = "broadcast"
COLLECTIVES: Final = (ALL_REDUCE, REDUCE_SCATTER, ALL_GATHER, BROADCAST)

PARENTS: Final = (FORWARD, BLOCK, ATTENTION)
"""What stands around leaves of the model's forward pass."""

BACKWARD_SUFFIX: Final = ".backward"
"""What a leaf's range in the backward pass is called: its own name and this."""

RECOMPUTE_SUFFIX: Final = ".recompute"
"""A forward range that runs again inside the backward pass (activation checkpointing)."""

OPERATOR_DOMAIN: Final = "aten"
"""The NVTX domain that holds CPU operators, where nsys records a run without a GPU."""


def backward(name: str) -> str:
    """Return the name of a range's backward pass; that of the whole forward is the phase.

    >>> backward(SOFTMAX), backward(FORWARD)
    ('softmax.backward', 'backward')
    """
    return BACKWARD if name == FORWARD else name + BACKWARD_SUFFIX


def recordable(name: str) -> str:
    """Return the name for a span that PyTorch's profiler records unchanged.

    Kineto (PyTorch 2.13) writes quotes as they are, which is no JSON; turns a backslash into a
    slash, in metadata too, which breaks every escape; drops line feeds; and calls a name with other
    than printable ASCII ``unknown``. Spans must push names that survive, and list their payloads
    under those.

    >>> recordable("ffn"), recordable('layer "a"'), recordable("größe")
    ('ffn', "layer 'a'", 'gr??e')
    """
    if name.isascii() and name.isprintable() and '"' not in name and "\\" not in name:
        return name
    spelled = name.replace('"', "'").replace("\\", "/")
    return "".join(letter if " " <= letter <= "~" else "?" for letter in spelled)
