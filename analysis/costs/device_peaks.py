"""The peak rates of the device that a report is of: a GPU's by its name, a CPU's as measured."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Float64, Int64
from analysis.arithmetic.intervals import NONE
from analysis.costs.run_format import run_number_format
from analysis.knowledge.peaks import GIGA, TERA, Peak, lookup
from analysis.show.render import scaled

if TYPE_CHECKING:
    from analysis.costs.costed_calls import CostedCalls
    from analysis.recorded.work import Work
    from analysis.source.report import Report

PEAK_FLOPS: Final = "peak_flops_per_s"
PEAK_BYTES: Final = "peak_bytes_per_s"
"""The keys of `TOOLKIT_RUN` under which a recorder notes the peaks of a CPU that it measured."""

NAN: Final = math.nan


@dataclass(frozen=True)
class DevicePeaks:
    """The peak rates of a report's device, NaN where not known.

    Attributes:
        bytes_per_s: the memory's bandwidth.
        number_format: of the run, for calls whose own format is not known; "" where neither is.
        card: the GPU's rates; None of a CPU, or of a GPU that is not known.
        measured_flops_per_s: of a CPU, in fp32.
        given_flops_per_s: what the user says it is, in whatever format.
        origin: the source of the figures, in words; "" where none is known.
    """

    bytes_per_s: float
    number_format: str
    card: Peak | None
    measured_flops_per_s: float = NAN
    given_flops_per_s: float = NAN
    origin: str = ""

    @classmethod
    def of(
        cls,
        report: Report,
        work: Work,
        peak_tflops: float | None = None,
        peak_gbs: float | None = None,
    ) -> DevicePeaks:
        """Return the peak rates of the device that some work of a report ran on.

        Args:
            report: what was recorded.
            work: its ranked work.
            peak_tflops: in TFLOP/s, in place of the device's rate in every number format.
            peak_gbs: the bandwidth in GB/s, likewise.
        """
        name, card, flops = run_number_format(report, work), None, NAN
        if work.on_cpu:
            flops, size = (noted_rate(report, key) for key in (PEAK_FLOPS, PEAK_BYTES))
            name = name or "fp32"
        else:
            card = lookup(report.device)
            size = card.bytes_per_s if card else NAN
        found = cls(
            size if peak_gbs is None else peak_gbs * GIGA,
            name,
            card,
            flops,
            NAN if peak_tflops is None else peak_tflops * TERA,
        )
        return replace(found, origin=found._origin(peak_tflops, peak_gbs))

    def _origin(self, peak_tflops: float | None, peak_gbs: float | None) -> str:
        parts, rate = [], self.flops_per_s("")
        if peak_tflops is None and not math.isnan(rate):
            parts.append(f"{scaled(rate, 'FLOP/s')} in {self.computed_in(self.number_format)}")
        if peak_gbs is None and not math.isnan(self.bytes_per_s):
            parts.append(scaled(self.bytes_per_s, "B/s"))
        source = f"{self.card.name}: {self.card.cited}" if self.card else "measured while recording"
        words = [f"{' and '.join(parts)} ({source})"] if parts else []
        if peak_tflops is not None:
            words.append(f"{scaled(peak_tflops * TERA, 'FLOP/s')}, as given")
        if peak_gbs is not None:
            words.append(f"{scaled(peak_gbs * GIGA, 'B/s')}, as given")
        return "; ".join(words)

    def flops_per_s(self, number_format: str) -> float:
        """Return the peak rate in a number format, "" for the run's; NaN where not known."""
        name = self.computed_in(number_format or self.number_format)
        if not math.isnan(self.given_flops_per_s):
            return self.given_flops_per_s
        if self.card is None:
            return self.measured_flops_per_s if name == "fp32" else NAN
        rate = self.card.flops_per_s(name)
        return NAN if rate is None else rate

    def computed_in(self, number_format: str) -> str:
        """Return the format that products of a number format are computed in on this device.

        A card without tf32 does such products in fp32, whatever PyTorch allows.
        """
        lacks = self.card is not None and self.card.flops_per_s(number_format) is None
        return "fp32" if lacks and number_format == "tf32" else number_format

    @property
    def known(self) -> bool:
        """Whether any peak is known, so that some work has an ideal time."""
        return bool(self.origin)

    @property
    def ridge(self) -> float:
        """The FLOPs a byte from which on arithmetic is the limit, in the run's number format."""
        return self.flops_per_s("") / self.bytes_per_s


def noted_rate(report: Report, key: str) -> float:
    """Return a rate that the recorder noted, NaN where it noted none that makes sense."""
    try:
        rate = float(report.run.get(key, ""))
    except ValueError:
        return NAN
    return rate if 0 < rate < math.inf else NAN


def ideal_of_work(calls: CostedCalls, ideal_ns: Float64, duration_ns: Int64) -> Float64:
    """Return the ideal time of each piece of work: of its call's a part, by its time.

    Args:
        calls: what cost something.
        ideal_ns: ``(C,)`` of each call, NaN where not known.
        duration_ns: ``(N,)`` of each piece of work.

    Returns:
        ``(N,)``, NaN where not known.
    """
    result = np.full(len(duration_ns), NAN)
    owned = np.flatnonzero(calls.owner != NONE)
    owner, took = calls.owner[owned], duration_ns[owned]
    whole, pieces = np.bincount(owner, took, len(calls)), np.bincount(owner, minlength=len(calls))
    part = np.where(whole[owner] > 0, took / np.maximum(whole[owner], 1), 1 / pieces[owner])
    result[owned] = ideal_ns[owner] * part
    return result


def ideal_times(calls: CostedCalls, peaks: DevicePeaks) -> Float64:
    """Return the least time, in ns, that the device could do each call in, NaN where not known.

    That is the longer of its FLOPs at the peak of their number format and its bytes at the memory's
    bandwidth (the roofline: Williams, Waterman and Patterson, CACM 52(4), 2009). A product without
    FLOPs, or in a format whose peak is not known, has none; nor has any other call without bytes.

    Args:
        calls: ``C`` calls with what they cost.
        peaks: of the device.

    Returns:
        ``(C,)``.
    """
    rates = np.array([peaks.flops_per_s(name) for name in calls.formats], np.float64)
    rate = rates[calls.number_format] if len(rates) else np.empty(0)
    computing = np.where(calls.flops >= 0, calls.flops / rate * 1e9, NAN)
    moving = np.where(calls.bytes >= 0, calls.bytes / peaks.bytes_per_s * 1e9, NAN)
    longer = np.fmax(computing, moving)
    needed = np.where(calls.is_matrix, computing, moving)
    return np.where(np.isnan(needed) | calls.is_communication, NAN, longer)
