"""Model FLOPs utilization: what the model needs a second, against what the device could do.

That depends on the number format of the run's matrix products.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Float64
from analysis.arithmetic.intervals import NONE
from analysis.costs.costed_calls import costed_calls
from analysis.measures.step_times import step_times, unsteady
from analysis.measures.window import MeasuredWindow
from analysis.show.render import duration, percent, scaled
from analysis.source import tables

if TYPE_CHECKING:
    from analysis.attribution.selected import Selected
    from analysis.costs.device_peaks import DevicePeaks
    from analysis.source.report import Report


BY_PARAMETERS: Final = "the model's {} (6N + 12 L d T a token)"
BY_PRODUCTS: Final = "the {} of the matrix products found"
"""How the FLOPs of a step are counted: by the model's size, or by the shapes of what it ran."""


@dataclass(frozen=True)
class Mfu:
    """The FLOPs that the model needs for a step, and the times that steps took.

    Attributes:
        flops: that the model needs for a step, whatever was launched.
        step_ns: ``(S,)`` the time of each step.
        recorded: whether they were slowed by recording.
        peak_flops_per_s: of the device, or None where it is not known.
        counted: in words, how the FLOPs were counted.
    """

    flops: int
    step_ns: Float64
    recorded: bool
    peak_flops_per_s: float | None
    counted: str = BY_PARAMETERS

    @property
    def median_ns(self) -> float:
        """The time of the median step."""
        return float(np.median(self.step_ns))

    @property
    def flops_per_s(self) -> float:
        """The model's FLOPs a second in the median step."""
        return self.flops / (self.median_ns / 1e9)

    @property
    def share(self) -> float | None:
        """The model's FLOPs a second as a share of the peak; None where the peak is not known."""
        return self.flops_per_s / self.peak_flops_per_s if self.peak_flops_per_s else None

    def describe(self) -> str:
        """Return the MFU, the rate and the step it is of, in one line."""
        what = f"{scaled(self.flops_per_s, 'FLOP/s')}"
        first = f"MFU {percent(self.share)}, {what}" if self.share is not None else what
        how = "recorded" if self.recorded else "not recorded"
        line = (
            f"{first}: {self.counted.format(scaled(self.flops, 'FLOP'))} "
            f"in a median step of {duration(self.median_ns)}, {how}"
        )
        if not unsteady(self.step_ns):
            return line
        ends = (self.flops / (float(end) / 1e9) for end in (self.step_ns.max(), self.step_ns.min()))
        return f"{line}; steps differ, from {' to '.join(scaled(end, 'FLOP/s') for end in ends)}"


def mfu(chosen: Selected, peaks: DevicePeaks) -> Mfu | None:
    """Return the MFU of a report: by the model's size, else by the products found in its steps.

    Args:
        chosen: the part of it that counts.
        peaks: of the device.
    """
    return mfu_of_model(chosen.attribution.report, peaks) or mfu_of_products(chosen, peaks)


def mfu_of_model(report: Report, peaks: DevicePeaks) -> Mfu | None:
    """Return the MFU of a run of our launcher, or None where the report does not tell enough.

    PaLM's convention (arXiv 2204.02311, appendix B), as nanoGPT has it: a token needs 6N + 12 L d T
    FLOPs, forward and backward, the full square of attention; a forward pass alone a third. N are
    all parameters but the input embedding, which is looked up. Steps timed without recording count,
    where there are some; unless they are so unsteady that their median says little, and the
    recorded ones are not.

    Args:
        report: what was recorded.
        peaks: of the device.
    """
    flops = step_flops(report)
    bare, recorded = step_times(report, "unprofiled_step_ns"), step_times(report, "step_ns")
    use_bare = bool(len(bare)) and not (
        unsteady(bare) and len(recorded) > 1 and not unsteady(recorded)
    )
    times = bare if use_bare else recorded
    if flops is None or not len(times) or float(np.median(times)) <= 0:
        return None
    return Mfu(flops, times, not use_bare, _peak(peaks))


def mfu_of_products(chosen: Selected, peaks: DevicePeaks) -> Mfu | None:
    """Return the MFU of a run of anyone's, by the matrix products that were found in its steps.

    Attention counts as it was launched, and what was computed twice counts twice: it is the
    hardware's utilization (HFU) where a model computes parts of its forward pass again.

    Args:
        chosen: the part of a report that counts; None is returned where it has no steps.
        peaks: of the device.
    """
    steps, attribution = chosen.steps, chosen.attribution
    if steps is None:
        return None
    launches = attribution.launches
    inside = chosen.work & (steps.at(launches.start_ns, launches.process) != NONE)
    calls = costed_calls(attribution)
    used = np.unique(calls.owner[inside & (calls.owner != NONE)])
    used = used[calls.is_matrix[used] & (calls.flops[used] != tables.MISSING)]
    flops = int(calls.flops[used].sum()) // max(steps.count, 1)
    if not flops:
        return None
    times = MeasuredWindow(chosen).step_times_ns
    return Mfu(flops, times, True, _peak(peaks), BY_PRODUCTS)


def _peak(peaks: DevicePeaks) -> float | None:
    """Return the peak rate in the run's number format, None where it is not known."""
    rate = peaks.flops_per_s("")
    return None if math.isnan(rate) else rate


def step_flops(report: Report) -> int | None:
    """Return the FLOPs that the model needs for a step, or None where the report does not tell."""
    fields = ("parameters", "vocab_size", "d_model", "num_layers", "batch", "context")
    try:
        parameters, vocabulary, width, layers, batch, context = (
            int(report.run[field]) for field in fields
        )
    except (KeyError, ValueError):
        return None
    a_token = 6 * (parameters - vocabulary * width) + 12 * layers * width * context
    whole = batch * context * a_token
    return whole // 3 if report.run.get("mode") == "forward" else whole
