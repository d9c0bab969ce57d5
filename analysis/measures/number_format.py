"""The number format in which a run's matrix products were done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.knowledge.categories import category
from analysis.knowledge.number_formats import OF_DTYPE, of_kernel

if TYPE_CHECKING:
    from analysis.recorded.work import Work
    from analysis.source.report import Report


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


def run_number_format(report: Report, work: Work | None = None) -> str:
    """Return the number format of a run, as the launcher noted it or its kernels' names tell.

    float32 is tf32 where PyTorch was allowed to use that.

    Args:
        report: what was recorded.
        work: its kernels; without them only what was noted counts.

    Returns:
        One of `analysis.knowledge.peaks.FORMATS`, or "" where it is not known.
    """
    noted = OF_DTYPE.get(report.run.get("dtype", ""), "")
    if noted == "fp32" and report.run.get("tf32") == "true":
        return "tf32"
    if noted or work is None or work.on_cpu:
        return noted
    times = gemm_times(work)
    return max(times, key=times.__getitem__, default="")
