"""What advice would gain: every finding's cure predicted by a replay, alone and with others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.advice.finding import Finding, Gain
from analysis.advice.findings import findings
from analysis.measures.predictions.part import predictions_of_part
from analysis.measures.predictions.predicting import slowed_otherwise
from analysis.show.render import duration, percent

if TYPE_CHECKING:
    from analysis.attribution.selected import Selected
    from analysis.measures.predictions.predicting import Predictions
    from analysis.measures.predictions.times import Times
    from analysis.measures.window import MeasuredWindow

HOST: Final = "host"

LIMITS: Final = {HOST: "the host", "latency": "latencies of launches and waits"}
"""What limits a run, in words, where it is no category of kernels."""

NOTHING: Final = 1e-4

BARE: Final = "without a recorder"
"""Which run gains are of, where the time of its steps is known."""

LITTLE: Final = 0.01
"""Of the time: what gains less is said to gain little, and comes last."""


@dataclass(frozen=True)
class Together:
    """What several cures gain together.

    Attributes:
        numbers: of the advice, from 1.
        gain: together.
    """

    numbers: tuple[int, ...]
    gain: Gain


@dataclass(frozen=True)
class Advice:
    """Findings with a known cure, in the order of what their cures gain.

    Attributes:
        findings: those that gain most first; last those that gain little.
        together: what the first two gain together, what all do, and what those do that gain
            little alone and something with the first.
        of: what gains are of: the median step, the time measured, or the whole run.
        unknown: why gains are not known; "" where they are.
        slowed: whether recording slowed the host, in words; "" where it did not.
        otherwise: that it slowed more than the host, in words; "" where it did not.
        part: a line on which steps were replayed, where that are not all; "" where they are.
    """

    findings: tuple[Finding, ...]
    together: tuple[Together, ...] = ()
    of: str = "the run"
    unknown: str = ""
    slowed: str = ""
    otherwise: str = ""
    part: str = ""

    @property
    def most(self) -> str:
        """The largest single gain in a sentence, "" where none is known, or none is large."""
        gaining = [one for one in self.findings if one.gain and one.gain.share >= LITTLE]
        if not gaining:
            return ""
        gain = gaining[0].gain
        assert gain is not None, "what gains has a gain"
        which = "" if gaining[0].recorded is None else f" {BARE}"
        return f"The largest single gain is advice 1{which}: {change_in_words(gain)}."

    def gain_of(self, finding: Finding) -> str:
        """Return in words what the cure of a finding gains, "" where nothing is to be said."""
        gain = finding.gain
        if gain is None:
            return ""
        bare = finding.recorded is not None
        of_what = f"of {self.of} {BARE}" if bare else f"of {self.of}"
        recorded = ""
        if finding.recorded is not None:
            times = (finding.recorded.before_ns, finding.recorded.after_ns)
            recorded = f" (recorded {' → '.join(map(duration, times))})"
        if gain.share < LITTLE:
            little = "nothing" if gain.saved_ns < NOTHING * gain.before_ns else "under 1 %"
            limit = LIMITS.get(gain.limit_then, gain.limit_then)
            slowed = f", {self.slowed}" if gain.limit_then == HOST and self.slowed else ""
            asked = "" if bare else " as recorded"
            return f"gains {little} {of_what}{asked}: limited by {limit}{slowed}{recorded}"
        return f"gains {percent(gain.share)} {of_what}: {change_in_words(gain)}{recorded}"

    @property
    def rest(self) -> tuple[str, ...]:
        """Lines on what several cures gain together, and on what is not known."""
        lines = [
            f"advice {in_a_row(each.numbers)} together: {change_in_words(each.gain)}"
            for each in self.together
        ]
        if self.unknown:
            lines.append(f"what advice gains is not known: {self.unknown}")
        return (*lines, *(line for line in (self.otherwise, self.part) if line))

    @property
    def lines(self) -> list[str]:
        """The findings with their gains, and the rest, a line each."""
        return [*map(self.line_of, self.findings), *self.rest]

    def line_of(self, finding: Finding) -> str:
        """Return a finding with what its cure gains."""
        gain = self.gain_of(finding)
        return f"{finding.text}; {gain}" if gain else finding.text


def change_in_words(gain: Gain) -> str:
    """Return the times before and after, and what limits then."""
    return (
        f"{duration(gain.before_ns)} → {duration(gain.after_ns)}, then limited by "
        f"{LIMITS.get(gain.limit_then, gain.limit_then)}"
    )


def in_a_row(numbers: Sequence[int]) -> str:
    """Return the numbers of advice as an enumeration.

    >>> in_a_row([1, 2]), in_a_row([1, 2, 4])
    ('1 and 2', '1, 2 and 4')
    """
    *others, last = map(str, numbers)
    return f"{', '.join(others)} and {last}"


@dataclass(frozen=True)
class Predicted:
    """Predictions as advice uses them: of the median step, where there are steps.

    Attributes:
        known: what predicts the run.
        host: the factor of the host's time in the run that is changed.
    """

    known: Predictions
    host: float = 1.0

    def gain(self, found: Sequence[Finding]) -> Gain:
        """Return what the cures of some findings gain together."""
        edits = [edit for finding in found if finding.remedy for edit in finding.remedy.edits]
        before = self._time(self.known.predict([], self.host))
        after = self._time(self.known.predict(edits, self.host))
        return Gain(before, after, self.known.limit(edits, self.host))

    def _time(self, times: Times) -> int:
        if len(times.step_ns):
            return round(float(np.median(times.step_ns)))
        return times.whole_ns


def advise(measured: MeasuredWindow) -> Advice:
    """Return what was found that has a known cure, with what it gains; the largest gain first.

    Where a replay cannot be trusted the order is that of the time that findings are about.
    """
    found = findings(measured)
    if not any(finding.remedy for finding in found):
        return Advice(tuple(found))
    known, steps, of = predictions_of_part(measured)
    if reason := known.distrust:
        return Advice(tuple(found), unknown=reason)
    host = known.unrecorded_host
    bare = host is not None and host != 1.0
    predicted = Predicted(known, host if host is not None else 1.0)
    found = [
        replace(
            finding,
            gain=predicted.gain([finding]),
            recorded=Predicted(known).gain([finding]) if bare else None,
        )
        if finding.remedy
        else finding
        for finding in found
    ]
    found.sort(key=order)
    gaining = [finding for finding in found if finding.gain and finding.gain.share >= LITTLE]
    return Advice(
        tuple(found),
        tuple(in_company(predicted, found, gaining)),
        of=of,
        slowed="" if known.on_cpu else slowed_host(host),
        otherwise=slowed_otherwise(known),
        part="" if steps is None else part_in_words(steps, measured.chosen),
    )


def slowed_host(factor: float | None) -> str:
    """Return in words whether recording slowed the host, by the factor it would have without."""
    if factor is None:
        return "which recording may have slowed"
    return (
        ""
        if factor == 1.0
        else f"which recording slowed: without it takes {factor:.2f} of its time"
    )


def part_in_words(steps: range, chosen: Selected) -> str:
    """Return in words which steps were replayed, "" where all were."""
    count = 0 if chosen.steps is None else chosen.steps.count
    if len(steps) == count:
        return ""
    first, last = steps.start, steps.stop - 1
    which = f"step {first}" if first == last else f"steps {first:,} to {last:,}"
    return f"replayed for this: {which} of {count:,}, around the median one"


def order(finding: Finding) -> tuple[int, float]:
    """Return what findings are ordered by: those that gain, those of no gain, those of little."""
    if finding.gain is None:
        return 1, -(finding.share or 0)
    return (0 if finding.gain.share >= LITTLE else 2), -finding.gain.saved_ns


def in_company(
    predicted: Predicted, found: list[Finding], gaining: list[Finding]
) -> list[Together]:
    """Return what findings gain together: the first two, all, and such as gain only with the first.

    Args:
        predicted: what predicts.
        found: all findings, in order.
        gaining: those of them that gain something alone, in order.
    """
    number = {finding.id: place for place, finding in enumerate(found, 1)}
    every = [one for one in found if one.remedy]
    groups = [gaining[:2]] if len(gaining) > 1 else []
    groups += [every] if len(every) > 2 else []
    result = [
        Together(tuple(number[one.id] for one in group), predicted.gain(group)) for group in groups
    ]
    for finding in found:
        if gaining and finding.gain and finding.gain.share < LITTLE:
            both = predicted.gain([gaining[0], finding])
            first = gaining[0].gain
            if first and first.after_ns - both.after_ns >= LITTLE * both.before_ns:
                result.append(Together((number[gaining[0].id], number[finding.id]), both))
    return result
