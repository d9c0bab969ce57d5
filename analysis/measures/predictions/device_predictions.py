"""What a run on GPUs would take after a change: it is replayed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.statistics import sums
from analysis.attribution.steps import Steps, steps_of_report
from analysis.measures.predictions.edit import Edit, edited_lags, host_scaled
from analysis.measures.predictions.edits import collectives
from analysis.measures.predictions.edits import edits as edits_of
from analysis.measures.predictions.overlapping import with_overlap
from analysis.measures.predictions.step_bounds import step_bounds
from analysis.measures.predictions.step_ends import StepEnds
from analysis.measures.predictions.times import Blind, Times
from analysis.measures.predictions.trust import blind_replay, distrust, window_of
from analysis.measures.replay.critical_path import Backwards, Event, Moment
from analysis.measures.replay.lags import Lags, ends, recorded_lags
from analysis.measures.replay.recorded_run import RecordedRun, recorded_run
from analysis.measures.replay.replay import Replayed, Score
from analysis.measures.step_times import step_times
from analysis.recorded.device_work import COPY, SET

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.measures.predictions.change import Change
    from analysis.recorded.device_work import DeviceWork

NEAR: Final = 0.002
"""How near a replay comes to the step time without a recorder: as a share of that."""

ROUNDS: Final = 12

HOST: Final = "host"
LATENCY: Final = "latency"
COPIES: Final = "copies"
"""What a run is limited by that is no category of kernels."""


@dataclass(frozen=True)
class Outcome:
    """A replay, with what it was made of.

    Attributes:
        score: the run.
        lags: those that were replayed.
        replayed: the times.
    """

    score: Score
    lags: Lags
    replayed: Replayed


@dataclass(frozen=True)
class DevicePredictions:
    """Predictions for a run on GPUs, by replaying it.

    Attributes:
        attribution: all its work beside its ranges.
        steps: its steps that count, or None where none is marked.
        run: as it was recorded.
        every: all device work, that which is not replayed too.
    """

    attribution: Attribution
    steps: Steps | None
    run: RecordedRun
    every: DeviceWork
    on_cpu = False

    @classmethod
    def of(cls, attribution: Attribution) -> DevicePredictions:
        """Return what predicts the run of a report with device work."""
        return cls.of_part(attribution, steps_of_report(attribution), None)

    @classmethod
    def of_part(
        cls, attribution: Attribution, steps: Steps | None, part: tuple[int, int] | None
    ) -> DevicePredictions:
        """Return what predicts a part of a run.

        Args:
            attribution: all its work beside its ranges.
            steps: those of its steps that lie in the part and count, or None.
            part: the first instant and the last at which what is replayed was launched; None for
                all of it.
        """
        marks = step_bounds(attribution, steps)
        run = recorded_run(attribution.device, collectives(attribution), marks, part)
        return cls(attribution, steps, run, attribution.device)

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
        return self.predict([])

    @cached_property
    def step_ends(self) -> StepEnds | None:
        """What the times of steps depend on; None where no step is marked."""
        return None if self.steps is None else StepEnds.of(self.run, self.steps)

    def edits(self, change: Change) -> list[Edit]:
        """Return what a change comes to.

        Raises:
            ReportError: there is nothing of a name.
        """
        return edits_of(self.attribution, change)

    def predict(self, edits: Sequence[Edit], host: float = 1.0) -> Times:
        """Return what the run takes after some edits, all of them together.

        Args:
            edits: what is changed.
            host: the factor of the host's time in the run that is changed.
        """
        return self.times(self.outcome(edits, host).replayed)

    def outcome(self, edits: Sequence[Edit], host: float = 1.0) -> Outcome:
        """Return the replay after some edits, see `predict`."""
        lags = host_scaled(self.run, self.lags, host)
        score = self.score
        for edit in edits:
            lags = edited_lags(self.run, lags, edit)
        for edit in edits:
            if edit.apart is not None:
                rows = self.run.rows
                until = np.zeros(len(rows), np.bool_) if edit.until is None else edit.until[rows]
                run = with_overlap(score.run, edit.apart[rows], until)
                lags = replace(
                    lags,
                    edge_ns=edge_lags(score.run, lags, run),
                    follow_ns=follow_lags(lags, run),
                )
                score = Score(run)
        return Outcome(score, lags, score.replay(lags))

    def limit(self, edits: Sequence[Edit], host: float = 1.0) -> str:
        """Return what the median step, or the whole, is limited by after some edits.

        That is what lies on the critical path for longest: the host, latency (of launches, of what
        follows on what, of waits that return), copies, or a category of kernels.
        """
        made = self.outcome(edits, host)
        replayed, ends = made.replayed, self.step_ends
        if ends is None:
            last = int(replayed.work_end_ns.argmax())
            event, begin = Event(Moment.ENDED, last), 0
        else:
            window = self._median_window(replayed, ends)
            call, work = ends.last_event(replayed, window)
            event = Event(Moment.ENDED, work) if call == NONE else Event(Moment.RETURNED, call)
            begin = int(ends.begins_ns(replayed)[window])
        path = Backwards(made.score, made.lags, replayed).path(event, begin)
        spent = self._by_category(path.work_ns)
        spent |= {HOST: path.host_ns, LATENCY: path.latency_ns}
        return max(spent, key=lambda name: spent[name])

    def _median_window(self, replayed: Replayed, ends: StepEnds) -> int:
        """Return the position of the step of median length, in the process where it is longest."""
        times = ends.times_ns(replayed)
        middle = int(np.argsort(times, kind="stable")[(len(times) - 1) // 2])
        rows = np.flatnonzero(ends.steps.number == middle)
        took = ends.ends_ns(replayed)[rows] - ends.begins_ns(replayed)[rows]
        return int(rows[int(took.argmax())])

    def _by_category(self, work_ns: Int64) -> dict[str, int]:
        """Return the time of device work by its category; of copies and sets together."""
        work, done = self.attribution.work, self.run.done
        whole = np.zeros(len(self.attribution.device), np.int64)
        whole[self.run.rows] = work_ns
        labels = sorted(set(work.categories))
        number = np.array([labels.index(label) for label in work.categories], np.int64)
        time = sums(number[work.kind], whole[: len(work)], len(labels))
        result = dict(zip(labels, time.tolist(), strict=True))
        result[COPIES] = int(work_ns[np.isin(done.kind, (COPY, SET))].sum())
        return result

    def host_factor(self, step_ns: float) -> float:
        """Return the factor of the host's time with which the median step takes so long.

        It is the largest: where devices hold the run up a faster host changes nothing. 1 where the
        recorded steps are no longer than that; where even a host that takes no time does not make
        them as short, the factor with which they are as short as a host can make them.
        """
        low, high = 0.0, 1.0
        if not len(self.recorded.step_ns):
            return high
        least = self._step_ns(low)
        goal = max(step_ns, least * (1 + NEAR))
        if self._step_ns(high) <= goal:
            return high
        for _ in range(ROUNDS):
            middle = (low + high) / 2
            found = self._step_ns(middle)
            if abs(found - goal) <= NEAR * goal and found > least * (1 + NEAR / 2):
                return middle
            low, high = (middle, high) if found <= goal else (low, middle)
        return low

    def _step_ns(self, host: float) -> float:
        """Return the median step with the host's time by a factor."""
        return float(np.median(self.predict([], host).step_ns))

    @cached_property
    def unrecorded_host(self) -> float | None:
        """The factor of the host's time in the run without a recorder; None where not known."""
        bare = step_times(self.attribution.report, "unprofiled_step_ns")
        if not len(bare) or self.steps is None:
            return None
        return self.host_factor(float(np.median(bare)))

    def times(self, replayed: Replayed) -> Times:
        """Return what a replay takes."""
        ends, run = self.step_ends, self.run
        steps = np.empty(0, np.int64) if ends is None else ends.times_ns(replayed)
        # Work that is not replayed is as it was recorded.
        device = self.every
        took_ns, end_ns = device.duration_ns.copy(), device.end_ns - run.chain.origin_ns
        took_ns[run.rows] = replayed.work_end_ns - replayed.work_start_ns
        end_ns[run.rows] = replayed.work_end_ns
        return Times(window_of(run, replayed), steps, took_ns, end_ns)


def edge_lags(run: RecordedRun, lags: Lags, changed: RecordedRun) -> Int64:
    """Return ``(E,)`` the lags of a changed run's edges: as recorded; of those it adds the mean.

    What followed sooner in the recording still does.
    """
    count = len(run.done)
    known, wanted = (one.order.edge_to * count + one.order.edge_from for one in (run, changed))
    place = np.searchsorted(known, wanted).clip(max=max(len(known) - 1, 0))
    there = known[place] == wanted if len(known) else np.zeros(len(wanted), np.bool_)
    order, done = changed.order, run.done
    begun = done.start_ns - lags.late_ns
    sooner = begun[order.edge_to] - done.end_ns[order.edge_from]
    result: Int64 = np.minimum(sooner, run.means.edge_ns)
    result[there] = lags.edge_ns[place[there]]
    return result


def follow_lags(lags: Lags, changed: RecordedRun) -> Int64:
    """Return ``(M,)`` after what it then follows on each work starts, no later than it did."""
    done, before = changed.done, changed.order.before
    sooner = done.start_ns - lags.late_ns - ends(done, before)
    result: Int64 = np.where(before != NONE, np.minimum(lags.follow_ns, sooner), lags.follow_ns)
    return result
