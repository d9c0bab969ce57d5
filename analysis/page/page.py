"""Everything on one page: what a report answers without being asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Unpack

import numpy as np

from analysis import attention, kernels, phases
from analysis.advice.advise import Advice, advise
from analysis.arithmetic.arrays import Float64
from analysis.arithmetic.statistics import sums
from analysis.attribution.launches import Attribution
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Options, Selection
from analysis.attribution.steps import warmup_steps
from analysis.budget import BUDGET, budget_columns, of_median_step, what_steps
from analysis.costs.device_peaks import DevicePeaks
from analysis.gaps import longest_lines
from analysis.measures.gpu_time_split import gpu_time_splits, splits_outside_window
from analysis.measures.idle import idle_gaps
from analysis.measures.mfu import mfu
from analysis.measures.step_budget import step_budgets
from analysis.measures.step_times import FEWEST, TRIMMED, slowdown, step_times
from analysis.measures.window import MeasuredWindow
from analysis.page.verdict import ONLY_RANGES, only_copies, recorded_steps, verdict
from analysis.recorded.work import has_work
from analysis.show.render import duration, percent, plural
from analysis.show.table import Table

if TYPE_CHECKING:
    from analysis.measures.gpu_time_split import GpuTimeSplit
    from analysis.measures.step_budget import StepBudgets
    from analysis.recorded.ranges import Ranges
    from analysis.source.report import Report

TOP: Final = 10


MOST_DIGITS: Final = 18

RUN_KEYS: Final = (
    ("workload", "model", "base_model", "teacher_model", "projector", "max_new_tokens"),
    ("size", "num_layers", "d_model", "d_ff", "num_heads", "vocab_size", "parameters"),
    ("mode", "batch", "context", "dtype", "attention", "steps", "warmup", "script"),
    ("recorder", "torch", "nvtx", "nsys", "cuda", "driver", "commit", "date"),
    ("missing",),
)
"""What the page tells of a run, by line."""

COUNTS: Final = ("steps", "warmup")
"""What a trimmed report need not hold as many of as the run had."""

WORTH_A_LINE: Final = 0.01
"""Of a GPU's time: what lies outside the measured window is told from here on."""


@dataclass(frozen=True)
class Page:
    """The page about a report: lines about the run, tables, and advice.

    Attributes:
        verdict: how long a step takes, and what most of it went to.
        advice: findings with a known cure and their gain; None where nothing was looked for.
        lines: on the run, and how far to trust the rest; for people.
        tables: the answers, each of another name.
        run: what the launcher noted, all of it.
        window_ns: from when until when the budget is; None where there is none.
    """

    verdict: str
    advice: Advice | None
    lines: tuple[str, ...]
    tables: tuple[Table, ...]
    run: dict[str, str]
    window_ns: tuple[int, int] | None = None

    @property
    def about(self) -> Table:
        """The lines, verdict, advice and what the launcher noted, as a table for a database."""
        said = [
            *(("about", line) for line in self.lines),
            ("verdict", self.verdict),
            *(("advice", line) for line in (self.advice.lines if self.advice else ())),
            *self.run.items(),
        ]
        keys, values = (list(column) for column in zip(*said, strict=True))
        return Table("run", {"key": keys, "value": values})


def page(report: Report, top: int = TOP, **selected: Unpack[Options]) -> Page:
    """Return the page: verdict, advice, the run, how far to trust it, phases, work, attention.

    Args:
        report: what was recorded.
        top: how many kernels or operators are listed, of those that took most.
        selected: what counts of all of it: see `analysis.attribution.selection.Options`.

    Raises:
        ReportError: the report holds neither work nor ranges, or not what is asked for.
    """
    lines = [report.describe(), *run_lines(report)]
    chosen = Selected.of_any(report, Selection(**selected))
    attribution = chosen.attribution
    if not len(attribution.work) and not has_work(report):
        return page_without_work(report, chosen, lines)
    measured = MeasuredWindow(chosen)
    lines += trust_lines(measured)
    work = chosen.counted_work
    by_phase = phases.overview(chosen)
    by_category = kernels.rank(report, work, by="category")
    budgets = step_budgets(measured)
    answers = [budget_table(budgets) if len(budgets) else None, by_phase]
    if len(work):
        what = "CPU operators, by self time" if work.on_cpu else "kernels"
        by_name = kernels.rank(report, work)
        rest = f" (of {len(by_name)})" if len(by_name) > top else ""
        answers += [
            replace(by_category, name="categories", heading=f"Categories of {what}", notes=()),
            replace(
                by_name.head(top),
                name="top_kernels",  # not all that `analysis.kernels` adds as `kernels`
                heading=f"Top {what}{rest}",
                notes=marked_as_of_everything(chosen, by_name.notes),
            ),
        ]
    answers.append(attention.attention_parts(chosen))
    text = tuple(answer for answer in answers if answer is not None)
    advice = advise(measured) if len(work) else Advice(())
    said = verdict(measured, by_phase, by_category, budgets)
    if most := advice.most:
        said = f"{said} {most}"
    window_ns = budgets.window_of_median_step()
    return Page(said, advice, tuple(lines), text, report.run, window_ns)


