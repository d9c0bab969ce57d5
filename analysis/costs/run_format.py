"""The number format that a run multiplies in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.arithmetic.statistics import sums
from analysis.knowledge.categories import category
from analysis.knowledge.number_formats import OF_DTYPE, of_kernel

if TYPE_CHECKING:
    from analysis.recorded.work import Work
    from analysis.source.report import Report


def gemm_times(work: Work) -> dict[str, int]:
    """Return the time of matrix products by number format, in ns; "" is where it is not known."""
    spent = sums(work.kind, work.duration_ns, len(work.names))
    times: dict[str, int] = {}
    for name, time in zip(work.names, spent.tolist(), strict=True):
        if time and category(name) == "gemm":
            label = of_kernel(name)
            times[label] = times.get(label, 0) + time
    return times


def run_number_format(report: Report, work: Work) -> str:
    """Return the number format of a run, as the launcher noted it or its kernels' names tell.

    float32 is tf32 where PyTorch was allowed to use that; autocast counts before the weights' type.

    Args:
        report: what was recorded.
        work: its ranked work, whose names count where nothing was noted.

    Returns:
        A format as `analysis.knowledge.number_formats` calls it, or "" where it is not known.
    """
    cast = OF_DTYPE.get(report.run.get("autocast", ""), "")
    noted = cast or OF_DTYPE.get(report.run.get("dtype", ""), "")
    if noted == "fp32" and report.run.get("tf32") == "true":
        return "tf32"
    if noted or work.on_cpu:
        return noted
    times = gemm_times(work)
    return max(times, key=times.__getitem__, default="")
