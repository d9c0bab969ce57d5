"""What a run on GPUs would take after a change: it is replayed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.attribution.steps import Steps, steps_of_report
from analysis.attribution.work_phases import work_inside
from analysis.measures.replay.changed import changed_lags, host_scaled
from analysis.measures.replay.lags import Lags, recorded_lags
from analysis.measures.replay.overlapping import collectives, with_overlap
from analysis.measures.replay.recorded_run import RecordedRun, recorded_run
from analysis.measures.replay.replay import Replayed, Score
from analysis.measures.replay.step_bounds import step_bounds
from analysis.measures.replay.times import Blind, Times
from analysis.measures.replay.trust import blind_replay, distrust, window_of
from analysis.measures.step_times import step_times
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.measures.replay.change import Change

NEAR: Final = 0.002
"""How near a replay comes to the step time without a recorder: as a share of that."""

ROUNDS: Final = 24


@dataclass(frozen=True)
class DevicePredictions:
    """Predictions for a run on GPUs, by replaying it.

    Attributes:
        attribution: all its work beside its ranges.
        steps: its steps that count, or None where none is marked.
        run: as it was recorded.
    """

    attribution: Attribution
    steps: Steps | None
    run: RecordedRun
    on_cpu = False

    @classmethod
    def of(cls, attribution: Attribution) -> DevicePredictions:
        """Return what predicts the run of a report with device work."""
        steps = steps_of_report(attribution)
        apart = collectives(attribution)
        run = recorded_run(attribution.device, apart, step_bounds(attribution, steps))
        return cls(attribution, steps, run)

    @cached_property
    def score(self) -> Score:
        """The order in which the run is replayed."""
        return Score(self.run)

    @cached_property
    def distrust(self) -> str | None:
        """Why a replay of the run cannot be trusted, or None."""
        return distrust(self.run)

    @cached_property
    def blind(self) -> Blind:
        """The blind replay, beside what was recorded."""
        return blind_replay(self.score)

    @cached_property
    def lags(self) -> Lags:
        """The recorded lags."""
        run = self.run
        return recorded_lags(run.done, run.chain, run.order, run.waits, run.means)

    @cached_property
    def recorded(self) -> Times:
        """What was recorded; an unchanged replay takes exactly that."""
        return self.times(self.score.replay(self.lags))

    def predict(self, change: Change, host: float = 1.0) -> Times:
        """Return what the run takes after a change.

        Args:
            change: what is changed.
            host: the factor of the host's time in the run that is changed.

        Raises:
            ReportError: there is nothing of a name.
        """
        return self.times(self.replayed(change, host))

    def replayed(self, change: Change, host: float = 1.0) -> Replayed:
        """Return the replay of the run after a change, see `predict`."""
        lags = host_scaled(self.run, self.lags, host)
        lags = changed_lags(self.run, self.attribution, change, lags)
        if not change.overlap:
            return self.score.replay(lags)
        return self._beside(lags)

    def _beside(self, lags: Lags) -> Replayed:
        optimizer = self.attribution.ranges.called(names.OPTIMIZER)
        until = work_inside(self.attribution, optimizer)
        run = with_overlap(self.run, collectives(self.attribution), until)
        return Score(run).replay(replace(lags, edge_ns=edge_lags(self.run, lags, run)))

    def host_factor(self, step_ns: float) -> float:
        """Return the factor of the host's time with which the median step takes so long.

        1 where the recorded steps are no longer than that, and the least that was tried where even
        a host that takes no time does not make them as short.
        """
        low, high = 0.0, 1.0
        if not len(self.recorded.step_ns) or float(np.median(self.recorded.step_ns)) <= step_ns:
            return 1.0
        for _ in range(ROUNDS):
            middle = (low + high) / 2
            lags = host_scaled(self.run, self.lags, middle)
            found = float(np.median(self.times(self.score.replay(lags)).step_ns))
            if abs(found - step_ns) <= NEAR * step_ns:
                return middle
            low, high = (middle, high) if found < step_ns else (low, middle)
        return (low + high) / 2

    @cached_property
    def unrecorded_host(self) -> float | None:
        """The factor of the host's time in the run without a recorder; None where not known."""
        bare = step_times(self.attribution.report, "unprofiled_step_ns")
        if not len(bare) or self.steps is None:
            return None
        return self.host_factor(float(np.median(bare)))

    def times(self, replayed: Replayed) -> Times:
        """Return what a replay takes."""
        steps = np.zeros(0, np.int64)
        if self.steps is not None:
            count = len(self.steps.number)
            at = replayed.start_ns[self.run.chain.marks]
            steps = np.zeros(self.steps.count, np.int64)
            np.maximum.at(steps, self.steps.number, at[count:] - at[:count])
        end_ns = replayed.work_end_ns
        return Times(window_of(self.run, replayed), steps, end_ns - replayed.work_start_ns, end_ns)


def edge_lags(run: RecordedRun, lags: Lags, changed: RecordedRun) -> Int64:
    """Return ``(E,)`` the lags of a changed run's edges: as recorded, the mean of those it adds."""
    count = len(run.done)
    known, wanted = (one.order.edge_to * count + one.order.edge_from for one in (run, changed))
    place = np.searchsorted(known, wanted).clip(max=max(len(known) - 1, 0))
    there = known[place] == wanted if len(known) else np.zeros(len(wanted), np.bool_)
    result = np.full(len(wanted), run.means.edge_ns, np.int64)
    result[there] = lags.edge_ns[place[there]]
    return result
