"""The verdict: how long a step takes, and what most of it went to, in a sentence or two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.attribution.work_phases import OTHER
from analysis.knowledge.vocabulary import canonical
from analysis.measures.gpu_time_split import ELSEWHERE, gpu_time_splits, idle_by_phase
from analysis.measures.step_times import TRIMMED, step_times
from analysis.phases import OUTSIDE
from analysis.show.render import duration, percent, plural
from analysis.show.sheet import in_prose
from profiling.names import STEP

if TYPE_CHECKING:
    from analysis.arithmetic.arrays import Float64
    from analysis.attribution.selected import Selected
    from analysis.measures.gpu_time_split import GpuTimeSplit
    from analysis.measures.window import MeasuredWindow
    from analysis.show.table import Table

NOTHING_TO_DO: Final = "Nothing stands out: no advice on what was measured."
ONLY_RANGES: Final = (
    "Nothing was recorded but ranges: no GPU kernels and no CPU operators. Record with "
    "--trace=cuda,nvtx to see what the GPU did."
)

NO_PLACE: Final = {OTHER: "no phase", ELSEWHERE: "no phase", OUTSIDE: "no step"}
"""What is said of time outside the phases, and outside the steps."""


def verdict(measured: MeasuredWindow, phases: Table | None, categories: Table) -> str:
    """Return how long a step takes and what most of it went to.

    Args:
        measured: what is looked at.
        phases: what each phase launched, where there are ranges.
        categories: of the work that counts, that with most time first.
    """
    splits = gpu_time_splits(measured)
    parts = [step_time(measured, splits)]
    if splits:
        parts[0] += f": {busy_and_idle(measured, splits)}"
    what = "CPU operators" if measured.attribution.work.on_cpu else "kernels"
    shares = [(str(row["name"]), float(row["share"])) for row in categories.head(1).rows()]
    if phases is not None and len(phases):
        most = max(phases.rows(), key=lambda row: float(row["share"]))
        name = str(most["phase"])
        if canonical(name) != STEP:  # which stands in for the phases where there are none
            shares.append((NO_PLACE.get(name, in_prose(name)), float(most["share"])))
    if shares:
        parts.append(f"{what}: " + ", ".join(f"{name} {percent(share)}" for name, share in shares))
    return "; ".join(parts) + "."


def step_time(measured: MeasuredWindow, splits: list[GpuTimeSplit]) -> str:
    """Return how long a step takes; without steps, how long what was measured took."""
    times = recorded_steps(measured.chosen)
    if not len(times):
        work = measured.attribution.work.duration_ns[measured.work]
        time = max((split.wall_ns for split in splits), default=int(work.sum()))
        return f"{duration(time)} measured, without marked steps"
    if len(times) == 1:
        return f"A step takes {duration(float(times[0]))} (1 step)"
    ends = f"{duration(float(times.min()))} to {duration(float(times.max()))}"
    return f"A step takes {duration(float(np.median(times)))} (median of {len(times)}, {ends})"


def recorded_steps(chosen: Selected) -> Float64:
    """Return how long each recorded step took, in ns; empty where that is not known.

    These are the step ranges in the file, as long as they were open on the host; where there is
    none, what the launcher noted of the run, unless only a part of that is in the file.
    """
    report = chosen.attribution.report
    if chosen.steps is not None:
        return chosen.steps.wall_ns.astype(np.float64)
    return np.empty(0) if report.run.get(TRIMMED) else step_times(report, "step_ns")


def busy_and_idle(measured: MeasuredWindow, splits: list[GpuTimeSplit]) -> str:
    """Return how much of the measured time the GPUs worked, and what the host did meanwhile."""
    wall = max(sum(split.wall_ns for split in splits), 1)
    idle = sum(split.idle_ns for split in splits)
    gpus = "GPU" if len(splits) == 1 else plural(len(splits), "GPU")
    said = f"{gpus} busy {percent(1 - idle / wall)}, idle {percent(idle / wall)}"
    phases = idle_by_phase(measured)
    if not phases:
        return said
    most = max(phases, key=phases.__getitem__)
    of_it = percent(phases[most] / sum(phases.values()))
    return f"{said} ({of_it} of it in {NO_PLACE.get(most, most)})"
