"""The number format of a run's matrix products: as the launcher noted it, or by kernels' names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.knowledge.categories import category

if TYPE_CHECKING:
    from analysis.kernels import Work
    from analysis.source.report import Report

OF_DTYPE: Final = {
    "float64": "fp64",
    "float32": "fp32",
    "bfloat16": "bf16",
    "float16": "fp16",
    "float8_e4m3fn": "fp8",
    "float8_e5m2": "fp8",
}
"""What `analysis.knowledge.peaks` calls PyTorch's types."""

PATTERNS: Final = {
    "fp8": r"e4m3|e5m2|fp8|nvjet_[qr]",
    "bf16": r"bf16|bfloat16|nvjet_t",
    # 1688 is a shape of tensor-core products: of fp16 if its name says so, else of tf32.
    "tf32": r"tf32|s1688gemm(?!_f16|_fp16)|tensorop_s1688(?!.*f16)",
    "fp16": r"f16|fp16|hgemm|hmma|_h884|_h1688|_h16816|__half|nvjet_h",
    "fp64": r"dgemm|f64|\bdouble\b",
    "fp32": r"sgemm|ffma|simt|f32f32_f32f32|\bfloat\b",
}
"""What the names of cuBLAS's and CUTLASS's kernels say; the first that matches counts."""

_COMPILED: Final = {name: re.compile(pattern) for name, pattern in PATTERNS.items()}


def of_kernel(name: str) -> str:
    """Return the number format of a matrix product by its kernel's name, "" where it says nothing.

    >>> of_kernel("ampere_sgemm_128x64_tn"), of_kernel("nvjet_tst_192x192_64x4")
    ('fp32', 'bf16')
    >>> of_kernel("sm80_xmma_gemm_f32f32_tf32f32_f32_nn_n_tilesize128x128x16_stage4")
    'tf32'
    """
    return next((label for label, pattern in _COMPILED.items() if pattern.search(name)), "")


def gemm_times(work: Work) -> dict[str, int]:
    """Return the time of matrix products by number format, in ns; "" is where it is not known."""
    spent = np.zeros(len(work.names), np.int64)
    np.add.at(spent, work.kind, work.duration_ns)
    times: dict[str, int] = {}
    for name, time in zip(work.names, spent.tolist(), strict=True):
        if time and category(name) == "gemm":
            label = of_kernel(name)
            times[label] = times.get(label, 0) + time
    return times


def of_report(report: Report, work: Work | None = None) -> str:
    """Return the number format of a run: what the launcher noted, else what the kernels' names say.

    float32 is tf32 where PyTorch was allowed to use that.

    Args:
        report: what was recorded.
        work: its kernels; without them only what was noted counts.

    Returns:
        One of `analysis.knowledge.peaks.FORMATS`, or "" where it is not known.
    """
    of_launcher = OF_DTYPE.get(report.run.get("dtype", ""), "")
    if of_launcher == "fp32" and report.run.get("tf32") == "true":
        return "tf32"
    if of_launcher or work is None or work.on_cpu:
        return of_launcher
    times = gemm_times(work)
    return max(times, key=times.__getitem__, default="")
