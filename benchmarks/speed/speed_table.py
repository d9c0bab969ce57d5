"""The lines of the table of `benchmarks.speed.analysis_speed`, from the times of every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

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
    "work",
    "size",
    "ours",
    "NVIDIA's",
    "ratio",
    "goal",
    "verdict",
    "CPU",
    "MiB",
    "answer",
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


@dataclass(frozen=True)
class Pair:
    """A command of ours and the one of NVIDIA's that it replaces.

    Attributes:
        work: what they do.
        ours: the name of our command.
        theirs: the name of NVIDIA's.
        goals: how many times faster ours should be, by size.
    """

    work: str
    ours: str
    theirs: str
    goals: Mapping[str, Goal]


def compared_as(ours: str, theirs: str) -> str:
    """Return the name under which it is kept how an answer of ours differs from one of NVIDIA's."""
    return f"{ours} / {theirs}"


def faster(times: int) -> Goal:
    """Return the goal of being ``times`` times faster."""
    return Goal(f">= {times}x faster", times, at_least=True)


PROJECTION: Final = "nvidia nvtx_gpu_proj_sum"
PAIRS: Final = (
    Pair("rank kernels", "kernels", "cuda_gpu_kern_sum", {"1m": faster(4)}),
    Pair("project ranges", PROJECTION, "nvtx_gpu_proj_sum", {"1m": faster(10)}),
    *(Pair(f"project ranges / {name}", PROJECTION, name, {"1m": faster(4)}) for name in MODES),
    Pair("analysis.ranges / projection", "ranges", "nvtx_gpu_proj_sum", {"1m": faster(6)}),
    Pair("kernels per range", "nvidia nvtx_kern_sum", "nvtx_kern_sum", {"1m": faster(10)}),
)
IN_ALL: Final = {("kernels", "100k"): Goal("<= 0.5 s in all", 0.5)}
LESS_MEMORY: Final = {"1m": Goal("less", 1.0)}
LINEAR: Final = Goal("linear: <= 1.2x a kernel", 1.2)
"""Sorting alone takes 1.12 times as long for each of five times as many."""


def lines(everything: Sequence[ReportRuns]) -> list[Line]:
    """Return the table: each pair at each size, memory, and how ours grow."""
    found: list[Line] = []
    for one in everything:
        for pair in PAIRS:
            if pair.ours in one.runs and pair.theirs in one.runs:
                found += against(one, pair)
        if PROJECTION in one.runs and "nvtx_gpu_proj_sum" in one.runs:
            found.append(memory(one))
    for before, after in pairwise(everything):
        # Below a million the start of Python is most of it, and growth says nothing.
        if before.kernels > 500_000:
            found += grown(before, after)
    return found


def against(one: ReportRuns, pair: Pair) -> list[Line]:
    """Return the line of a pair, and one more where ours has a goal in seconds."""
    ours, theirs = one.runs[pair.ours], one.runs[pair.theirs]
    ratio = median_and_range(ratios(theirs.seconds, ours.seconds))
    line = line_of(pair.work, one.size, ratio, pair.goals.get(one.size))
    line["ours"] = spread(median_and_range(ours.seconds), "s")
    line["NVIDIA's"] = spread(median_and_range(theirs.seconds), "s")
    line["CPU"] = processor_time(ours, theirs)
    line["MiB"] = f"{peak(ours).middle:.0f} / {peak(theirs).middle:.0f}"
    difference = one.differences.get(compared_as(pair.ours, pair.theirs))
    line["answer"] = NOT_COMPARED if difference is None else "DIFFERS" if difference else "equal"
    goal = IN_ALL.get((pair.ours, one.size))
    if goal is None:
        return [line]
    seconds = median_and_range(ours.seconds)
    more = line_of(f"{pair.work}, in all", one.size, None, goal) | {"ours": spread(seconds, "s")}
    return [line, more | {"verdict": goal.verdict(seconds)}]


def processor_time(ours: Runs, theirs: Runs) -> str:
    """Return the processor time of both, and how many times ours NVIDIA's is."""
    if not (ours.cpu_seconds and theirs.cpu_seconds):
        return ""
    our_s, their_s = (median_and_range(runs.cpu_seconds).middle for runs in (ours, theirs))
    ratio = median_and_range(ratios(theirs.cpu_seconds, ours.cpu_seconds)).middle
    return f"{our_s:.2f} / {their_s:.2f} = {ratio:.2f}x"


def memory(one: ReportRuns) -> Line:
    """Return the line of the projection's memory, ours over NVIDIA's."""
    ours, theirs = one.runs[PROJECTION], one.runs["nvtx_gpu_proj_sum"]
    ratio = median_and_range(ratios(ours.peak_bytes, theirs.peak_bytes))
    line = line_of("memory of the projection", one.size, ratio, LESS_MEMORY.get(one.size))
    return line | {
        "ours": spread(peak(ours), "MiB", 0),
        "NVIDIA's": spread(peak(theirs), "MiB", 0),
    }


def grown(before: ReportRuns, after: ReportRuns) -> list[Line]:
    """Return a line for each of our commands: the time of one kernel, after over before."""
    found = []
    factor = after.kernels / before.kernels
    for name in dict.fromkeys(pair.ours for pair in PAIRS):
        if name not in before.runs or name not in after.runs:
            continue
        seconds = median_and_range(after.runs[name].seconds)
        ratio = growth(seconds, median_and_range(before.runs[name].seconds), factor)
        line = line_of(f"growth: {name}", f"{before.size} to {after.size}", ratio, LINEAR)
        megabytes = peak(before.runs[name]).middle, peak(after.runs[name]).middle
        line |= {"ours": spread(seconds, "s"), "MiB": "{:.0f} to {:.0f}".format(*megabytes)}
        found.append(line)
    return found


def line_of(work: str, size: str, ratio: Sample | None, goal: Goal | None) -> Line:
    """Return a line of the table with the cells that all lines have."""
    line = dict.fromkeys(HEADER, "") | {"work": work, "size": size}
    if ratio:
        line["ratio"] = spread(ratio, "x")
    if goal:
        line["goal"] = goal.words
        line["verdict"] = goal.verdict(ratio) if ratio else ""
    return line


def peak(runs: Runs) -> Sample:
    """Return the peak memory in MiB."""
    return median_and_range(runs.peak_bytes).scaled(1 / MIB)


def table(found: Sequence[Line]) -> str:
    """Return the lines as text."""
    return aligned(HEADER, [list(line.values()) for line in found])
