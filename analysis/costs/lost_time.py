"""What work lost: how much longer it took than the device's peaks allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.costs.costed_calls import costed_calls
from analysis.costs.device_peaks import DevicePeaks, ideal_of_work, ideal_times

if TYPE_CHECKING:
    from analysis.arithmetic.arrays import Float64
    from analysis.attribution.launches import Attribution


def lost_times(attribution: Attribution) -> Float64:
    """Return the time that ranked work lost: measured less ideal, below 0 where it was faster.

    Returns:
        ``(N,)`` whole ns, NaN where no ideal time is known: of work whose FLOPs or bytes are not,
        and on a device whose peaks are not.
    """
    return attribution.once(_lost_times)


def _lost_times(attribution: Attribution) -> Float64:
    work = attribution.work
    peaks = DevicePeaks.of(attribution.report, work)
    calls = costed_calls(attribution)
    if not peaks.known or not len(calls):
        return np.broadcast_to(np.nan, len(work))
    ideal = ideal_of_work(calls, ideal_times(calls, peaks), work.duration_ns)
    return work.duration_ns - np.round(ideal)
