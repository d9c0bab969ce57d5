"""What of one rank's report travels: small arrays and text, made where the report lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.arithmetic.arrays import Int64, coded
from analysis.arithmetic.statistics import sums
from analysis.arithmetic.union import IntervalUnion
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Selection
from analysis.knowledge.vocabulary import clean
from analysis.measures.alignment import rank_of
from analysis.measures.collectives import Collectives, collectives_by_device
from analysis.measures.range_times import range_spans
from analysis.measures.ranks.ranges_before import ranges_before
from analysis.measures.step_budget import PARTS, step_budgets
from analysis.measures.window import MeasuredWindow
from analysis.show.errors import CommandError, ReportError, first_line
from analysis.source import report_metadata
from analysis.source.report import Report

if TYPE_CHECKING:
    from analysis.measures.collectives import DeviceCollectives
    from analysis.measures.ranks.ranges_before import RangesBefore

WORK: Final = (*report_metadata.SHAPE, "mode", "strategy", "world_size")
"""What a run notes of itself that makes its work another's."""

STEPS, RANGES, COLLECTIVES = "steps", "ranges", "collectives"
PARTS_OF_IT: Final = frozenset({STEPS, RANGES, COLLECTIVES})
"""What a summary may be asked for; what it is not asked for is empty in it."""

TIMES: Final = ("wall_ns", "span_ns")
"""What of each range is compared between ranks."""


@dataclass(frozen=True)
class RankSummary:
    """What one rank did, without its events.

    Attributes:
        path: of the report, as it was given.
        rank: the report's own, else the number in its name, else its place among those given.
        about: the report in words.
        work: what kind of work it is, by the keys of `WORK`.
        began_ns: when the recording began, UTC; None where it does not say.
        first_ns: when its first work began, from there; and when the last ended.
        last_ns: likewise.
        step: ``(S,)`` the numbers of the steps that count.
        start_ns: ``(S,)`` when each began.
        wall_ns: ``(S,)`` how long it took, on all its devices together.
        devices: ``(S,)`` how many devices that is.
        parts_ns: ``(S, len(PARTS))`` what it went into; a row adds up to ``wall_ns``.
        ranges: for each name of a range `TIMES`.
        places: the collectives of its devices, without what else was computed.
        before: of each place, which ranges the host was in before its collectives.
        counted: lines on what of the report counts.
        notes: further lines.
    """

    path: str
    rank: str
    about: str
    work: Mapping[str, str]
    began_ns: int | None
    first_ns: int
    last_ns: int
    step: Int64
    start_ns: Int64
    wall_ns: Int64
    devices: Int64
    parts_ns: Int64
    ranges: Mapping[str, tuple[int, ...]]
    places: tuple[DeviceCollectives, ...]
    before: tuple[RangesBefore, ...]
    counted: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Unread:
    """A report that could not be read, and why, in one line."""

    path: str
    why: str


def summarize(
    path: str,
    place: int,
    selected: Mapping[str, Any],
    wanted: frozenset[str] = PARTS_OF_IT,
    shown: str | None = None,
) -> RankSummary | Unread:
    """Return the summary of a report, or why there is none.

    What it has to say stands in it: whoever asked may be another process, or another machine.

    Args:
        path: where it lies.
        place: among those that were given, from 0.
        selected: what counts: `analysis.attribution.selection.Options`.
        wanted: which parts, of `PARTS_OF_IT`.
        shown: the path as it was given.
    """
    given = shown or path or "''"
    try:
        report = Report(path)
        try:
            made = _summary(report, place, selected, wanted)
            report.check_unchanged()
        finally:
            report.close()
    except ReportError as error:
        return Unread(given, error.problem + (f"; {error.remedy}" if error.remedy else ""))
    except CommandError as error:
        return Unread(given, str(error).removeprefix(f"{path}: "))
    except MemoryError:
        return Unread(given, "not enough memory to read it; use fewer --workers")
    except OSError as error:
        return Unread(given, first_line(error))
    return replace(made, path=given)


def _summary(
    report: Report, place: int, selected: Mapping[str, Any], wanted: frozenset[str]
) -> RankSummary:
    chosen = Selected.of(report, Selection(**selected))
    start, end = (times[chosen.work] for times in chosen.attribution.ran)
    found = collectives_by_device(chosen) if COLLECTIVES in wanted else Collectives((), ())
    steps = _steps(chosen) if STEPS in wanted else _no_steps()
    places = tuple(each for each in found.places if len(each))
    none = np.empty(0, np.int64)
    return RankSummary(
        path=str(report.path),
        rank=rank_of(report, place),
        about=report.describe(),
        work={key: report.run[key] for key in WORK if report.run.get(key)},
        began_ns=report_metadata.started_ns(report),
        first_ns=int(start.min()) if len(start) else 0,
        last_ns=int(end.max()) if len(end) else 0,
        **steps,
        ranges=_ranges(chosen) if RANGES in wanted else {},
        places=tuple(replace(each, compute=IntervalUnion(none, none)) for each in places),
        before=tuple(ranges_before(chosen.attribution, each) for each in places),
        counted=chosen.heading_lines,
        notes=(*found.notes, *report.notes_on_what_is_left_out()),
    )


def _steps(chosen: Selected) -> dict[str, Int64]:
    """Return the fields of the steps: the budgets of all devices of a step added up."""
    budgets = step_budgets(MeasuredWindow(chosen))
    step, row = np.unique(budgets.step, return_inverse=True)
    start = np.full(len(step), np.iinfo(np.int64).max)
    np.minimum.at(start, row, budgets.start_ns)
    parts = [sums(row, column, len(step)) for column in budgets.parts_ns.T]
    return {
        "step": step,
        "start_ns": start,
        "wall_ns": sums(row, budgets.wall_ns, len(step)),
        "devices": sums(row, np.ones(len(row), np.int64), len(step)),
        "parts_ns": np.array(parts, np.int64).reshape(len(PARTS), len(step)).T,
    }


def _no_steps() -> dict[str, Int64]:
    """Return the fields of no step."""
    none = np.empty(0, np.int64)
    fields = dict.fromkeys(("step", "start_ns", "wall_ns", "devices"), none)
    return {**fields, "parts_ns": none.reshape(0, len(PARTS))}


def _ranges(chosen: Selected) -> dict[str, tuple[int, ...]]:
    """Return the `TIMES` of the ranges that count, those of one name added up."""
    ranges = chosen.attribution.ranges
    rows = np.flatnonzero(chosen.ranges)
    texts, code = coded(map(clean, ranges.names))
    name = code[ranges.name[rows]]
    times = (ranges.wall_ns, range_spans(chosen))
    columns = [sums(name, column[rows], len(texts)).tolist() for column in times]
    every = list(zip(*columns, strict=True))
    return {texts[place]: every[place] for place in np.unique(name).tolist()}
