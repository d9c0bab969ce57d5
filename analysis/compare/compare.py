"""The comparison of two reports: what got faster, what slower, what is new and what is gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Unpack

from analysis.arithmetic.noise import FEWEST
from analysis.attribution.selection import Options, Selection
from analysis.compare.checks import (
    SIDES,
    ReportPair,
    SharedWork,
    check_comparable,
    differing_shapes,
    shared_work,
    work_line,
)
from analysis.compare.predicted import Outcome, outcome
from analysis.compare.rows import order, rows
from analysis.compare.show import HIDDEN, TOTALS, heading, idle_line, only_kind, total_line
from analysis.compare.sides import Side, side
from analysis.compare.verdict import Verdict, lone_totals, verdict
from analysis.show.table import Table

if TYPE_CHECKING:
    from analysis.measures.kept_predictions.record import Prediction
    from analysis.source.report import Report


def compare(
    before: Report,
    after: Report,
    *,
    force: bool = False,
    sort: str = "delta",
    **selected: Unpack[Options],
) -> Table:
    """Return one row for every name of either report, by kind.

    Args:
        before: the report that the other is measured by.
        after: the other.
        force: compare runs on other GPUs, or of another mode, all the same.
        sort: within a kind, one of `analysis.compare.rows.SORTS`.
        selected: what counts of both: see `analysis.attribution.selection.Options`.

    Returns:
        ``kind, name, before_ns, after_ns, delta_ns, ratio, calls_before, calls_after, status,
        call_ratio, p, ratio_low, ratio_high, total_before_ns, total_after_ns, self_before_ns,
        self_after_ns, recorded_before, recorded_after``. The first times and calls are means per
        step, times to the nanosecond; the ``total`` ones are of all steps together. The interval
        and ``p`` are of the name by itself. What is not known is NaN: a ratio to nothing, noise
        with one step.

    Raises:
        ReportError: one of them cannot answer, or they cannot be compared.
    """
    return comparison(before, after, Selection(**selected), force=force, sort=sort).table


class Comparison(NamedTuple):
    """A comparison as a table, and the figures that a gate needs besides.

    Attributes:
        table: the answer.
        verdict: what it found.
        work: how the work differs where there are no steps.
        outcome: what came of a prediction, where one is given.
        queued_ns: before and after, the mean time a step that the GPUs would have been busy, had no
            two kernels of one stream run at the same time.
    """

    table: Table
    verdict: Verdict
    work: SharedWork | None
    outcome: Outcome | None
    queued_ns: tuple[float, float]


def comparison(
    before: Report,
    after: Report,
    asked: Selection,
    *,
    force: bool = False,
    gated: bool = False,
    sort: str = "delta",
    prediction: Prediction | None = None,
) -> Comparison:
    """Return the comparison of two reports with what a gate needs besides.

    Args:
        before: the report that the other is measured by.
        after: the other.
        asked: what counts of both.
        force: compare runs on other GPUs, or of another mode, all the same.
        gated: refuse what no gate can judge.
        sort: within a kind, one of `analysis.compare.rows.SORTS`.
        prediction: of the report before, for the whole of it, to hold against the other.

    Raises:
        ReportError: one of them cannot answer, or they cannot be compared.
    """
    reports = before, after
    sides = [side(report, asked) for report in reports]
    stepped = [each.has_steps for each in sides]
    notes: list[str] = []
    if stepped[0] != stepped[1]:
        place = stepped.index(True)
        sides[place] = side(reports[place], asked, whole=True)
        notes.append(f"no step ranges {SIDES[1 - place]}: whole reports are compared")
    both = ReportPair(reports, (sides[0], sides[1]))
    notes += check_comparable(both, force=force, gated=gated)
    shapes = differing_shapes(both)
    for word, each in zip(SIDES, sides, strict=True):
        notes += [f"{word}: {note}" for note in each.notes]
    notes += unjudged_lines(sides)
    columns = rows(*sides)
    table = Table("compare", columns, notes=tuple(notes), hidden=HIDDEN)
    table = table.take(order(columns, sort))
    totals = sorted(
        only_kind(table, "total").rows(), key=lambda row: TOTALS.index(str(row["name"]))
    )
    work = shared_work(*sides)
    steps = [each.contents.count if each.has_steps else 0 for each in sides]
    found = verdict({str(row["name"]): row for row in totals}, shapes, work, steps)
    came = None if prediction is None else outcome(prediction, after)
    lines = [
        str(found),
        *([] if came is None else came.lines),
        *heading(reports, sides, excluded=not all(each.warmup_counts for each in sides)),
    ]
    lines += [*map(total_line, totals), *idle_line(sides), *work_line(work, shapes)]
    counted = [
        f"{word}: {line}" for word, each in zip(SIDES, sides, strict=True) for line in each.counted
    ]
    table = replace(
        table,
        heading="\n".join(lines),
        counted=tuple(counted),
        notes=(*table.notes, *lone_totals(table)),
        whole={"verdict": found.word, "reason": found.reason},
    )
    queued = [float(each.contents.queued_ns.mean()) for each in sides]
    return Comparison(table, found, work, came, (queued[0], queued[1]))


def unjudged_lines(sides: Sequence[Side]) -> list[str]:
    """Return a line where a comparison has too few steps to tell change from noise."""
    if not sides[0].has_steps:
        return ["noise cannot be judged without steps; put a range called step around each"]
    few = [word for word, each in zip(SIDES, sides, strict=True) if each.contents.count < FEWEST]
    if not few:
        return []
    return [f"noise cannot be judged with one step {' and '.join(few)}; record STEPS=3 or more"]
