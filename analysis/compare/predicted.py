"""What was predicted of a change, held against what came of it: how far apart, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.compare.checks import LIKE, share_or_times
from analysis.measures.kept_predictions.parts import RANGE, PartName, Ran, work_of_ranges
from analysis.measures.kept_predictions.record import RUN, STEP, UNRECORDED
from analysis.measures.predictions.predicting import predictions
from analysis.measures.step_times import step_times
from analysis.show.render import duration, plural
from analysis.show.sheet import visible

if TYPE_CHECKING:
    from analysis.arithmetic.arrays import Float64, Int64
    from analysis.measures.kept_predictions.record import Prediction
    from analysis.source.report import Report

MOST: Final = 8
"""How many parts are told one by one."""

LEAST_SAVING: Final = 0.001
"""The share of a step or run below which a predicted saving is none to measure a difference by."""

SAID: Final = {STEP: "a step", RUN: "the run", UNRECORDED: "a step without a recorder"}


@dataclass(frozen=True)
class Came:
    """A time that was predicted, and the one that came.

    Attributes:
        before_ns: what it was before the change.
        predicted_ns: what it was to be after it.
        came_ns: what it is.
    """

    before_ns: int
    predicted_ns: int
    came_ns: int

    @property
    def difference_ns(self) -> int:
        """By how much longer it is than predicted; negative if shorter."""
        return self.came_ns - self.predicted_ns

    @property
    def moved_ns(self) -> int:
        """By how much it was predicted to change, or came otherwise, whichever is more."""
        return max(abs(self.difference_ns), abs(self.predicted_ns - self.before_ns))

    @property
    def share(self) -> float | None:
        """The difference as a share of the predicted saving; None where none was predicted."""
        saved = self.before_ns - self.predicted_ns
        return self.difference_ns / saved if saved > LEAST_SAVING * self.before_ns else None

    @property
    def record(self) -> dict[str, int]:
        """The times as JSON has them."""
        return {
            "before_ns": self.before_ns,
            "predicted_ns": self.predicted_ns,
            "came_ns": self.came_ns,
            "difference_ns": self.difference_ns,
        }

    def __str__(self) -> str:
        """Return all of it in words."""
        times = f"{duration(self.before_ns)} -> {duration(self.predicted_ns)}"
        return f"{times}, came {duration(self.came_ns)}: {self.apart}"

    @property
    def apart(self) -> str:
        """The difference in words."""
        if not self.difference_ns:
            return "as predicted"
        how = "longer" if self.difference_ns > 0 else "shorter"
        return f"{duration(abs(self.difference_ns))} {how}"


@dataclass(frozen=True)
class Outcome:
    """What came of a prediction.

    Attributes:
        change: what was changed, in one line.
        of: `STEP`, the median one, or `RUN`.
        time: of that.
        parts: of its parts.
        steps_ns: ``(S,)`` the steps that came; empty where it is of the run.
        unrecorded: the median step without a recorder, where both runs know it.
    """

    change: str
    of: str
    time: Came
    parts: dict[PartName, Came]
    steps_ns: Int64
    unrecorded: Came | None

    @property
    def furthest(self) -> list[tuple[PartName, Came]]:
        """The parts, those furthest from what was predicted first."""
        return sorted(self.parts.items(), key=lambda part: -abs(part[1].difference_ns))

    @property
    def lines(self) -> list[str]:
        """The outcome in lines: the step or the run first, then parts that differ or changed."""
        enough = LIKE * self.time.predicted_ns
        told = [each for each in self.furthest if each[1].moved_ns > enough][:MOST]
        rest = [came for part, came in self.furthest if (part, came) not in told]
        said = {shown(part): str(came) for part, came in told}
        width = max(map(len, said), default=0)
        lines = [f"prediction: {visible(self.change)}: {self.headline(self.of, self.time)}"]
        lines[0] += self.spread
        lines += [f"  {name:{width}}  {times}" for name, times in said.items()]
        if rest:
            most = duration(max(abs(came.difference_ns) for came in rest))
            parts = plural(len(rest), "more part" if told else "part")
            lines.append(f"  {parts}, none further than {most} from what was predicted")
        if self.unrecorded is not None:
            lines.append(f"  {self.headline(UNRECORDED, self.unrecorded)}")
        return lines

    @staticmethod
    def headline(of: str, time: Came) -> str:
        """Return in words how a step or a run differs from what was predicted."""
        line = f"{SAID[of]} {time}"
        if not time.difference_ns:
            return line
        if time.share is None:
            return f"{line}, no saving was predicted"
        return f"{line}, {share_or_times(abs(time.share))} the predicted saving"

    @property
    def spread(self) -> str:
        """A remark where single steps differ from the median by more than the prediction does."""
        if len(self.steps_ns) < 2:
            return ""
        low, high = int(self.steps_ns.min()), int(self.steps_ns.max())
        if not low <= self.time.predicted_ns <= high:
            return ""
        return f"; its steps take from {duration(low)} to {duration(high)}"

    @property
    def record(self) -> dict[str, Any]:
        """The outcome as JSON has it, the parts furthest from what was predicted first."""
        parts = [{**part._asdict(), **came.record} for part, came in self.furthest]
        bare = self.unrecorded
        return {
            "change": self.change,
            "of": self.of,
            **self.time.record,
            "share": self.time.share,
            "parts": parts,
            "unrecorded": None if bare is None else {**bare.record, "share": bare.share},
        }


def shown(part: PartName) -> str:
    """Return what a part is called in a line: ranges say so, for categories are called alike."""
    return visible(f"range {part.name}" if part.kind == RANGE else part.name)


def outcome(prediction: Prediction, after: Report) -> Outcome:
    """Return what came of a prediction: per step where both runs have steps, else of the runs.

    Args:
        prediction: of the report before.
        after: the report of the changed run.

    Raises:
        ReportError: ``after`` holds neither kernels nor operators.
    """
    known = predictions(after)
    times_ns = None if known.steps is None else prediction.times_ns(STEP)
    of = RUN if times_ns is None else STEP
    times_ns = times_ns or prediction.run_ns
    ran = Ran.of(known.attribution, known.steps if of == STEP else None, known.recorded)
    was = {
        PartName(part.kind, part.name): (part.before_ns, part.after_ns)
        for part in prediction.parts
        if part.of == of
    }
    named = [part.name for part in was if part.kind == RANGE]
    took = ran.parts(work_of_ranges(ran.attribution, named))
    parts = {
        part: Came(*was.get(part, (0, 0)), took.get(part, 0))
        for part in dict.fromkeys([*was, *took])
    }
    nothing = np.empty(0, np.int64)
    return Outcome(
        change=prediction.changes[0],
        of=of,
        time=Came(*times_ns, ran.window_ns),
        parts=parts,
        steps_ns=ran.wall_ns if of == STEP else nothing,
        unrecorded=unrecorded(prediction, step_times(after, "unprofiled_step_ns")),
    )


def unrecorded(prediction: Prediction, bare_ns: Float64) -> Came | None:
    """Return what came of the step without a recorder, of which some times are known, or none."""
    predicted = prediction.times_ns(UNRECORDED)
    if predicted is None or not len(bare_ns):
        return None
    return Came(*predicted, round(float(np.median(bare_ns))))
