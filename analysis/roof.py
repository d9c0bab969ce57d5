"""What limits a range: the peak rates of the run's GPU, or the time it takes to launch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis.knowledge import number_formats
from analysis.knowledge.peaks import GIGA, TERA, lookup
from analysis.show.render import scaled

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution

Float64 = npt.NDArray[np.float64]

NAN: Final = float("nan")

LAUNCH_BOUND: Final = 0.5
"""Idle for more than this share of a range's time on the GPU, launching is what takes longest."""


@dataclass(frozen=True)
class Roof:
    """What limits a run: peaks, NaN where not known, and where they are from."""

    flops_per_s: float
    bytes_per_s: float
    origin: str

    @property
    def ridge(self) -> float:
        """The FLOPs a byte from which on arithmetic is the limit."""
        return self.flops_per_s / self.bytes_per_s


def roof(
    found: Attribution, peak_tflops: float | None = None, peak_gbs: float | None = None
) -> Roof:
    """Return the peaks of the run's GPU in its number format, or those given.

    Args:
        found: the run's work; on a CPU no peak is known.
        peak_tflops: in TFLOP/s, in place of the GPU's.
        peak_gbs: in GB/s, likewise.
    """
    card = lookup(found.report.device) if not found.work.on_cpu else None
    number_format = number_formats.of_report(found.report, found.work)
    rate = card.flops_per_s(number_format) if card else None
    if number_format == "tf32" and card and rate is None:
        # A card without tf32 does such products in fp32, whatever PyTorch allows.
        number_format, rate = "fp32", card.flops_per_s("fp32")
    parts = []
    if peak_tflops is None and rate is not None and card:
        parts.append(f"{scaled(rate, 'FLOP/s')} in {number_format}")
    if peak_gbs is None and card:
        parts.append(scaled(card.bytes_per_s, "B/s"))
    origin = [f"{' and '.join(parts)} ({card.name}: {card.cited})"] if parts and card else []
    if peak_tflops is not None:
        origin.append(f"{scaled(peak_tflops * TERA, 'FLOP/s')}, as given")
    if peak_gbs is not None:
        origin.append(f"{scaled(peak_gbs * GIGA, 'B/s')}, as given")
    return Roof(
        peak_tflops * TERA if peak_tflops is not None else (rate or NAN),
        peak_gbs * GIGA if peak_gbs is not None else (card.bytes_per_s if card else NAN),
        "; ".join(origin),
    )


def bounds(intensity: Float64, idle_share: Float64, limit: Roof) -> list[str]:
    """Return what limits each range: ``compute``, ``memory``, ``launch`` or ``unknown``.

    Args:
        intensity: ``(K,)`` FLOPs a byte, NaN where not known.
        idle_share: ``(K,)`` of each range's time on the GPU, that in which the GPU did nothing.
        limit: the peaks.
    """
    by_ridge = np.where(intensity >= limit.ridge, "compute", "memory")
    known = ~np.isnan(intensity) & (not math.isnan(limit.ridge))
    named = np.where(known, by_ridge, "unknown")
    result: list[str] = np.where(idle_share > LAUNCH_BOUND, "launch", named).tolist()
    return result
