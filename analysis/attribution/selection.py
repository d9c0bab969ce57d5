"""Some of a report's work: inside a range, outside others, in some steps, on a device."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from analysis.attribution import warmup
from analysis.attribution.launches import Attribution
from analysis.attribution.phases import inside, inside_of
from analysis.attribution.steps import of as steps_of
from analysis.kernels import Work, check, load
from analysis.show.errors import ReportError
from analysis.source import tables

if TYPE_CHECKING:
    from pathlib import Path

    from analysis.attribution.steps import Steps
    from analysis.source.report import Report

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Selection:
    """What is asked for.

    Attributes:
        within: the name of a range the work must be inside of, or None.
        exclude: names of ranges it must not be inside of.
        steps: the first step and the one after the last, from 0, as in a slice; or None.
        device: a CUDA ordinal, or None.
        process: a process id, or None.
    """

    within: str | None = None
    exclude: Sequence[str] = ()
    steps: tuple[int | None, int | None] | None = None
    device: int | None = None
    process: int | None = None

    @property
    def by_range(self) -> bool:
        """Whether it takes more than reading some rows."""
        return self.within is not None or bool(self.exclude) or self.steps is not None


def work(report: Report, asked: Selection) -> Work:
    """Return the work that was asked for, with a note on warm-up where it is in it.

    Raises:
        ReportError: there is no such range, step, device or process, or no work at all.
    """
    if not asked.by_range:
        found = load(report, asked.device, asked.process)
        noted = warmup_note(report) if tables.has_range(report, warmup.NAMES) else ()
        return replace(found, notes=(*found.notes, *noted))
    attributed = Attribution.of(report)
    kept = on(report, attributed.work, asked)
    if asked.within is not None:
        kept &= inside(attributed, asked.within)
    notes: list[str] = []
    for name in asked.exclude:
        chosen, said = warmup.left_out(report.path, attributed.ranges, name)
        notes += said
        kept &= ~inside_of(attributed, chosen)
    if asked.steps is not None:
        kept &= in_steps(attributed, *asked.steps)
    return replace(attributed.work.take(kept), notes=(*attributed.work.notes, *notes))


def warmup_note(report: Report) -> tuple[str, ...]:
    """Return how much of the report's work is warm-up."""
    return warmup.note(Attribution.of(report), excluded=False)


def on(report: Report, found: Work, asked: Selection) -> Bools:
    """Return which work is on the device and of the process that were asked for."""
    kept = np.ones(len(found.kind), np.bool_)
    if asked.device is None and asked.process is None:
        return kept
    if found.calls is not None:
        if asked.device is not None:
            problem = f"no device {asked.device}: a CPU run"
            raise ReportError(report.path, problem, "leave --device out")
        process = found.calls.process
        check(report, "process", asked.process, lambda _: np.unique(process).tolist())
        of_it: Bools = process == asked.process
        return of_it
    check(report, "device", asked.device, tables.devices)
    check(report, "process", asked.process, tables.processes)
    parts = [
        tables.device_work(report, table, "device", "global_pid")
        for table in (tables.KERNEL, tables.GRAPH)
    ]
    device, pid = (np.concatenate([part[name] for part in parts]) for name in parts[0])
    if asked.device is not None:
        kept &= device == asked.device
    if asked.process is not None:
        kept &= (pid >> 24) & 0xFFFFFF == asked.process
    return kept


def in_steps(found: Attribution, first: int | None, end: int | None) -> Bools:
    """Return which work was launched during some of the steps; warm-up has none of them.

    Args:
        found: the work.
        first: the first step, from 0 in every process; None for that.
        end: the one after the last; None for all.

    Raises:
        ReportError: there are no steps, or none of these.
    """
    known, wanted = chosen_steps(found.report.path, steps_of(found), first, end)
    launches = found.launches
    process = np.where(launches.known, (launches.thread >> 24) & 0xFFFFFF, tables.MISSING)
    number = known.at(launches.start_ns, process)
    chosen: Bools = (number >= wanted.start) & (number < wanted.stop)
    return chosen


def chosen_steps(
    path: Path, known: Steps | None, first: int | None, end: int | None
) -> tuple[Steps, range]:
    """Return the steps there are, and the numbers of those that are asked for; see `in_steps`.

    Raises:
        ReportError: there are no steps, or none of these.
    """
    if known is None:
        raise ReportError(path, "no step ranges in this report", "leave --steps out")
    wanted = range(known.count)[first:end]
    if not len(wanted):
        problem = f"no such steps: there are {known.count}"
        raise ReportError(path, problem, "counted from 0, A:B")
    return known, wanted


def steps(word: str) -> tuple[int | None, int | None]:
    """Return the bounds of ``A:B`` from the command line, either of which may be left out."""
    first, colon, end = word.partition(":")
    try:
        low, high = (int(part) if part.strip() else None for part in (first, end))
    except ValueError:
        colon = ""
    if not colon or min(low or 0, high or 0) < 0:
        raise argparse.ArgumentTypeError(f"{word!r} is not A:B, two step numbers from 0")
    return low, high


def add_arguments(made: argparse.ArgumentParser) -> None:
    """Add the options that select."""
    made.add_argument(
        "--within", metavar="RANGE", help="only what this NVTX range launched: a name or a glob"
    )
    made.add_argument(
        "--exclude",
        metavar="RANGE",
        action="append",
        default=[],
        help="without what this range launched, such as warmup; may be repeated",
    )
    made.add_argument(
        "--steps", type=steps, metavar="A:B", help="only these step ranges, from 0, B not included"
    )
    add_places(made)


def add_places(made: argparse.ArgumentParser) -> None:
    """Add the options that select a GPU or a process: with one rank each, a rank."""
    made.add_argument("--device", type=int, metavar="N", help="only this GPU (default all)")
    made.add_argument("--process", type=int, metavar="N", help="only this process (default all)")


def of(args: argparse.Namespace) -> Selection:
    """Return what the arguments select."""
    return Selection(args.within, args.exclude, args.steps, args.device, args.process)
