"""The lines of the table of `benchmarks.speed.analysis_speed`, from the times of every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from benchmarks.samples import Goal, Sample, growth, median_and_range, ratios
from benchmarks.speed.processes import Runs
from benchmarks.speed.recipe import MODES
from benchmarks.text import aligned, spread

MIB: Final = 1 << 20
LEGEND: Final = (
    "ratio: NVIDIA's time over ours; of memory ours over NVIDIA's; of growth a kernel's time, after"
    " over before.\nIn brackets the least and the most of the rounds; CPU: seconds of processor"
    " time, ours / NVIDIA's,\nand their ratio, which other work on the machine moves less; MiB:"
    " peak, ours / NVIDIA's."
)

NOT_COMPARED: Final = "not compared"

Line = dict[str, str]
HEADER: Final = (
    *("work", "size", "ours", "NVIDIA's", "ratio", "goal", "verdict", "CPU", "MiB", "answer"),
)


@dataclass(frozen=True)
class ReportRuns:
    """Everything that ran on one report.

    Attributes:
        size: what SYNTHETIC was asked for.
        kernels: how many it has.
        runs: the times of each command, by name; NVIDIA's only where they ran.
        differences: how our answers differ from NVIDIA's, by `compared_as`; "" where they do not.
    """

    size: str
    kernels: int
    runs: Mapping[str, Runs]
    differences: Mapping[str, str]


class Pair(NamedTuple):
    """A command of ours and the one of NVIDIA's that it replaces, by the names of their runs.

    Attributes:
        work: what they do.
        goal: how many times faster ours should be, at `GOALS_AT`.
    """

    work: str
    ours: str
    theirs: str
    goal: float


def compared_as(ours: str, theirs: str) -> str:
    """Return the name under which it is kept how an answer of ours differs from one of NVIDIA's."""
    return f"{ours} / {theirs}"


def read_before(name: str) -> str:
    """Return the name of the runs of a command that find the report's columns kept."""
    return f"{name}, read before"


THEIR_PROJECTION: Final = "nvtx_gpu_proj_sum"
PROJECTION: Final = f"nvidia {THEIR_PROJECTION}"
BY_OPERATOR: Final = "roofline --by operator"
REPLAY: Final = "replay"
CHANGES: Final = 4
CHANGED: Final = f"replay, {CHANGES} changes"
PAIRS: Final = (
    Pair("rank kernels", "kernels", "cuda_gpu_kern_sum", 7),
    Pair("rank kernels, read before", read_before("kernels"), "cuda_gpu_kern_sum", 12),
    Pair("project ranges", PROJECTION, THEIR_PROJECTION, 13),
    Pair("project ranges, read before", read_before(PROJECTION), THEIR_PROJECTION, 25),
    *(Pair(f"project ranges / {name}", PROJECTION, name, 5.8) for name in MODES),
    *(
        Pair(f"project ranges, read before / {name}", read_before(PROJECTION), name, 11)
        for name in MODES
    ),
    Pair("analysis.ranges / projection", "ranges", THEIR_PROJECTION, 6.5),
    Pair("ranges, read before / projection", read_before("ranges"), THEIR_PROJECTION, 13),
    Pair("budget of steps / projection", "budget", THEIR_PROJECTION, 6),
    Pair("roofline by operator / projection", BY_OPERATOR, THEIR_PROJECTION, 6),
    Pair("replay / projection", REPLAY, THEIR_PROJECTION, 4),
    Pair("kernels per range", "nvidia nvtx_kern_sum", "nvtx_kern_sum", 10),
)
GOALS_AT: Final = "1m"
"""The size for which goals beside NVIDIA's are."""

LESS_MEMORY: Final = Goal("less", 1.0)
IN_ALL: Final = {
    ("kernels", "100k"): Goal("<= 0.5 s in all", 0.5),
    (REPLAY, GOALS_AT): Goal("<= 8 s in all", 8.0),
}
A_CHANGE: Final = Goal("<= 1 s a change", 1.0)
REPLAY_MEMORY: Final = Goal("<= 1600 MB", 1600e6 / MIB)
LINEAR: Final = Goal("linear: <= 1.2x a kernel", 1.2)
"""Sorting alone takes 1.12 times as long for each of five times as many."""


def lines(everything: Sequence[ReportRuns]) -> list[Line]:
    """Return the table: each pair at each size, memory, and how ours grow."""
    found: list[Line] = []
    for one in everything:
        for pair in PAIRS:
            if pair.ours in one.runs and pair.theirs in one.runs:
                found += against(one, pair)
        if PROJECTION in one.runs and THEIR_PROJECTION in one.runs:
            found.append(memory(one))
        if REPLAY in one.runs and CHANGED in one.runs:
            found += replayed(one)
    for before, after in pairwise(everything):
        # Below a million the start of Python is most of it, and growth says nothing.
        if before.kernels > 500_000:
            found += grown(before, after)
    return found