def page_without_work(report: Report, chosen: Selected, lines: list[str]) -> Page:
    """Return the page about a report of ranges, or of copies and sets, without anything to rank.

    Args:
        report: what was recorded.
        chosen: the part that counts.
        lines: on the run.

    Raises:
        ReportError: it holds none of these.
    """
    ranges = chosen.attribution.ranges
    moved = idle_gaps(report).places
    if not len(ranges) and not moved:
        Attribution.of(report)  # which says that there is nothing
    lines = [*lines, *chosen.heading_lines, *step_lines(chosen)]
    tables = [open_ranges(ranges.take(chosen.ranges))] if len(ranges) else []
    if not moved:
        return Page(ONLY_RANGES, None, tuple(lines), tuple(tables), report.run)
    measured = MeasuredWindow(Selected.of_devices(report, chosen.selection))
    budgets = step_budgets(measured)
    if len(budgets):
        tables.insert(0, budget_table(budgets))
    lines += time_lines(measured)
    said, window_ns = only_copies(measured), budgets.window_of_median_step()
    return Page(said, None, tuple(lines), tuple(tables), report.run, window_ns)


def budget_table(found: StepBudgets) -> Table:
    """Return the budget of the median step."""
    heading = f"Budget of {what_steps(found)}: where the wall time went"
    return of_median_step(Table(BUDGET, budget_columns(found), heading=heading))


def marked_as_of_everything(chosen: Selected, notes: tuple[str, ...]) -> tuple[str, ...]:
    """Return notes on all work that was read, marked as such where warm-up is left out."""
    if not chosen.leaves_warmup_out:
        return notes
    return tuple(f"of the whole report, warm-up included: {note}" for note in notes)


def open_ranges(ranges: Ranges) -> Table:
    """Return a table of ranges by the time they were open, for a report with nothing else."""
    count = len(ranges.names)
    instances = np.bincount(ranges.name, minlength=count).astype(np.int64)
    wall = sums(ranges.name, ranges.wall_ns, count)
    order = np.argsort(-wall, kind="stable")
    table = Table(
        name="ranges",
        columns={"range": list(ranges.names), "instances": instances, "wall_ns": wall},
        heading="Ranges, by the time they were open on the host",
    )
    return table.take(order[instances[order] > 0]).head(TOP * 2)


def run_lines(report: Report) -> list[str]:
    """Return lines on the run as the launcher noted it; first, whether the report was trimmed."""
    cut = is_worth_telling(report.run.get(TRIMMED))
    lines = [trimmed_line(report)] if cut else []
    for keys in RUN_KEYS:
        here = [
            key
            for key in keys
            if is_worth_telling(report.run.get(key)) and not (cut and key in COUNTS)
        ]
        lines.append(" · ".join(f"{key} {with_thousands(report.run[key])}" for key in here))
    return [line for line in lines if line]


def trimmed_line(report: Report) -> str:
    """Return a line on what `analysis.trim` kept, and of which report."""
    run = report.run
    source = run.get("trimmed_from") or "a larger report"
    had = ", ".join(
        f"{key} {with_thousands(run[key])}" for key in COUNTS if is_worth_telling(run.get(key))
    )
    return f"trimmed from {source}{f' ({had})' if had else ''}: {run[TRIMMED]}"


def is_worth_telling(value: str | None) -> bool:
    """Return whether a noted value tells anything; empty ones and absurd numbers do not.

    >>> [is_worth_telling(value) for value in ("24", "python train.py", "", None, "9" * 6000)]
    [True, True, False, False, False]
    """
    return (
        value is not None and value != "" and not (value.isdecimal() and len(value) > MOST_DIGITS)
    )


def with_thousands(value: str) -> str:
    """Return a whole number with its thousands apart, anything else as it is.

    >>> with_thousands("128625408"), with_thousands("2.13.0")
    ('128,625,408', '2.13.0')
    """
    return f"{int(value):,}" if value.isdecimal() else value


