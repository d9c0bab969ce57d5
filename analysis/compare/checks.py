"""Whether two reports can be compared at all, and what else differs between the runs.

Two recordings without steps need not hold as much work. A capture of so many seconds holds what was
done in them: a slower program does less and may even keep its GPUs less busy. Only the calls of
kernels that both recordings have tell how much was done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from analysis.compare.changes import TIMES, relative_change
from analysis.compare.sides import kernel_name
from analysis.show.errors import ReportError
from analysis.show.render import percent
from analysis.source import tables
from analysis.source.device_tables import kernel_grids
from analysis.source.report_metadata import PARTS, SHAPE

if TYPE_CHECKING:
    from analysis.compare.sides import Side
    from analysis.source.report import Report

SIDES: Final = ("before", "after")
MODE: Final = "mode"

SETTINGS: Final = (
    *(*SHAPE, "attention", "tf32", "autocast", "compile", "optimizer", "checkpoint"),
    *("recorder", "torch", "threads", "world_size", "script"),
)
"""What it notes that makes the step's time another: worth a word, no refusal without a gate."""

FORCE: Final = "--force compares them all the same"


LIKE: Final = 0.01
"""By how much the work of two recordings may differ and still pass for the same."""

MOST: Final = 0.5
"""The share of the time of the kernels that both reports have, from which on their grids decide."""

SAME_TIME: Final = 0.05
"""By how much two windows may differ and still be of one length."""


class ReportPair(NamedTuple):
    """The two reports of a comparison, and the side read from each."""

    reports: tuple[Report, Report]
    sides: tuple[Side, Side]


def check_comparable(
    both: ReportPair, *, force: bool = False, gated: bool = False
) -> tuple[str, ...]:
    """Return the differences between two runs, one line each, or refuse to compare them.

    Args:
        both: what is to be compared.
        force: say, rather than refuse, that GPUs or modes differ.
        gated: refuse also what is another piece of work, unless forced.

    Raises:
        ReportError: one is of a CPU and the other of a GPU; or, without ``force``, they are of
            other GPUs, of another number of them, or of another mode; or, where ``gated``, of
            another `SHAPE` or number of ranks.
    """
    path = both.reports[1].path
    kinds = ["a CPU" if side.on_cpu else "a GPU" for side in both.sides]
    if kinds[0] != kinds[1]:
        problem = f"a run on {kinds[1]}, while {both.reports[0].path.name} is one on {kinds[0]}"
        raise ReportError(path, problem, "record both on the same device")
    lines, grave = [], []
    if not both.sides[0].on_cpu:
        grave += gpus_differ(both.reports)
        unknown = [word for word, each in zip(SIDES, both.reports, strict=True) if not models(each)]
        if unknown:
            lines.append(f"the GPU's model is not known {' and '.join(unknown)}: not compared")
    modes = [report.run.get(MODE, "") for report in both.reports]
    if all(modes) and modes[0] != modes[1]:
        grave.append(f"mode is {modes[0]} before, {modes[1]} after")
    if gated and not force:
        grave += [*differing_shapes(both), *differing_settings(both, ("world_size",))]
    if grave and not force:
        raise ReportError(path, f"not comparable: {', '.join(grave)}", FORCE)
    return (*grave, *noted_differences(both), *lines)


def gpus_differ(reports: tuple[Report, Report]) -> list[str]:
    """Return lines on differences in the number and the models of the GPUs."""
    counts = [len(tables.devices(report)) for report in reports]
    known = [models(report) for report in reports]
    lines = []
    if counts[0] != counts[1]:
        lines.append(f"GPUs: {counts[0]} before, {counts[1]} after")
    if all(known) and known[0] != known[1]:
        lines.append(f"GPU is {known[0]} before, {known[1]} after")
    return lines


def models(report: Report) -> str:
    """Return the distinct models of the GPUs that were used, empty where they are not known."""
    used = set(tables.devices(report))
    named = {gpu.name for gpu in report.gpus if gpu.ordinal in used and gpu.name}
    return ", ".join(sorted(named)) or report.run.get("device_name", "")


def differing_settings(both: ReportPair, keys: Iterable[str]) -> list[str]:
    """Return a line for each of some settings that both runs noted and that differ."""
    lines: dict[str, str] = {}
    runs = [report.run for report in both.reports]
    for key in keys:
        before, after = (run.get(key, "") for run in runs)
        if before and after and before != after and not ("size" in lines and key in PARTS):
            lines[key] = f"{key.replace('_', ' ')} differs: {before} before, {after} after"
    return list(lines.values())


def differing_shapes(both: ReportPair) -> list[str]:
    """Return lines on the shapes of two runs' work where these differ.

    As both runs noted them; where they did not, by the grids that kernels were launched with.
    """
    if all(any(report.run.get(key) for key in SHAPE) for report in both.reports):
        return differing_settings(both, SHAPE)
    return differing_grids(both)


