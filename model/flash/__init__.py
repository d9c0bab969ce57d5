"""FlashAttention-2 (arXiv 2307.08691): attention whose scores never reach memory.

Two versions of one algorithm, as autograd functions: ``FlashAttentionReference`` in PyTorch's own
operators, to be read and tested against, and ``FlashAttentionTriton`` in Triton kernels, to be
used. Both are called as ``.apply(q, k, v, is_causal)``.

Importing this needs no Triton. Where neither a GPU nor Triton's interpreter is there,
``FlashAttentionTriton`` raises `FlashUnavailable`.
"""

from model.flash.availability import FlashUnavailable, check_available
from model.flash.function import FlashAttentionTriton
from model.flash.reference import FlashAttentionReference
from model.flash.tiles import computed_pairs

__all__ = [
    "FlashAttentionReference",
    "FlashAttentionTriton",
    "FlashUnavailable",
    "check_available",
    "computed_pairs",
]