def trust_lines(measured: MeasuredWindow) -> list[str]:
    """Return lines on how far to trust the page: coverage, cost of recording, spread, warm-up."""
    report, chosen = measured.report, measured.chosen
    attribution, work = measured.attribution, measured.attribution.work
    what = plural(len(work), "CPU operator" if work.on_cpu else "kernel")
    if work.on_cpu:
        what += ", by self time (no GPU kernels in this report)"
    total = int(work.duration_ns.sum())
    lines = [f"ranked: {what}, {duration(total)} in all"]
    if len(attribution.ranges):
        inside = int(work.duration_ns[attribution.placed].sum())
        unknown = int((~attribution.launches.known).sum())
        lines[0] += f"; {percent(inside / max(total, 1))} of it launched inside a range"
        if unknown:
            lines[0] += f", {unknown:,} without a recorded launch"
    if chosen.leaves_warmup_out:
        left_out = int(work.duration_ns[attribution.work_in_warmup].sum())
        lines.append(
            f"warm-up left out below: {plural(warmup_steps(attribution), 'step')}, "
            f"{duration(left_out)}, {percent(left_out / max(total, 1))} of the work"
            f"{chosen.why_warmup}"
        )
    lines += chosen.other_lines
    used = mfu(chosen, DevicePeaks.of(report, work))
    whole = ", of the run it was cut from" if is_worth_telling(report.run.get(TRIMMED)) else ""
    lines += [*step_lines(chosen), *([used.describe() + whole] if used else [])]
    return lines if work.on_cpu else [*lines, *time_lines(measured)]


def time_lines(measured: MeasuredWindow) -> list[str]:
    """Return lines on each GPU's time outside of what the budget is of."""
    splits = gpu_time_splits(measured)
    several = len({split.process for split in splits}) > 1
    names = [gpu_name(split, several=several) for split in splits]
    lines = []
    warm = ", warm-up included" if measured.chosen.leaves_warmup_out else ""
    for name, split, rest in zip(names, splits, splits_outside_window(measured), strict=True):
        if rest.wall_ns > WORTH_A_LINE * (split.wall_ns + rest.wall_ns):
            time = duration(rest.wall_ns)
            lines.append(f"{name}: {time} before and after that{warm}: {rest.describe()}")
    if splits and (excluded := measured.chosen.excluded_names):
        lines.append(f"that is of all work in that time, of {', '.join(excluded)} too")
    lines += measured.lag_notes
    longest = longest_lines(measured.report, measured.idle, measured.gaps)
    return [*lines, *(f"idle {line}" for line in longest)]


def gpu_name(split: GpuTimeSplit, *, several: bool) -> str:
    """Return what a GPU is called, with its process where several processes used GPUs."""
    return f"GPU {split.device}" + (f" in process {split.process}" if several else "")


def step_lines(chosen: Selected) -> list[str]:
    """Return lines on the spread of the steps' times, recorded beside not recorded.

    Args:
        chosen: the part of a report that counts.
    """
    report, known = chosen.attribution.report, chosen.steps
    noted, bare = (step_times(report, key) for key in ("step_ns", "unprofiled_step_ns"))
    cut = bool(report.run.get(TRIMMED))
    times = recorded_steps(chosen)
    lines = [f"step, recorded: {spread(times)}"] if len(times) else []
    lines += [f"steps: {note}" for note in known.notes] if known is not None else []
    if len(bare):
        whole = ", in the run it was cut from" if cut else ""
        line = f"step, not recorded{whole}: {spread(bare)}"
        lines.append(f"{line}: {cost(noted, bare)}" if len(noted) else line)
    return lines


def cost(recorded: Float64, bare: Float64) -> str:
    """Return in words what recording cost a step, if that can be told."""
    if min(len(recorded), len(bare)) < FEWEST:
        return "too few steps to tell what recording costs"
    more = slowdown(recorded, bare)
    if more is None:
        return "what recording costs cannot be told, steps differ too much among themselves"
    if more < 0:
        return (
            f"recorded steps took {-more * 100:.1f} % less, so the two were not timed under the "
            "same conditions"
        )
    return f"recording cost {more * 100:+.1f} %"


def spread(times: Float64) -> str:
    """Return the median of some times and how far they lie apart."""
    count = plural(len(times), "step")
    if len(times) == 1:
        return f"{duration(float(times[0]))} ({count})"
    ends = f"{duration(float(times.min()))} to {duration(float(times.max()))}"
    return f"median {duration(float(np.median(times)))} ({ends}, {count})"
