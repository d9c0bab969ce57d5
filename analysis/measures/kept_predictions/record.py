"""A prediction in JSON: `analysis.whatif` writes it, `analysis.compare` reads it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import numpy as np

from analysis.attribution.launches import Attribution
from analysis.attribution.steps import steps_of_report
from analysis.measures.kept_predictions.parts import Ran, changed_ranges, middle, work_of_ranges
from analysis.measures.predictions.change import Change
from analysis.show.called import called
from analysis.show.errors import ReportError
from analysis.show.render import duration, plural
from analysis.source.json_files import checked, read_json

if TYPE_CHECKING:
    from analysis.measures.predictions.predicting import Predictions
    from analysis.measures.predictions.times import Times
    from analysis.source.report import Report

Whole = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]

STEP, RUN, UNRECORDED = "step", "run", "unrecorded"
"""What a time is of: the median step; the run as one, from the first launch to the last end; the
median step of the run as it is without a recorder."""

NO_CHANGE: Final = Change().label


@dataclass(frozen=True)
class Recording:
    """What a report is known by, wherever it lies and whatever its file is called.

    Attributes:
        name: of its file.
        source: what its work is, ``kernel`` or ``operator``.
        work: how many pieces of it there are.
        ran_ns: the time from the first start of work to the last end.
        steps: how many count.
    """

    name: str
    source: str
    work: Whole
    ran_ns: Whole
    steps: Whole

    @classmethod
    def of(cls, report: Report) -> Recording:
        """Return what a report is known by.

        Raises:
            ReportError: it holds neither kernels nor operators.
        """
        attribution = Attribution.of(report)
        start_ns, end_ns = attribution.ran
        steps = steps_of_report(attribution)
        return cls(
            name=report.path.name,
            source=attribution.work.source,
            work=len(start_ns),
            ran_ns=int(end_ns.max() - start_ns.min()) if len(start_ns) else 0,
            steps=0 if steps is None else steps.count,
        )

    @property
    def figures(self) -> tuple[str, int, int, int]:
        """All but the name: two reports with the same are of one recording."""
        return self.source, self.work, self.ran_ns, self.steps

    def __str__(self) -> str:
        """Return the name, and in brackets the figures."""
        work, steps = plural(self.work, self.source), plural(self.steps, "step")
        return f"{self.name} ({work} in {duration(self.ran_ns)}, {steps})"


@dataclass(frozen=True)
class PredictedPart:
    """What is predicted of one part of a step or a run.

    Attributes:
        of: `STEP` or `RUN`.
        kind: see `PartName`.
        name: likewise.
        before_ns: as recorded.
        after_ns: as predicted.
    """

    of: str
    kind: str
    name: str
    before_ns: Whole
    after_ns: Whole


@dataclass(frozen=True)
class PredictedRow:
    """What is predicted of a step or a run: one of the rows that `analysis.whatif` answers with.

    Attributes:
        change: the change, in one line.
        before_ns: as recorded.
        after_ns: as predicted.
        step: its number, `UNRECORDED`, or empty for the run as one.
    """

    change: str
    before_ns: Whole
    after_ns: Whole
    step: str

    @property
    def of(self) -> str:
        """One of `STEP`, `RUN` and `UNRECORDED`."""
        return {"": RUN, UNRECORDED: UNRECORDED}.get(self.step, STEP)


@dataclass(frozen=True)
class Prediction:
    """What a change of a report was predicted to come to.

    Attributes:
        report: which report.
        parts: what the parts of a step, where it has steps, and of the run were to take.
        rows: what the steps and the run were to take, first without a change.
    """

    report: Recording
    parts: list[PredictedPart]
    rows: list[PredictedRow]

    @property
    def changes(self) -> list[str]:
        """The changes that are predicted, each in one line."""
        return [
            each for each in dict.fromkeys(row.change for row in self.rows) if each != NO_CHANGE
        ]

    def times_ns(self, of: str) -> tuple[int, int] | None:
        """Return the time before and after, the median where it is of steps; None if unknown."""
        rows = [row for row in self.rows if row.change != NO_CHANGE and row.of == of]
        if not rows:
            return None
        return (
            middle(np.array([row.before_ns for row in rows], np.int64)),
            middle(np.array([row.after_ns for row in rows], np.int64)),
        )

    @property
    def run_ns(self) -> tuple[int, int]:
        """The times of the run before and after."""
        found = self.times_ns(RUN)
        assert found is not None, "a prediction that was read has a row of the run"
        return found

    def check_report(self, path: str | os.PathLike[str], report: Report) -> None:
        """Refuse a report that the prediction is not of.

        Args:
            path: of the prediction.
            report: the report.

        Raises:
            ReportError: it is another, or holds neither kernels nor operators.
        """
        found = Recording.of(report)
        if found.figures != self.report.figures:
            problem = f"predicts another report, {self.report}, not {found}"
            raise ReportError(path, problem, remedy(os.fspath(report.path)))


def remedy(before: str) -> str:
    """Return where a prediction for a report comes from."""
    options = ("--scale", "NAME=FACTOR", "--format", "json", "--output", "FILE")
    return f"give what `{called('analysis.whatif', before, *options)}` wrote"


def read_prediction(path: str | os.PathLike[str], before: str) -> Prediction:
    """Return the prediction in a file.

    Args:
        path: of the file.
        before: the path of the report that it should be of.

    Raises:
        ReportError: the file cannot be read, or does not hold one prediction.
    """
    content = read_json(path, remedy(before))
    try:
        found = checked(content, Prediction)
    except ValueError as error:
        raise ReportError(path, f"no prediction ({error})", remedy(before)) from None
    if len(found.changes) != 1:
        count = len(found.changes)
        problem = f"predicts {count} changes, not one" if count else "predicts no change"
        raise ReportError(path, problem, remedy(before))
    if found.times_ns(RUN) is None:
        raise ReportError(path, "no prediction (the row of the run is missing)", remedy(before))
    return found


def predicted_parts(known: Predictions, change: Change, after: Times) -> list[PredictedPart]:
    """Return what is predicted of the parts of a step, where there are steps, and of the run.

    Args:
        known: what predicts the run.
        change: what is changed.
        after: what it takes then.

    Raises:
        ReportError: there is nothing of a name.
    """
    attribution = known.attribution
    ranges = work_of_ranges(attribution, changed_ranges(attribution, change))
    windows = [(RUN, None)] if known.steps is None else [(STEP, known.steps), (RUN, None)]
    parts = []
    for of, steps in windows:
        took, takes = (
            Ran.of(attribution, steps, times).parts(ranges) for times in (known.recorded, after)
        )
        parts += [PredictedPart(of, *part, took[part], takes[part]) for part in took]
    return parts


def beside_rows(report: Report, parts: Sequence[PredictedPart]) -> dict[str, Any]:
    """Return what a prediction for a report holds beside its rows, as JSON has it."""
    return {"report": asdict(Recording.of(report)), "parts": [asdict(part) for part in parts]}
