"""Advice on how the model computes: TF32, a fused optimizer, fused attention."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis import classify, placement, precision
from analysis.peaks import lookup
from analysis.render import duration, percent
from profiling import names

if TYPE_CHECKING:
    from analysis.measured import Measured

Bools = npt.NDArray[np.bool_]

WORTH_A_LINE: Final = 0.05
"""Of the kernel time. Steps differ by some percent among themselves: less is not seen in them."""

GEMM_SHARE: Final = 0.1
"""TF32 is up to 8 times as fast, so a tenth of the time in fp32 products is worth the change."""

KERNELS_A_STEP: Final = 100
"""A fused optimizer launches a few kernels for hundreds of parameters, a foreach one some tens."""

TF32_GPU: Final = re.compile(r"ampere|hopper|blackwell|sm_?(?:[89]\d|1\d\d)|cutlass_[89]\d")
"""Kernels that were built for GPUs with TF32."""


def tf32(measured: Measured) -> list[str]:
    """Return a line on matrix products in fp32 on a GPU that is faster in TF32."""
    work = measured.found.work.take(measured.work)
    times = precision.gemm_times(work)
    share = times.get("fp32", 0) / measured.kernel_ns
    if share < GEMM_SHARE:
        return []
    gain = faster(measured, work.names)
    if not gain:
        return []
    return [
        f"matrix products in fp32 without TF32 take {duration(times['fp32'])} ({percent(share)} "
        f"of the kernels' time): torch.set_float32_matmul_precision('high') uses TF32 "
        f"(10 bits of mantissa), {gain}"
    ]


def faster(measured: Measured, kernels: list[str]) -> str:
    """Return how much faster TF32 is on the GPU, "" where it is not, or there is none."""
    card = lookup(measured.report.device)
    if card is None:
        there = any(TF32_GPU.search(name) for name in kernels)
        return "which this GPU has" if there else ""
    single, reduced = card.flops_per_s("fp32"), card.flops_per_s("tf32")
    if single is None or reduced is None or reduced <= single:
        return ""
    return f"at its peak {reduced / single:.3g} times as fast on {card.name}"


def optimizer(measured: Measured) -> list[str]:
    """Return a line on an optimizer that updates one parameter at a time."""
    found = measured.found
    phases = placement.phases(found)
    if names.OPTIMIZER not in phases.labels:
        return []
    mine = measured.work & (phases.phase == phases.labels.index(names.OPTIMIZER))
    fused = of_category(measured, "optimizer")
    ranges = phases.ranges.called(names.OPTIMIZER)
    # Those in warm-up do not count, as their work does not.
    chosen = phases.ranges.take(ranges)
    steps = int(measured.during(chosen.process, chosen.start_ns).sum())
    count, time = int(mine.sum()), int(found.work.duration_ns[mine].sum())
    share = time / measured.kernel_ns
    if (mine & fused).any() or count < KERNELS_A_STEP * max(steps, 1) or share < WORTH_A_LINE:
        return []
    what = "operators" if found.work.on_cpu else "kernels"
    return [
        f"the optimizer takes {percent(share)} of the {what}' time in {count // max(steps, 1):,} "
        f"{what} a step, {duration(time / count)} each: AdamW(..., fused=True) does it in a few"
    ]


def attention(measured: Measured) -> list[str]:
    """Return a line on attention that writes its scores to memory."""
    found = measured.found
    if (of_category(measured, "attention") & measured.work).any():
        return []
    inside = np.zeros(len(found.work.kind), np.bool_)
    softmax = inside.copy()
    for part in names.ATTENTION_PARTS:
        if found.ranges.called(part).any():
            here = placement.inside(found, part) & measured.work
            inside |= here
            softmax |= here & (part == names.SOFTMAX)
    time = int(found.work.duration_ns[inside].sum())
    share = time / measured.kernel_ns
    if not softmax.any() or share < WORTH_A_LINE:
        return []
    what = "operators" if found.work.on_cpu else "kernels"
    return [
        f"attention takes {percent(share)} of the {what}' time, with scores, softmax and final "
        f"matmul in {what} of their own: F.scaled_dot_product_attention (FlashAttention) keeps "
        "the scores out of memory"
    ]


def of_category(measured: Measured, wanted: str) -> Bools:
    """Return which work is of a category."""
    work = measured.found.work
    labels = classify.categories(work.names)
    fits: Bools = np.array([label == wanted for label in labels], np.bool_)[work.kind]
    return fits
