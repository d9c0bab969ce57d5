"""Advice on how the model computes: TF32, a fused optimizer, fused attention."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from analysis.advice.finding import WORTH_A_LINE, Cure, Finding, in_words, more, wall_share, work_ns
from analysis.advice.remedies import faster_products, in_a_few_kernels, without
from analysis.attention import is_fused, work_of_part
from analysis.attribution import work_phases
from analysis.attribution.origin import origin
from analysis.knowledge import number_formats
from analysis.knowledge.categories import category
from analysis.knowledge.peaks import lookup
from analysis.measures.gemm_calls import GEMM
from analysis.show.render import duration, percent
from profiling import names

if TYPE_CHECKING:
    from analysis.measures.window import MeasuredWindow

GEMM_SHARE: Final = 0.1
"""TF32 is up to 8 times as fast, so a tenth of the time in fp32 products is worth the change."""

KERNELS_A_STEP: Final = 100
"""A fused optimizer launches a few kernels for hundreds of parameters, a foreach one some tens."""

CPU_OPTIMIZER: Final = 0.1
"""On a CPU a fused optimizer still computes the same: it gains a part of its time, and less than
that of a small share is not seen."""

USE_TF32: Final = Cure(
    "torch.set_float32_matmul_precision('high') uses TF32",
    "cublasSetMathMode(…, CUBLAS_TF32_TENSOR_OP_MATH) uses TF32",
)
FUSE_OPTIMIZER: Final = Cure(
    "AdamW(..., fused=True) does it in a few",
    "update all parameters in a few kernels",
)
FUSE_ATTENTION: Final = Cure(
    "F.scaled_dot_product_attention (FlashAttention)",
    "one fused kernel (FlashAttention)",
)

TF32_GPU: Final = re.compile(r"ampere|hopper|blackwell|sm_?(?:[89]\d|1\d\d)|cutlass_[89]\d")
"""Kernels that were built for GPUs with TF32."""


def products_without_tf32(measured: MeasuredWindow) -> Finding | None:
    """Return advice on matrix products in fp32 on a GPU that is faster in TF32."""
    work = measured.attribution.work
    slow = [
        category(name) == GEMM and number_formats.of_kernel(name) == "fp32" for name in work.names
    ]
    chosen = measured.work & np.array(slow, np.bool_)[work.kind]
    running_ns = work_ns(measured, chosen)
    share = wall_share(measured, running_ns)
    if share < GEMM_SHARE:
        return None
    gain = gain_of_tf32(measured, work.names)
    if gain is None:
        return None
    time = int(work.duration_ns[chosen].sum())
    return Finding(
        "products-without-tf32",
        f"matrix products in fp32 without TF32 take {duration(time)} "
        f"({percent(time / measured.kernel_ns)} of the kernels' time, "
        f"{in_words(measured, share)}): {USE_TF32.of(measured)} (10 bits of mantissa), "
        f"{gain.words}",
        more(measured, "analysis.kernels"),
        time_ns=running_ns,
        share=share,
        remedy=faster_products(measured, chosen, "tf32", 1 / gain.ratio) if gain.ratio else None,
    )


class GainOfTf32(NamedTuple):
    """How much faster TF32 is on a GPU.

    Attributes:
        words: that follow the cure.
        ratio: of the peaks; 0 where not known.
    """

    words: str
    ratio: float


def gain_of_tf32(measured: MeasuredWindow, kernels: list[str]) -> GainOfTf32 | None:
    """Return how much faster TF32 is on the GPU, None where it is not, or has none."""
    card = lookup(measured.report.device)
    if card is None:
        there = any(TF32_GPU.search(name) for name in kernels)
        return GainOfTf32("which this GPU has", 0.0) if there else None
    single, reduced = card.flops_per_s("fp32"), card.flops_per_s("tf32")
    if single is None or reduced is None or reduced <= single:
        return None
    ratio = reduced / single
    return GainOfTf32(f"at its peak {ratio:.3g} times as fast on {card.name}", ratio)


def unfused_optimizer(measured: MeasuredWindow) -> Finding | None:
    """Return advice on an optimizer that updates one parameter at a time."""
    attribution = measured.attribution
    phases = work_phases.phases_of_work(attribution)
    if names.OPTIMIZER not in phases.labels:
        return None
    mine = measured.work & (phases.phase == phases.labels.index(names.OPTIMIZER))
    in_one = attribution.work.in_category("optimizer")
    ranges = phases.ranges.called(names.OPTIMIZER)
    # Those in warm-up do not count, as their work does not.
    chosen = phases.ranges.take(ranges)
    steps = int(measured.during(chosen.process, chosen.start_ns).sum())
    count, time = int(mine.sum()), int(attribution.work.duration_ns[mine].sum())
    running_ns = work_ns(measured, mine)
    share = wall_share(measured, running_ns)
    least = CPU_OPTIMIZER if attribution.work.on_cpu else WORTH_A_LINE
    if (mine & in_one).any() or count < KERNELS_A_STEP * max(steps, 1) or share < least:
        return None
    what = "operators" if attribution.work.on_cpu else "kernels"
    return Finding(
        "unfused-optimizer",
        f"the optimizer takes {shares_in_words(measured, time, share)} in "
        f"{count // max(steps, 1):,} {what} a step, {duration(time / count)} each: "
        f"{FUSE_OPTIMIZER.of(measured)}",
        more(measured, "analysis.kernels", "--within", names.OPTIMIZER),
        range=names.OPTIMIZER,
        time_ns=running_ns,
        share=share,
        remedy=in_a_few_kernels(measured, mine),
    )


def unfused_attention(measured: MeasuredWindow) -> Finding | None:
    """Return advice on attention that writes its scores to memory.

    Its time is that of its parts and of what they bring about in the backward pass.
    """
    attribution = measured.attribution
    if (
        not attribution.ranges.called(names.SOFTMAX).any()
        or (is_fused(attribution.work) & measured.work).any()
    ):
        return None
    came_from = origin(attribution)
    inside = np.zeros(len(attribution.work.kind), np.bool_)
    softmax, later = inside.copy(), inside.copy()
    for part in names.ATTENTION_PARTS:
        forward, backward = work_of_part(attribution, part, came_from)
        inside |= (forward | backward) & measured.work
        later |= backward & measured.work
        softmax |= forward & measured.work & (part == names.SOFTMAX)
    time = int(attribution.work.duration_ns[inside].sum())
    running_ns = work_ns(measured, inside)
    share = wall_share(measured, running_ns)
    if not softmax.any() or share < WORTH_A_LINE:
        return None
    what = "operators" if attribution.work.on_cpu else "kernels"
    with_backward = ", its backward included" if later.any() else ""
    return Finding(
        "unfused-attention",
        f"attention takes {shares_in_words(measured, time, share)}{with_backward}, with "
        f"scores, softmax and final matmul in {what} of their own: "
        f"{FUSE_ATTENTION.of(measured)} keeps the scores out of memory",
        more(measured, "analysis.attention"),
        range=names.ATTENTION,
        time_ns=running_ns,
        share=share,
        # A fused kernel has the same products, at best in the same time, and nothing else.
        remedy=without(
            measured, inside & ~attribution.work.in_category(GEMM), "attention's products alone"
        ),
    )


def shares_in_words(measured: MeasuredWindow, time_ns: int, share: float) -> str:
    """Return a time in words, as a share of all kernels' time and of the wall time."""
    what = "operators" if measured.attribution.work.on_cpu else "kernels"
    of_work = f"{percent(time_ns / measured.kernel_ns)} of the {what}' time"
    wall = in_words(measured, share)
    return f"{of_work} ({wall})" if wall else of_work
