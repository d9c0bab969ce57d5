"""Everything on one page: what a report answers without being asked."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis import attention, kernels, nvtx, phases
from analysis.attribution import Attribution
from analysis.errors import ReportError
from analysis.render import duration, percent
from analysis.table import Table

if TYPE_CHECKING:
    from analysis.report import Report

Times = npt.NDArray[np.float64]

TOP: Final = 10
MOST_DIGITS: Final = 18

LONGEST_NS: Final = 1 << 63
"""A step takes less than that, and more than nothing; NaN does neither."""

RUN_KEYS: Final = (
    ("size", "num_layers", "d_model", "d_ff", "num_heads", "vocab_size", "parameters"),
    ("mode", "batch", "context", "dtype", "attention", "steps", "warmup", "script"),
    ("recorder", "torch", "nvtx", "nsys", "cuda", "driver", "commit", "date"),
)
"""What the page tells of a run, by line."""


@dataclass(frozen=True)
class Page:
    """Lines about the run, then tables.

    Attributes:
        lines: for people.
        tables: the answers, each of another name.
        run: what the launcher noted, all of it.
    """

    lines: tuple[str, ...]
    tables: tuple[Table, ...]
    run: dict[str, str]

    @property
    def about(self) -> Table:
        """The lines and what the launcher noted, as a table for a database."""
        keys = ["about"] * len(self.lines) + list(self.run)
        return Table("run", {"key": keys, "value": [*self.lines, *self.run.values()]})


def page(report: Report, top: int = TOP) -> Page:
    """Return the page: the run, how far to trust it, phases, categories, work, attention.

    Warm-up is left out of all of it, and the lines say how much that was.

    Args:
        report: what was recorded.
        top: how many kernels or operators are listed, of those that took most.

    Raises:
        ReportError: the report holds neither work nor ranges.
    """
    lines = [report.describe(), *run_lines(report)]
    try:
        found = Attribution.of(report)
    except ReportError:
        ranges = nvtx.load(report)
        if not len(ranges):
            raise
        lines.append("no GPU kernels and no CPU operators in this report: only its ranges")
        return Page(tuple(lines), (range_times(ranges),), report.run)
    lines += trust_lines(report, found)
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
    return Page(tuple(lines), tuple(answer for answer in answers if answer is not None), report.run)


def of_everything(found: Attribution, notes: tuple[str, ...]) -> tuple[str, ...]:
    """Return notes on all work that was read, which say so where the page leaves warm-up out."""
    if not len(found.warmup):
        return notes
    return tuple(f"of the whole report, warm-up included: {note}" for note in notes)


def run_lines(report: Report) -> list[str]:
    """Return what the launcher noted of the run."""
    lines = [
        " · ".join(f"{key} {grouped(report.run[key])}" for key in keys if told(report.run.get(key)))
        for keys in RUN_KEYS
    ]
    return [line for line in lines if line]


def told(value: str | None) -> bool:
    """Return whether there is a value to tell; a number that counts nothing real is none.

    >>> told("24"), told("python train.py"), told(""), told(None), told("9" * 6000)
    (True, True, False, False, False)
    """
    return (
        value is not None and value != "" and not (value.isdecimal() and len(value) > MOST_DIGITS)
    )


def grouped(value: str) -> str:
    """Return a whole number with its thousands apart, anything else as it is.

    >>> grouped("128625408"), grouped("2.13.0")
    ('128,625,408', '2.13.0')
    """
    return f"{int(value):,}" if value.isdecimal() else value


def trust_lines(report: Report, found: Attribution) -> list[str]:
    """Return how far to trust the rest: coverage, the cost of recording, spread, warm-up."""
    work = found.work
    what = (
        "CPU operators, by self time (no GPU kernels in this report)" if work.on_cpu else "kernels"
    )
    total = int(work.duration_ns.sum())
    lines = [f"ranked: {len(work.kind):,} {what}, {duration(total)} in all"]
    if len(found.ranges):
        inside = int(work.duration_ns[found.placed].sum())
        unknown = int((~found.launches.known).sum())
        lines[0] += f"; {percent(inside / max(total, 1))} of it launched inside a range"
        if unknown:
            lines[0] += f", {unknown:,} without a recorded launch"
    if len(found.warmup):
        left_out = int(work.duration_ns[found.work_in_warmup].sum())
        lines.append(
            f"warm-up left out below: {plural(len(found.warmup), 'step')}, {duration(left_out)}, "
            f"{percent(left_out / max(total, 1))} of the work"
        )
    return lines + step_lines(report)


def step_lines(report: Report) -> list[str]:
    """Return the spread of the steps' times, recorded beside not recorded."""
    recorded = step_times(report, "step_ns")
    if not len(recorded):
        return []
    lines = [f"step, recorded: {spread(recorded)}"]
    bare = step_times(report, "unprofiled_step_ns")
    if len(bare):
        lines.append(f"step, not recorded: {spread(bare)}: {cost(recorded, bare)}")
    return lines


def step_times(report: Report, key: str) -> Times:
    """Return step times that the launcher noted; none where it did not or they make no sense."""
    try:
        times = json.loads(report.run.get(key, "[]"))
    except (ValueError, RecursionError):
        times = []
    whole = isinstance(times, list) and all(
        isinstance(time, int | float) and 0 < time < LONGEST_NS for time in times
    )
    return np.array(times if whole else [], np.float64)


def cost(recorded: Times, bare: Times) -> str:
    """Return what recording cost a step, and whether that is more than noise."""
    if min(len(recorded), len(bare)) < 2:
        return "too few steps to tell what recording costs"
    more = float(np.median(recorded) / np.median(bare)) - 1
    line = f"recording cost {more * 100:+.1f} %"
    overlap = recorded.min() <= bare.max() and bare.min() <= recorded.max()
    return f"{line}, no more than steps differ among themselves" if overlap else line


def spread(times: Times) -> str:
    """Return the median of some times and how far they lie apart."""
    ends = f"{duration(float(times.min()))} to {duration(float(times.max()))}"
    return f"median {duration(float(np.median(times)))} ({ends}, {plural(len(times), 'step')})"


def plural(count: int, word: str) -> str:
    """Return a count with its word.

    >>> plural(1, "step"), plural(3, "step")
    ('1 step', '3 steps')
    """
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


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
