"""Everything on one page: what a report answers without being asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Unpack

import numpy as np

from analysis import attention, kernels, phases
from analysis.advice.advise import advise
from analysis.attribution.launches import Attribution
from analysis.attribution.selection import Options, Selected, Selection
from analysis.measures.window import Measured
from analysis.page.lines import run_lines, trust_lines
from analysis.page.steps import step_lines
from analysis.recorded.work import has_work
from analysis.show.table import Table

if TYPE_CHECKING:
    from analysis.recorded.ranges import Ranges
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


def page(report: Report, top: int = TOP, **selected: Unpack[Options]) -> Page:
    """Return the page: the run, how far to trust it, phases, categories, work, attention, advice.

    Args:
        report: what was recorded.
        top: how many kernels or operators are listed, of those that took most.
        selected: what counts of all of it: see `analysis.attribution.selection.Options`.

    Raises:
        ReportError: the report holds neither work nor ranges, or not what is asked for.
    """
    lines = [report.describe(), *run_lines(report)]
    chosen = Selected.of_any(report, Selection(**selected))
    found = chosen.found
    if not len(found.work) and not has_work(report):
        if not len(found.ranges):
            Attribution.of(report)  # which says that there is nothing
        lines.append("no GPU kernels and no CPU operators in this report: only its ranges")
        lines += step_lines(chosen)
        return Page(tuple(lines), (range_times(found.ranges),), report.run)
    measured = Measured(chosen)
    lines += trust_lines(measured)
    work = chosen.counted
    answers = [phases.overview(chosen)]
    if len(work):
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
                notes=of_everything(chosen, by_name.notes),
            ),
        ]
    answers.append(attention.attention_parts(chosen))
    told = tuple(answer for answer in answers if answer is not None)
    return Page(tuple(lines), told, report.run, tuple(advise(measured)))


def of_everything(chosen: Selected, notes: tuple[str, ...]) -> tuple[str, ...]:
    """Return notes on all work that was read, which say so where the page leaves warm-up out."""
    if not chosen.leaves_warmup_out:
        return notes
    return tuple(f"of the whole report, warm-up included: {note}" for note in notes)


def range_times(ranges: Ranges) -> Table:
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
