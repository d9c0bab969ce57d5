"""What each operator costs at the least: FLOPs, bytes, and what bounds it.

The formulas are in `product_costs` and `memory_costs`. An operator without one is not modelled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from analysis.knowledge import memory_costs
from analysis.knowledge.operands import Operands
from analysis.knowledge.product_costs import PRODUCTS, Cost, Formula

MATRIX, MEMORY, COMMUNICATION = "matrix", "memory", "communication"

COLLECTIVE: Final = re.compile(r"c10d::|nccl:|record_param_comms$|_c10d_functional::")
"""Operators of several ranks together: how long they take depends on the others."""

WRAPPERS: Final = frozenset(
    memory_costs.aten(
        "softmax log_softmax _safe_softmax "
        "cross_entropy_loss nll_loss layer_norm rms_norm "
        "_fused_rms_norm group_norm batch_norm instance_norm embedding embedding_backward "
        "contiguous clone _to_copy to reshape repeat type_as stack concat concatenate dropout "
        "native_dropout mean std var norm linalg_norm logsumexp relu relu_ square masked_fill "
        "where constant_pad_nd slice_backward select_backward true_divide rsub scatter index_put "
        "index_put_ value_selecting_reduction_backward mse_loss l1_loss "
        "binary_cross_entropy_with_logits isnan isinf isfinite log_sigmoid relu6 hardtanh"
    )
)
"""Operators that may leave the work to others: their formula counts where none of those, of the
same kind, was recorded inside them. What multiplies matrices needs no naming: it always may."""


PARTS: Final = frozenset(
    memory_costs.aten(
        "_convolution mkldnn_convolution cudnn_convolution cudnn_convolution_transpose "
        "_flash_attention_forward _flash_attention_backward "
        "_efficient_attention_forward _efficient_attention_backward "
        "_cudnn_attention_forward _cudnn_attention_backward"
    )
)
"""Operators that do the work of one around them under another name, the one that people know: it
counts there, and here only where that was not recorded."""


@dataclass(frozen=True)
class OperatorCost:
    """What a call of an operator costs at the least.

    Attributes:
        flops: None where not known.
        bytes: likewise.
        kind: `MATRIX`, `MEMORY` or `COMMUNICATION`.
        shapes: what it was called with, as text.
        number_format: that of its operands, "" where not recorded.
    """

    flops: int | None
    bytes: int | None
    kind: str
    shapes: str
    number_format: str


def is_wrapper(name: str) -> bool:
    """Return whether an operator may leave its work to others that it calls."""
    return name in WRAPPERS or name.startswith(("aten::_foreach_", "aten::_fused_", *MADE))


MADE: Final = tuple(
    f"aten::{name}" for name in ("zeros", "ones", "full", "new_", "rand", "eye", "zero_")
)


@lru_cache(maxsize=16)
def _memory(softmax_flops: int) -> dict[str, Formula]:
    return memory_costs.table(softmax_flops)


def has_formula(name: str) -> bool:
    """Return whether calls of an operator can be modelled.

    >>> has_formula("aten::mm"), has_formula("aten::add_"), has_formula("aten::view")
    (True, True, False)
    """
    if name in PRODUCTS or COLLECTIVE.match(name):
        return True
    return memory_costs.formula(name, _memory(3)) is not None


def operator_cost(name: str, of: Operands, softmax_flops: int = 3) -> OperatorCost | None:
    """Return what a call of an operator costs at the least, None where that is not known.

    Args:
        name: as PyTorch calls it, ``aten::mm``.
        of: what it was called with.
        softmax_flops: for each element of a softmax, forward.

    >>> operator_cost("aten::mm", Operands(((3072, 16384), (16384, 768)), itemsize=2))
    OperatorCost(flops=77309411328, bytes=130547712, kind='matrix', shapes='3072×16384×768', \
number_format='')
    """
    if COLLECTIVE.match(name):
        return OperatorCost(0, None, COMMUNICATION, of.describe(), of.number_format)
    formula = PRODUCTS.get(name)
    kind = MATRIX if formula else MEMORY
    formula = formula or memory_costs.formula(name, _memory(softmax_flops))
    cost: Cost | None = formula(of) if formula else None
    if cost is None:
        return None
    shapes = cost.shapes or of.describe()
    return OperatorCost(cost.flops, cost.bytes, kind, shapes, of.number_format)
