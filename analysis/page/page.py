"""Everything on one page: what a report answers without being asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis import attention, kernels, phases
from analysis.advice.advise import advise
from analysis.attribution.launches import Attribution
from analysis.measures.window import Measured
from analysis.page.lines import run_lines, trust_lines
from analysis.page.steps import step_lines
from analysis.recorded import ranges as nvtx
from analysis.show.errors import ReportError
from analysis.show.table import Table

if TYPE_CHECKING:
    from analysis.source.report import Report

TOP: Final = 10


@dataclass(frozen=True)
class Page:
    """Lines about the run, then tables.

    Attributes:
        lines: for people.
        tables: the answers, each of another name.
        run: what the launcher noted, all of it.
        advice: findings with a known cure, one line each.
    """

    lines: tuple[str, ...]
    tables: tuple[Table, ...]
    run: dict[str, str]
    advice: tuple[str, ...] = ()

    @property
    def about(self) -> Table:
        """The lines and what the launcher noted, as a table for a database."""
        keys = ["about"] * len(self.lines) + ["advice"] * len(self.advice) + list(self.run)
        return Table("run", {"key": keys, "value": [*self.lines, *self.advice, *self.run.values()]})


def page(report: Report, top: int = TOP, *, exclude_warmup: bool = True) -> Page:
    """Return the page: the run, how far to trust it, phases, categories, work, attention, advice.

    Args:
        report: what was recorded.
        top: how many kernels or operators are listed, of those that took most.
        exclude_warmup: leave warm-up out of all of it; the lines say how much that was.

    Raises:
        ReportError: the report holds neither work nor ranges.
    """
    lines = [report.describe(), *run_lines(report)]
    try:
        found = Attribution.of(report, warmup_counts=not exclude_warmup)
    except ReportError:
        ranges = nvtx.load(report)
        if not len(ranges):
            raise
        lines.append("no GPU kernels and no CPU operators in this report: only its ranges")
        none = kernels.Work([], [], *np.empty((2, 0), np.int64))
        only = Attribution(report, none, ranges, warmup_counts=not exclude_warmup)
        lines += step_lines(report, only)
        return Page(tuple(lines), (range_times(ranges),), report.run)
    measured = Measured(report, found)
    lines += trust_lines(report, measured)
    kept = ~found.work_in_warmup if len(found.warmup) else np.ones(len(found.work.kind), np.bool_)
    work = found.work.take(kept)
    answers = [phases.overview(found)]
    if len(work.kind):
        what = "CPU operators, by self time" if work.on_cpu else "kernels"
        by_category = kernels.rank(report, work, by="category")
        by_name = kernels.rank(report, work)
        rest = f" (of {len(by_name)})" if len(by_name) > top else ""
        answers += [
            replace(by_category, name="categories", heading=f"Categories of {what}", notes=()),
            replace(
                by_name.head(top),
                name="top_kernels",  # not all that `analysis.kernels` adds as `kernels`
                heading=f"Top {what}{rest}",
                notes=of_everything(found, by_name.notes),
            ),
        ]
    answers.append(attention.attention_parts(found))
    told = tuple(answer for answer in answers if answer is not None)
    return Page(tuple(lines), told, report.run, tuple(advise(measured)))


def of_everything(found: Attribution, notes: tuple[str, ...]) -> tuple[str, ...]:
    """Return notes on all work that was read, which say so where the page leaves warm-up out."""
    if not len(found.warmup):
        return notes
    return tuple(f"of the whole report, warm-up included: {note}" for note in notes)


def range_times(ranges: nvtx.Ranges) -> Table:
    """Return ranges by the time they were open, for a report with nothing else."""
    count = len(ranges.names)
    instances = np.bincount(ranges.name, minlength=count).astype(np.int64)
    wall = np.zeros(count, np.int64)
    np.add.at(wall, ranges.name, ranges.wall_ns)
    order = np.argsort(-wall, kind="stable")
    table = Table(
        name="ranges",
        columns={"range": list(ranges.names), "instances": instances, "wall_ns": wall},
        heading="Ranges, by the time they were open on the host",
    )
    return table.take(order[instances[order] > 0]).head(TOP * 2)
