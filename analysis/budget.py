"""Where each step's wall time went, in parts that add up to it.

    python -m analysis.budget report.sqlite
    python -m analysis.budget report.sqlite --format csv

Each instant of a step counts once on each device, for the first of these that goes on then: matrix
products, other work whose bytes are known, work that is not modelled, collectives, copies, work of
ranges left out by `--exclude`, the profiler's own overhead; else the device is idle, for a cause.
Of the first two the ideal time, by the roofline at the device's peak rates, stands apart from what
was lost; without known peaks they stand whole. csv has every step, the table the median one;
without steps the recording is one step.
On a CPU the device is `cpu`, and operators' self time stands for kernels. Warm-up is left out;
`--exclude none` includes it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Unpack

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.statistics import sums
from analysis.attribution import question
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Options, Selection
from analysis.measures.idle import idle_gaps
from analysis.measures.step_budget import IN_WORDS, PARTS, StepBudgets, step_budgets
from analysis.measures.window import MeasuredWindow
from analysis.recorded.work import has_work
from analysis.show import cli
from analysis.show.errors import ReportError
from analysis.show.render import duration, percent, plural
from analysis.show.table import Column, Table
from analysis.source.report import Report

BUDGET: Final = "budget"
"""What its table is called."""

CPU: Final = "cpu"
WITHOUT_PEAKS: Final = {
    "matrix_ideal": "matrix",
    "matrix_lost": "matrix",
    "memory_ideal": "memory",
    "memory_lost": "memory",
}
"""What parts are called where no peak is known, and nothing can be told ideal from lost."""

ON_A_CPU: Final = {"host_busy": "no operator: Python, and what else"}

WHOLE_IN_WORDS: Final = {"matrix": "matrix products", "memory": "memory-bound work"}


def budget(report: Report, **selected: Unpack[Options]) -> Table:
    """Return one row per step, device and part of the step's wall time, in their order.

    Args:
        report: what was recorded.
        selected: what counts: see `analysis.attribution.selection.Options`.

    Returns:
        ``step, device, part, ns, share, process``; parts that are 0 are left out, those of one step
        and device add up to its wall time, and their shares to 1.

    Raises:
        ReportError: there is no work, or no such range, step, device or process.
    """
    asked = Selection(**selected)
    only_copies = not has_work(report) and idle_gaps(report).places
    chosen = Selected.of_devices(report, asked) if only_copies else Selected.of(report, asked)
    measured = MeasuredWindow(chosen)
    found = step_budgets(measured)
    if not len(found):
        raise ReportError(
            report.path,
            "no step of a process with work in the part that counts",
            "leave out less, or --exclude none",
        )
    return Table(
        name=BUDGET,
        columns=budget_columns(found),
        heading=f"{report.describe()}\nBudget of {what_steps(found)}",
        counted=chosen.heading_lines,
        notes=notes(measured, found),
    )


def budget_columns(found: StepBudgets) -> dict[str, Column]:
    """Return the columns of `budget`, of the parts that are not 0."""
    parts_ns, names = named_parts(found)
    row, part = np.nonzero(parts_ns)
    order = np.lexsort((part, found.device[row], found.process[row], found.step[row]))
    row, part = row[order], part[order]
    time = parts_ns[row, part]
    return {
        "step": found.step[row],
        "device": [CPU] * len(row) if found.on_cpu else found.device[row],
        "part": [names[place] for place in part.tolist()],
        "ns": time,
        "share": time / np.maximum(found.wall_ns[row], 1),
        "process": found.process[row],
    }


def named_parts(found: StepBudgets) -> tuple[Int64, list[str]]:
    """Return ``(W, P)`` the time of each part, and the parts' names; without peaks fewer parts."""
    if found.peaks.known:
        return found.parts_ns, list(PARTS)
    named = [WITHOUT_PEAKS.get(name, name) for name in PARTS]
    names = list(dict.fromkeys(named))
    merged = np.zeros((len(found), len(names)), np.int64)
    for place, name in enumerate(named):
        merged[:, names.index(name)] += found.parts_ns[:, place]
    return merged, names


