"""What a run of several ranks, a report each, would take after a change: all are replayed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from analysis.arithmetic.arrays import Bools, Float64
from analysis.attribution.launches import Attribution
from analysis.attribution.selected import Selected
from analysis.attribution.selection import EXCLUDE_NOTHING, Selection
from analysis.attribution.steps import Steps, steps_of_report
from analysis.measures.alignment import (
    ClockAlignment,
    align_clocks,
    assumed_ranks,
    check_ranks,
    check_times,
    clock_lines,
)
from analysis.measures.collectives import collectives_by_device
from analysis.measures.predictions.device_predictions import DevicePredictions
from analysis.measures.predictions.edit import Edit, Stretches
from analysis.measures.predictions.edits import collectives, edits
from analysis.measures.predictions.step_bounds import step_bounds
from analysis.measures.replay.joined import APART, THREADS_APART, joined
from analysis.measures.replay.recorded_run import recorded_run
from analysis.show.errors import ReportError
from analysis.source import report_metadata

if TYPE_CHECKING:
    from analysis.measures.collectives import DeviceCollectives
    from analysis.measures.predictions.change import Change
    from analysis.measures.predictions.times import Blind, Times
    from analysis.source.report import Report

Column = TypeVar("Column", Bools, Float64)


@dataclass(frozen=True)
class RankPredictions:
    """Predictions for a run of several ranks on GPUs.

    Attributes:
        ranks: each by itself.
        together: all as one run.
        clocks: how their clocks were brought together.
    """

    ranks: tuple[DevicePredictions, ...]
    together: DevicePredictions
    clocks: ClockAlignment
    on_cpu = False
    unrecorded_host = None

    @classmethod
    def of(cls, reports: Sequence[Report]) -> RankPredictions:
        """Return what predicts the run of several reports, a rank each.

        Raises:
            ReportError: a report is of a CPU run.
        """
        check_ranks(reports)
        attributions = [Attribution.of(report) for report in reports]
        for attribution in attributions:
            if attribution.work.on_cpu:
                problem = "a CPU run: its ranks cannot be replayed together"
                raise ReportError(attribution.report.path, problem, "ask for each report alone")
        places = [places_of(attribution) for attribution in attributions]
        check_times(reports, [[place] for place in places])
        clocks = align_clocks(places, [report_metadata.started_ns(each) for each in reports])
        steps = [steps_of_report(attribution) for attribution in attributions]
        runs = [
            recorded_run(
                attribution.device,
                np.zeros(len(attribution.device), np.bool_),
                step_bounds(attribution, known),
            )
            for attribution, known in zip(attributions, steps, strict=True)
        ]
        shift = clocks.offset_ns.tolist()
        run = joined(runs, shift, [collectives(attribution) for attribution in attributions])
        ranks = tuple(
            DevicePredictions(attribution, known, alone, attribution.device)
            for attribution, known, alone in zip(attributions, steps, runs, strict=True)
        )
        whole = DevicePredictions(attributions[0], joined_steps(steps, shift), run, run.done)
        return cls(ranks, whole, clocks)

    @property
    def lines(self) -> tuple[str, ...]:
        """How the clocks were brought together, and what is taken for granted of the ranks."""
        reports = [rank.attribution.report for rank in self.ranks]
        return (*clock_lines(reports, self.clocks), *assumed_ranks(reports))

    @property
    def attribution(self) -> Attribution:
        """All work of the first rank beside its ranges."""
        return self.ranks[0].attribution

    @property
    def steps(self) -> Steps | None:
        """The steps of all ranks."""
        return self.together.steps

    @cached_property
    def distrust(self) -> str | None:
        """Why a replay cannot be trusted, of the first rank of which it cannot; or None."""
        for rank in self.ranks:
            if reason := rank.distrust:
                return f"{rank.attribution.report.path.name}: {reason}"
        return None

    @property
    def blind(self) -> Blind:
        """The blind replay of all ranks, beside what was recorded."""
        return self.together.blind

    @property
    def recorded(self) -> Times:
        """What was recorded."""
        return self.together.recorded

    def edits(self, change: Change) -> list[Edit]:
        """Return what a change comes to, of all ranks together.

        Raises:
            ReportError: there is nothing of a name in one of them.
        """
        listed = [edits(rank.attribution, change) for rank in self.ranks]
        shift = self.clocks.offset_ns.tolist()
        return [joined_edit(each, shift) for each in zip(*listed, strict=True)]

    def predict(self, changed: Sequence[Edit], host: float = 1.0) -> Times:
        """Return what the run takes after some edits, all of them together."""
        return self.together.predict(changed, host)

    def limit(self, changed: Sequence[Edit], host: float = 1.0) -> str:
        """Return what the median step, or the whole, is limited by after some edits."""
        return self.together.limit(changed, host)


def places_of(attribution: Attribution) -> DeviceCollectives:
    """Return the collectives of a report's first device that has any."""
    chosen = Selected(attribution, Selection(exclude=(EXCLUDE_NOTHING,)))
    every = collectives_by_device(chosen).places
    return next((place for place in every if len(place.kind)), every[0])


def joined_steps(steps: Sequence[Steps | None], shift_ns: Sequence[int]) -> Steps | None:
    """Return the steps of several ranks, those of one number taken as one; None without any."""
    known = [each for each in steps if each is not None]
    if len(known) < len(steps):
        return None
    pairs = list(zip(known, shift_ns, strict=True))
    return Steps(
        process=np.concatenate([each.process + rank * APART for rank, each in enumerate(known)]),
        start_ns=np.concatenate([each.start_ns + shift for each, shift in pairs]),
        end_ns=np.concatenate([each.end_ns + shift for each, shift in pairs]),
        number=np.concatenate([each.number for each in known]),
        notes=tuple(dict.fromkeys(note for each in known for note in each.notes)),
    )


def joined_edit(parts: Sequence[Edit], shift_ns: Sequence[int]) -> Edit:
    """Return the edits of several ranks for one change as one edit of the run of all."""
    stretches = [each.stretches for each in parts]
    return Edit(
        work=one_after_another([each.work for each in parts]),
        gone=one_after_another([each.gone for each in parts]),
        stretches=joined_stretches([each for each in stretches if each is not None], shift_ns),
        by=parts[0].by,
        calls=one_after_another([each.calls for each in parts]),
        unwaited=one_after_another([each.unwaited for each in parts]),
        unqueued=one_after_another([each.unqueued for each in parts]),
        unheld=one_after_another([each.unheld for each in parts]),
        host=parts[0].host,
        apart=one_after_another([each.apart for each in parts]),
        until=one_after_another([each.until for each in parts]),
    )


def one_after_another(columns: Sequence[Column | None]) -> Column | None:
    """Return arrays as one; None where there are none."""
    known = [column for column in columns if column is not None]
    return np.concatenate(known) if known else None


def joined_stretches(stretches: Sequence[Stretches], shift_ns: Sequence[int]) -> Stretches | None:
    """Return stretches of the time of several ranks' threads, on one clock; None without any."""
    if not stretches:
        return None
    pairs = list(zip(stretches, shift_ns, strict=True))
    return Stretches(
        np.concatenate([each.thread + rank * THREADS_APART for rank, each in enumerate(stretches)]),
        np.concatenate([each.start_ns + shift for each, shift in pairs]),
        np.concatenate([each.end_ns + shift for each, shift in pairs]),
    )