def against(one: ReportRuns, pair: Pair) -> list[Line]:
    """Return the line of a pair, and one more where ours has a goal in seconds."""
    ours, theirs = one.runs[pair.ours], one.runs[pair.theirs]
    seconds, ratio = median_and_range(ours.seconds), ratio_of(theirs.seconds, ours.seconds)
    difference = one.differences.get(compared_as(pair.ours, pair.theirs))
    cells = {
        "ours": spread(seconds, "s"),
        "NVIDIA's": spread(median_and_range(theirs.seconds), "s"),
        "ratio": spread(ratio, "x"),
        "CPU": processor_time(ours, theirs),
        "MiB": f"{peak(ours).middle:.0f} / {peak(theirs).middle:.0f}",
        "answer": NOT_COMPARED if difference is None else "DIFFERS" if difference else "equal",
    }
    goal = Goal(f">= {pair.goal:g}x faster", pair.goal, at_least=True)
    found = [line_of(pair.work, one.size, ratio, goal if one.size == GOALS_AT else None, cells)]
    if in_all := IN_ALL.get((pair.ours, one.size)):
        cells = {"ours": cells["ours"]}
        found.append(line_of(f"{pair.work}, in all", one.size, seconds, in_all, cells))
    return found


def processor_time(ours: Runs, theirs: Runs) -> str:
    """Return the processor time of both, and how many times ours NVIDIA's is."""
    if not (ours.cpu_seconds and theirs.cpu_seconds):
        return ""
    our_s, their_s = (median_and_range(runs.cpu_seconds).middle for runs in (ours, theirs))
    ratio = ratio_of(theirs.cpu_seconds, ours.cpu_seconds).middle
    return f"{our_s:.2f} / {their_s:.2f} = {ratio:.2f}x"


def memory(one: ReportRuns) -> Line:
    """Return the line of the projection's memory, ours over NVIDIA's."""
    ours, theirs = one.runs[PROJECTION], one.runs[THEIR_PROJECTION]
    ratio = ratio_of(ours.peak_bytes, theirs.peak_bytes)
    cells = {"ours": spread(peak(ours), "MiB", 0), "NVIDIA's": spread(peak(theirs), "MiB", 0)}
    cells["ratio"] = spread(ratio, "x")
    goal = LESS_MEMORY if one.size == GOALS_AT else None
    return line_of("memory of the projection", one.size, ratio, goal, cells)


def replayed(one: ReportRuns) -> list[Line]:
    """Return the lines of each further change that is replayed, and of the memory with them."""
    once, changed = one.runs[REPLAY], one.runs[CHANGED]
    pairs = zip(changed.seconds, once.seconds, strict=True)
    each = median_and_range([(all_of_them - first) / CHANGES for all_of_them, first in pairs])
    held = one.size == GOALS_AT
    cells = {"ours": spread(each, "s")}
    most = {"ours": spread(peak(changed), "MiB", 0)}
    return [
        line_of("replay, a further change", one.size, each, A_CHANGE if held else None, cells),
        line_of(
            "memory of the replays", one.size, peak(changed), REPLAY_MEMORY if held else None, most
        ),
    ]


def grown(before: ReportRuns, after: ReportRuns) -> list[Line]:
    """Return a line for each of our commands: the time of one kernel, after over before."""
    found = []
    factor, size = after.kernels / before.kernels, f"{before.size} to {after.size}"
    for name in dict.fromkeys(pair.ours for pair in PAIRS):
        if name not in before.runs or name not in after.runs:
            continue
        seconds = median_and_range(after.runs[name].seconds)
        ratio = growth(seconds, median_and_range(before.runs[name].seconds), factor)
        peaks = (peak(one.runs[name]).middle for one in (before, after))
        cells = {"ours": spread(seconds, "s"), "MiB": "{:.0f} to {:.0f}".format(*peaks)}
        cells["ratio"] = spread(ratio, "x")
        found.append(line_of(f"growth: {name}", size, ratio, LINEAR, cells))
    return found


def line_of(
    work: str, size: str, held: Sample, goal: Goal | None, cells: Mapping[str, str]
) -> Line:
    """Return a line of the table, with the verdict on what is held against the goal."""
    against_goal = {"goal": goal.words, "verdict": goal.verdict(held)} if goal else {}
    return {**dict.fromkeys(HEADER, ""), "work": work, "size": size, **against_goal, **cells}


def ratio_of(above: Sequence[float], below: Sequence[float]) -> Sample:
    """Return ``above / below``, taken round by round."""
    return median_and_range(ratios(above, below))


def peak(runs: Runs) -> Sample:
    """Return the peak memory in MiB."""
    return median_and_range(runs.peak_bytes).scaled(1 / MIB)


def table(found: Sequence[Line]) -> str:
    """Return the lines as text."""
    return aligned(HEADER, [list(line.values()) for line in found])
