"""Predictions for a run, on GPUs by replaying it and on a CPU by adding up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from analysis.attribution.launches import Attribution
from analysis.measures.predictions.cpu_predictions import CpuPredictions
from analysis.measures.predictions.device_predictions import DevicePredictions
from analysis.measures.predictions.rank_predictions import RankPredictions
from analysis.measures.predictions.times import Blind, Times
from analysis.measures.step_times import step_times
from analysis.show.render import duration

if TYPE_CHECKING:
    from analysis.attribution.steps import Steps
    from analysis.measures.predictions.change import Change
    from analysis.measures.predictions.edit import Edit
    from analysis.source.report import Report

UNEXPLAINED: Final = 0.02
"""Steps of one run differ by as much from one another."""


class Predictions(Protocol):
    """What predicts a run: what it took, and what it would take after a change."""

    @property
    def attribution(self) -> Attribution:
        """All work of the report beside its ranges."""

    @property
    def on_cpu(self) -> bool:
        """Whether operators stand in for kernels."""

    @property
    def steps(self) -> Steps | None:
        """The steps that count, or None where none is marked."""

    @property
    def distrust(self) -> str | None:
        """Why predictions cannot be trusted, or None."""

    @property
    def blind(self) -> Blind:
        """The blind replay, beside what was recorded."""

    @property
    def recorded(self) -> Times:
        """What was recorded."""

    @property
    def unrecorded_host(self) -> float | None:
        """The factor of the host's time in the run without a recorder; None where not known."""

    def edits(self, change: Change) -> list[Edit]:
        """Return what a change comes to in the report."""

    def predict(self, edits: Sequence[Edit], host: float = 1.0) -> Times:
        """Return what the run takes after some edits, the host's time by a factor before them."""

    def limit(self, edits: Sequence[Edit], host: float = 1.0) -> str:
        """Return what the median step, or the whole, is limited by after some edits."""


def slowed_otherwise(known: Predictions) -> str:
    """Return in words that a slower host does not explain what recording cost, "" where it does."""
    host = known.unrecorded_host
    if host is None:
        return ""
    bare = float(np.median(step_times(known.attribution.report, "unprofiled_step_ns")))
    least = float(np.median(known.predict([], host).step_ns))
    if least <= bare * (1 + UNEXPLAINED):
        return ""
    return (
        f"recording slowed more than the host: steps took {duration(bare)} when they were not "
        f"recorded, and a replay takes {duration(least)} however fast the host is"
    )


def predictions(report: Report, *others: Report) -> Predictions:
    """Return what predicts the run of a report, made once; or of several, a rank each, together.

    Raises:
        ReportError: one holds neither kernels nor operators, or is of a CPU run and not alone.
    """
    return RankPredictions.of([report, *others]) if others else report.once(_predictions)


def _predictions(report: Report) -> Predictions:
    attribution = Attribution.of(report)
    if attribution.work.on_cpu:
        return CpuPredictions.of(attribution)
    return DevicePredictions.of(attribution)