def differing_grids(both: ReportPair) -> list[str]:
    """Return a line where most of what both reports ran was launched on grids of its own in each.

    One kernel may be tuned anew and so have other grids; that most have is the work's doing.
    """
    if both.sides[0].on_cpu:
        return []
    grids = [launch_grids(report) for report in both.reports]
    series = both.sides[0].series["kernel"]
    spent = dict(zip(series.names, series.time_ns.sum(1).tolist(), strict=True))
    shared = [name for name in spent if grids[0].get(name) and grids[1].get(name)]
    apart = [name for name in shared if not grids[0][name] & grids[1][name]]
    share = sum(spent[name] for name in apart) / max(sum(spent[name] for name in shared), 1)
    if len(apart) < 2 or share <= MOST:
        return []
    return [
        f"kernels of the same name ran on other grids ({len(apart):,} of {len(shared):,}, "
        f"{percent(share)} of their time)"
    ]


def launch_grids(report: Report) -> dict[str, set[tuple[int, ...]]]:
    """Return the grids that kernels were launched with, by the names they are compared under."""
    rows = kernel_grids(report)
    known = tables.strings(report, rows["name_id"].tolist())
    grids = zip(*(rows[axis].tolist() for axis in ("x", "y", "z")), strict=True)
    found: dict[str, set[tuple[int, ...]]] = {}
    for number, grid in zip(rows["name_id"].tolist(), grids, strict=True):
        if tables.MISSING not in grid and number in known:
            found.setdefault(kernel_name(known[number]), set()).add(grid)
    return found


def noted_differences(both: ReportPair) -> list[str]:
    """Return a line for each setting that differs, and for phases that only one run has."""
    lines = differing_settings(
        both, (*SETTINGS, "device_name") if both.sides[0].on_cpu else SETTINGS
    )
    phases = [side.has_phases for side in both.sides]
    if phases[0] != phases[1]:
        lines.append(f"no range of a phase {SIDES[phases.index(False)]}: phases are not compared")
    return lines


@dataclass(frozen=True)
class SharedWork:
    """How much AFTER did of the work that both reports hold, measured by BEFORE's.

    Attributes:
        done: how much: calls, each counted as long as it took on average in BEFORE.
        per_call: how long a call took, on average over the same calls.
        wall: how long the window is.
    """

    done: float
    per_call: float
    wall: float

    @property
    def alike(self) -> bool:
        """Whether both reports hold as much work, to `LIKE`."""
        return abs(self.done - 1) <= LIKE

    def __str__(self) -> str:
        """Say how they differ, and by what that is counted."""
        same = abs(self.wall - 1) <= SAME_TIME
        time = "in the same time" if same else f"in {share_or_times(self.wall)} the time"
        if self.done >= TIMES:
            much = f"{relative_change(self.done)} the work of before"
        else:
            how = "less" if self.done < 1 else "more"
            much = f"{100 * abs(self.done - 1):.1f} % {how} work than before"
        return f"{much} was done {time} (by the calls of what both recorded)"


def share_or_times(ratio: float) -> str:
    """Return a ratio as a share, from a doubling on as so many times.

    >>> share_or_times(0.5), share_or_times(3)
    ('50.0 % of', '3.00×')
    """
    return relative_change(ratio) if ratio >= TIMES else f"{100 * ratio:.1f} % of"


def shared_work(before: Side, after: Side) -> SharedWork | None:
    """Return how the work of two reports differs; None where they have steps, or nothing shared."""
    if before.has_steps or after.has_steps:
        return None
    kind = "operator" if before.on_cpu else "kernel"
    sides = [side.series[kind] for side in (before, after)]
    rows = [{name: row for row, name in enumerate(series.names)} for series in sides]
    shared = [name for name in rows[0] if name in rows[1]]
    places = [np.array([row[name] for name in shared], np.int64) for row in rows]
    (was, spent), (calls, called) = (
        [getattr(series, field)[place].sum(1) for series, place in zip(sides, places, strict=True)]
        for field in ("time_ns", "calls")
    )
    expected = (was * called / np.maximum(calls, 1)).sum()
    walls = [int(side.contents.wall_ns.sum()) for side in (before, after)]
    if not was.sum() or not expected or not walls[0]:
        return None
    return SharedWork(
        float(expected / was.sum()), float(spent.sum() / expected), walls[1] / walls[0]
    )


def work_line(work: SharedWork | None, shapes: Sequence[str]) -> list[str]:
    """Return a line on the work of two reports, where it is not alike; of one shape, if any."""
    if work is None or work.alike or shapes:
        return []
    change = relative_change(work.per_call)
    return [f"work     {work}; a call took {change}: see call ratio, not the totals"]
