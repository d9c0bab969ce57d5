"""Predictions for a part of a run: whole steps that count, the median one among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from analysis.attribution.steps import Steps
from analysis.measures.predictions.cpu_predictions import CpuPredictions
from analysis.measures.predictions.device_predictions import DevicePredictions

if TYPE_CHECKING:
    from analysis.measures.predictions.predicting import Predictions
    from analysis.measures.window import MeasuredWindow

MOST_CALLS: Final = 100_000
"""So many CUDA calls are replayed in a tenth of a second; a page asks for a dozen replays."""


class PartPredictions(NamedTuple):
    """Predictions for a part of a run.

    Attributes:
        known: what predicts it.
        steps: which of the steps that count it is; None where it is all there is.
        of: what it is of: a step, the time measured (see `MeasuredWindow`), or the run.
    """

    known: Predictions
    steps: range | None
    of: str


def predictions_of_part(measured: MeasuredWindow) -> PartPredictions:
    """Return what predicts the steps of a report that count, or as many as `MOST_CALLS` are of.

    Where no step is marked, that is the time that is measured, as if it were one.
    """
    attribution, steps, of = measured.attribution, measured.chosen.steps, "a step"
    if steps is None:
        steps = window_as_step(measured)
        of = "the run" if steps is None else "the time measured"
    if attribution.work.on_cpu:
        return PartPredictions(CpuPredictions(attribution, steps), None, of)
    if steps is None or of != "a step" or len(attribution.device.calls) <= MOST_CALLS:
        return PartPredictions(DevicePredictions.of_part(attribution, steps, None), None, of)
    numbers = steps_around_median(steps, calls_of_steps(measured, steps))
    some = steps.numbered(numbers)
    bounds = (int(some.start_ns.min()), int(some.end_ns.max()))
    return PartPredictions(DevicePredictions.of_part(attribution, some, bounds), numbers, of)


def window_as_step(measured: MeasuredWindow) -> Steps | None:
    """Return the measured window of each process that gave work as a step; None without one."""
    launches = measured.attribution.all_launches
    rows = []
    for process, (start, end) in measured.window.items():
        mine = launches.process == process
        if mine.any():
            rows.append((process, start, min(end, int(launches.end_ns[mine].max()))))
    rows = [row for row in sorted(rows) if row[1] < row[2]]
    if not rows:
        return None
    process, start, end = np.array(rows, np.int64).T
    return Steps(process, start, end, np.zeros(len(rows), np.int64))


def calls_of_steps(measured: MeasuredWindow, steps: Steps) -> list[int]:
    """Return how many CUDA calls began while each step was open, whichever the process."""
    begun = np.sort(measured.attribution.device.calls.start_ns)
    counts = np.zeros(steps.count, np.int64)
    inside = np.searchsorted(begun, steps.end_ns) - np.searchsorted(begun, steps.start_ns)
    np.add.at(counts, steps.number, inside)
    return counts.tolist()


def steps_around_median(steps: Steps, calls: list[int], most: int = MOST_CALLS) -> range:
    """Return the numbers of the step of median length and those around it, as many as fit.

    Args:
        steps: all.
        calls: of each step.
        most: as many calls may be in them together; the median step alone may have more.
    """
    middle = int(np.argsort(steps.wall_ns, kind="stable")[(steps.count - 1) // 2])
    low, high, total = middle, middle + 1, calls[middle]
    grew = True
    while grew:
        grew = False
        if high < steps.count and total + calls[high] <= most:
            total, high, grew = total + calls[high], high + 1, True
        if low > 0 and total + calls[low - 1] <= most:
            total, low, grew = total + calls[low - 1], low - 1, True
    return range(low, high)