def what_steps(found: StepBudgets) -> str:
    """Return in words what the budgets are of."""
    if found.whole:
        return "the recording as a whole"
    return plural(len(np.unique(found.step)), "step")


def notes(measured: MeasuredWindow, found: StepBudgets) -> tuple[str, ...]:
    """Return notes on the peaks, on what is not modelled, and on what steps leave out."""
    chosen, lines = measured.chosen, []
    if found.peaks.known:
        lines.append(f"ideal times by the peaks: {found.peaks.origin}")
    else:
        device = chosen.attribution.report.device or "the device (the report does not name it)"
        lines.append(f"no peak rate is known of {device}: ideal and lost time cannot be told apart")
    parts = found.parts_ns.sum(0)
    work = int(parts[: PARTS.index("not_modelled") + 1].sum())
    unknown = int(parts[PARTS.index("not_modelled")])
    if unknown:
        lines.append(
            f"{percent(unknown / max(work, 1))} of the time of computing is not modelled: no FLOPs "
            "or bytes are known of it"
        )
    if chosen.steps is not None:
        lines += [*chosen.steps.notes, *measured.lag_notes, *places_without_steps(measured, found)]
    left_out = int(parts[PARTS.index("left_out")])
    if left_out:
        what = [*(["warm-up"] if chosen.leaves_warmup_out else []), *chosen.excluded_names]
        lines.append(
            f"what is left out ({', '.join(what)}) took {duration(left_out)} of {what_steps(found)}"
            ": its work, and the idle time that begins in it"
        )
    return tuple(lines)


def places_without_steps(measured: MeasuredWindow, found: StepBudgets) -> tuple[str, ...]:
    """Return a line on the processes with work of a GPU that have no step; none where all have."""
    known = set(found.process.tolist())
    others = {place.process for place in measured.every_gap.places} - known
    if not others:
        return ()
    listed = ", ".join(map(str, sorted(others)))
    what = "process" if len(others) == 1 else "processes"
    return (f"left out, without a step: the GPU work of {what} {listed}",)


def of_median_step(table: Table) -> Table:
    """Return the rows of the step that took the median time, of an even number the lower one."""
    if not len(table):  # steps that took no time have no parts
        return table
    step = np.asarray(table.columns["step"], np.int64)
    time = np.asarray(table.columns["ns"], np.int64)
    numbers, place = np.unique(step, return_inverse=True)
    wall = sums(place, time, len(numbers))
    middle = (len(numbers) - 1) // 2
    shown = np.argsort(wall, kind="stable")[middle]
    kept = np.flatnonzero(place == shown)
    told = [table.heading]
    if len(numbers) > 1:
        devices = {(row["device"], row["process"]) for row in table.take(kept).rows()}
        took = duration(int(wall[shown]) // max(len(devices), 1))
        lower = "" if len(numbers) % 2 else ", the lower of the two in the middle"
        told.append(f"below: step {numbers[shown]}, {took}, of median time{lower}")
    return replace(table.take(kept), heading="\n".join(filter(None, told)))


def in_words(shown: Table) -> Table:
    """Return the budget of one step as people read it."""
    words = {**IN_WORDS, **WHOLE_IN_WORDS}
    if CPU in set(shown.columns["device"]):
        words |= ON_A_CPU
    several = {
        name: column
        for name, column in shown.columns.items()
        if name in {"device", "process"} and len(set(column)) > 1
    }
    columns: dict[str, Column] = {
        **several,
        "part": [words[str(name)] for name in shown.columns["part"]],
        "time_ns": shown.columns["ns"],
        "share": shown.columns["share"],
    }
    return replace(shown, columns=columns)


def for_people(table: Table, _: Report, args: argparse.Namespace) -> Table:
    """Return what is shown of the answer in the format that is asked for."""
    return in_words(of_median_step(table)) if args.format in cli.WITH_HEADING else table


def main(argv: Sequence[str] | None = None) -> int:
    """Print the budget; see the module's docstring."""
    return question.answer(budget, __doc__, "analysis.budget", argv, finish=for_people, most=None)


if __name__ == "__main__":
    sys.exit(cli.run(main))
