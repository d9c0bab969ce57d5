"""The verdict: how long a step takes, and what most of it went to, in a sentence or two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.advice.finding import WORTH_A_LINE
from analysis.attribution.work_phases import OTHER
from analysis.knowledge.vocabulary import canonical
from analysis.measures.gpu_time_split import ELSEWHERE, gpu_time_splits, idle_by_phase
from analysis.measures.step_budget import FIRST_CAUSE, IDEAL, PARTS
from analysis.measures.step_times import TRIMMED, step_times
from analysis.phases import OUTSIDE
from analysis.show.render import duration, percent, plural
from analysis.show.sheet import in_prose
from profiling.names import STEP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.arithmetic.arrays import Float64
    from analysis.attribution.selected import Selected
    from analysis.measures.gpu_time_split import GpuTimeSplit
    from analysis.measures.step_budget import StepBudgets
    from analysis.measures.window import MeasuredWindow
    from analysis.show.table import Table

NOTHING_TO_DO: Final = "Nothing stands out: no advice on what was measured."
ONLY_RANGES: Final = (
    "Nothing was recorded but ranges: no GPU kernels and no CPU operators. Record with "
    "--trace=cuda,nvtx to see what the GPU did."
)

NO_PLACE: Final = {OTHER: "no phase", ELSEWHERE: "no phase", OUTSIDE: "no step"}
"""What is said of time outside the phases, and outside the steps."""


MOST_NOT_MODELLED: Final = 0.5
"""Where more of the computing than this has no ideal time, none is told of the step."""

MOST_APART: Final = 0.1
"""Of the time: so much more idle time in the steps on the host is a GPU that lags behind."""

COMPUTING: Final = ("matrix_ideal", "matrix_lost", "memory_ideal", "memory_lost")

LOST_IN: Final = {
    "matrix_lost": "matrix products",
    "memory_lost": "memory-bound work",
    "communication": "communication",
    "copies": "copies",
    "profiler": "the profiler's own overhead",
    "launch_starved": "waiting for the host to launch",
    "host_busy": "waiting for a host that did something else",
    "synchronisation": "waiting for a host that had waited for the GPU",
    "blocking_copy": "waiting for a host that was in a copy",
    "stream_wait": "waiting for another stream",
    "launch_latency": "launch latency",
    "unknown": "idle time whose cause was not recorded",
}
"""The parts of a step that could be less, as the verdict calls them."""

LOST_ON_A_CPU: Final = {"host_busy": "Python and what else is no operator"}


def verdict(
    measured: MeasuredWindow, phases: Table | None, categories: Table, budgets: StepBudgets
) -> str:
    """Return how long a step takes, what the same work could take, and what most of it went to.

    Args:
        measured: what is looked at.
        phases: what each phase launched, where there are ranges.
        categories: of the work that counts, that with most time first.
        budgets: of the steps that count.
    """
    splits = gpu_time_splits(measured)
    parts = [step_time(measured, splits)]
    busy = [busy_and_idle(measured, splits)] if splits else []
    known = not measured.falls_behind and not is_other_work(budgets, splits)
    if possible := could_take(budgets) if known else "":
        return "; ".join([*parts, possible, *busy]) + "."
    parts = [": ".join([*parts, *busy])]
    what = "CPU operators" if measured.attribution.work.on_cpu else "kernels"
    shares = [(str(row["name"]), float(row["share"])) for row in categories.head(1).rows()]
    if phases is not None and len(phases):
        most = max(phases.rows(), key=lambda row: float(row["share"]))
        name = str(most["phase"])
        if canonical(name) != STEP:  # which stands in for the phases where there are none
            shares.append((NO_PLACE.get(name, in_prose(name)), float(most["share"])))
    if lost := known_to_be_lost(budgets) if known else "":
        parts.append(lost)
    if shares:
        parts.append(f"{what}: " + ", ".join(f"{name} {percent(share)}" for name, share in shares))
    return "; ".join(parts) + "."


def only_copies(measured: MeasuredWindow) -> str:
    """Return the verdict on a report of GPUs that copied and set memory, and computed nothing."""
    splits = gpu_time_splits(measured)
    took, busy = step_time(measured, splits), busy_and_idle(measured, splits)
    return f"Nothing was computed: no GPU kernels, only copies and sets. {took}: {busy}."


def could_take(budgets: StepBudgets) -> str:
    """Return what the same work could take, and what most is lost in; "" where nothing tells.

    It is that of the median step, on the device that loses most in it. Work that is not modelled
    counts as it took; where that is most of the work, or no peak is known, nothing is told.
    """
    if not len(budgets) or not budgets.peaks.known:
        return ""
    row, lost_ns = row_that_lost_most(budgets, IDEAL)
    parts = dict(zip(PARTS, budgets.parts_ns[row].tolist(), strict=True))
    computing = sum(parts[name] for name in (*COMPUTING, "not_modelled"))
    if parts["not_modelled"] > MOST_NOT_MODELLED * computing or not lost_ns:
        return ""
    words = lost_in(budgets)
    most = max(words, key=parts.__getitem__)
    least = duration(sum(parts[name] for name in IDEAL))
    return (
        f"the same work could take {least} (ideal), most is lost in {words[most]} "
        f"({duration(parts[most])}{of_step(budgets, row)})"
    )


def known_to_be_lost(budgets: StepBudgets) -> str:
    """Return what most is lost in as far as is known without an ideal time; "" if that is little.

    What computing could take is not known then, so a part of it may be lost too.
    """
    if not len(budgets):
        return ""
    row, _ = row_that_lost_most(budgets, (*IDEAL, *COMPUTING))
    parts = dict(zip(PARTS, budgets.parts_ns[row].tolist(), strict=True))
    words = {name: said for name, said in lost_in(budgets).items() if name not in COMPUTING}
    most = max(words, key=parts.__getitem__)
    if parts[most] < WORTH_A_LINE * int(budgets.wall_ns[row]):
        return ""
    return (
        f"most of what is known to be lost is in {words[most]} "
        f"({duration(parts[most])}{of_step(budgets, row)})"
    )


def lost_in(budgets: StepBudgets) -> dict[str, str]:
    """Return the parts of a step that could be less, as the verdict calls them."""
    return LOST_IN | (LOST_ON_A_CPU if budgets.on_cpu else {})


def row_that_lost_most(budgets: StepBudgets, others: Sequence[str]) -> tuple[int, int]:
    """Return the position of the median step's budget on the device that lost most, and how much.

    Args:
        budgets: of the steps that count.
        others: the parts that are not lost.
    """
    rows = np.flatnonzero(budgets.step == budgets.median_step())
    kept = np.array([PARTS.index(name) for name in others])
    lost_ns = budgets.wall_ns[rows] - budgets.parts_ns[np.ix_(rows, kept)].sum(1)
    return int(rows[lost_ns.argmax()]), int(lost_ns.max())


def of_step(budgets: StepBudgets, row: int) -> str:
    """Return in words which step and device one of several budgets is of."""
    step = int(budgets.step[row])
    several = len(np.unique(budgets.step)) > 1
    where = f" in step {step}" if several else ""
    if np.count_nonzero(budgets.step == step) > 1 and not budgets.on_cpu:
        where += f" on GPU {budgets.device[row]}"
        if len(np.unique(budgets.process)) > 1:
            where += f" in process {budgets.process[row]}"
    return where


def is_other_work(budgets: StepBudgets, splits: list[GpuTimeSplit]) -> bool:
    """Return whether the windows of the steps hold much more idle time than was measured.

    GPUs lag so far behind the host then that a step on the host holds other steps' work.
    """
    measured = sum(split.wall_ns for split in splits)
    if not measured:
        return False
    causes = budgets.parts_ns[:, FIRST_CAUSE:].sum() / max(int(budgets.wall_ns.sum()), 1)
    idle = sum(split.idle_ns for split in splits) / measured
    return bool(causes - idle > MOST_APART)


def step_time(measured: MeasuredWindow, splits: list[GpuTimeSplit]) -> str:
    """Return how long a step takes; without steps, how long what was measured took."""
    times = recorded_steps(measured.chosen)
    if measured.falls_behind:
        host, gpu = duration(float(np.median(times))), duration(float(measured.step_times_ns[0]))
        of_all = f"median of {len(times)}" if len(times) > 1 else "1 step"
        return (
            f"A step takes {host} on the host ({of_all}) and {gpu} on the GPU, which falls behind"
        )
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
