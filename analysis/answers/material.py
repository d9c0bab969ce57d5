"""What the answers to the assignment's questions are made of: work by phase, and a benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypedDict, cast

import numpy as np

from analysis import kernels
from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.statistics import sums
from analysis.attribution import work_phases
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Selection
from analysis.measures.gemm_calls import GemmCalls, gemm_calls
from analysis.measures.step_times import LONGEST_NS
from analysis.show.errors import ReportError
from analysis.source.json_files import read_json
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.attribution.work_phases import WorkPhases
    from analysis.recorded.work import Work
    from analysis.source.report import Report


class Benchmark(TypedDict, total=False):
    """What a benchmark measured.

    Attributes:
        forward_ns: of forward passes, one time a step.
        backward_ns: of backward passes.
        settings: what was run, as `Report.run` tells it of a report.
    """

    forward_ns: list[float]
    backward_ns: list[float]
    settings: dict[str, str]


SHAPE: Final = ("d_model", "d_ff", "num_layers", "num_heads", "vocab_size")
COMPARED: Final = (
    *("size", *SHAPE, "batch", "context", "dtype", "autocast", "tf32", "attention", "compile"),
    *("checkpoint", "device_name"),
)
"""What a benchmark and a report must have in common for their times to compare."""


@dataclass(frozen=True)
class Material:
    """The part of a report that the five answers are made of.

    Attributes:
        chosen: the part of a report that counts.
        phases: the phase of each piece of work.
        benchmark: step times measured without a profiler, where they were given.
    """

    chosen: Selected
    phases: WorkPhases
    benchmark: Benchmark

    @classmethod
    def of(cls, report: Report, benchmark: Benchmark, asked: Selection) -> Material:
        """Return the material of a report."""
        chosen = Selected.of(report, asked)
        phases = work_phases.phases_of_work(chosen.attribution, warmup_counts=chosen.warmup_counts)
        return cls(chosen, phases, benchmark)

    @property
    def attribution(self) -> Attribution:
        """The attributed work, all of it."""
        return self.chosen.attribution

    @property
    def kept(self) -> Bools:
        """``(N,)`` which of the report's ranked work counts."""
        return self.chosen.work

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the report is left out."""
        return self.chosen.selection.is_plain and not self.chosen.leaves_warmup_out

    def walls_ns(self, phase: str) -> Int64:
        """Return ``(F,)`` how long each instance of a phase was open on the host."""
        return self.times_ns(phase)[0]

    def times_ns(self, phase: str) -> tuple[Int64, Int64]:
        """Return for each instance of a phase that counts how long it was open, and its work took.

        Returns:
            ``(F,)`` times on the host, and ``(F,)`` sums of the work that was launched in each.
        """
        phases, work = self.phases, self.attribution.work
        if phase not in phases.labels:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        chosen = phases.label == phases.labels.index(phase)
        chosen &= self.chosen.ranges[phases.taken]
        place, _ = work_phases.ranges_around(self.attribution.launches, phases.ranges)
        placed = self.kept & (place != NONE)
        taken = sums(place[placed], work.duration_ns[placed], len(phases.ranges))
        return phases.ranges.wall_ns[chosen], taken[chosen]

    def is_of_warmup(self, phase: str) -> bool:
        """Whether a phase ran in the warm-up, which is left out, and at no other time."""
        left_out = self.chosen.leaves_warmup_out
        return left_out and phase in work_phases.phases_of_warmup(self.attribution)

    @property
    def other_settings(self) -> str:
        """In words what the benchmark ran otherwise than the report; "" where that is not known."""
        theirs, ours = self.benchmark.get("settings", {}), self.attribution.report.run
        differ = [
            key for key in COMPARED if key in theirs and key in ours and theirs[key] != ours[key]
        ]
        if "size" in differ:
            differ = [key for key in differ if key not in SHAPE]
        return "; ".join(f"{key} {theirs[key]} instead of {ours[key]}" for key in differ)

    def in_phase(self, phase: str) -> Work:
        """Return the work of a phase; of none where there is no such phase."""
        labels = self.phases.labels
        number = labels.index(phase) if phase in labels else len(labels)
        return self.attribution.work.take(self.kept & (self.phases.phase == number))

    def gemms(self) -> GemmCalls | None:
        """Return how many matrix products one forward launches; None where there is no forward."""
        passes = len(self.walls_ns(names.FORWARD))
        if not passes or names.FORWARD not in self.phases.labels:
            return None
        forward = self.phases.phase == self.phases.labels.index(names.FORWARD)
        return gemm_calls(self.chosen, self.kept & forward, passes)

    @property
    def noun(self) -> str:
        """The word for what is ranked: kernel, or operator."""
        return self.attribution.work.source


def one_forward(material: Material) -> tuple[Work, int, str]:
    """Return the work of the forward passes, how many they are, and what to call one."""
    count = len(material.walls_ns(names.FORWARD))
    if count:
        return material.in_phase(names.FORWARD), count, "one forward"
    return (
        material.attribution.work.take(material.kept),
        1,
        f"the {'whole report' if material.is_whole else 'part that counts'} (it has no forward "
        "range)",
    )


def shares(material: Material, work: Work) -> dict[str, float]:
    """Return the share of each category in the time of some work."""
    rows = kernels.rank(material.attribution.report, work, by="category").rows()
    return {str(row["name"]): float(row["share"]) for row in rows}


def read_benchmark(path: str) -> Benchmark:
    """Return the step times of a benchmark's JSON, and what it ran, where it says so.

    Raises:
        ReportError: it cannot be read, or has no such times.
    """
    remedy = "give the file that the benchmark's --json wrote"
    known = read_json(path, remedy)
    keys = ("forward_ns", "backward_ns")
    found = {key: known[key] for key in keys if isinstance(known, dict) and known.get(key)}
    for times_ns in found.values():
        if not isinstance(times_ns, list) or not all(
            isinstance(time, int | float) and 0 < time < LONGEST_NS for time in times_ns
        ):
            raise ReportError(path, f"{' and '.join(keys)} must be lists of times in ns", remedy)
    if not found:
        raise ReportError(path, f"has neither {' nor '.join(keys)}", remedy)
    return cast(Benchmark, {**found, "settings": settings_of(known)})


def settings_of(known: dict[str, Any]) -> dict[str, str]:
    """Return the settings that a benchmark's JSON holds, each as a report notes it.

    >>> settings_of({"settings": {"batch": 4, "autocast": None, "config": {"d_model": 64}}})
    {'batch': '4', 'autocast': 'none', 'd_model': '64'}
    """
    parts = [known.get("settings"), known.get("facts")]
    fields = {
        name: value for part in parts if isinstance(part, dict) for name, value in part.items()
    }
    shape = fields.get("config")
    fields |= shape if isinstance(shape, dict) else {}
    words = {None: "none", True: "true", False: "false"}
    return {
        name: words[value] if value is None or isinstance(value, bool) else str(value)
        for name, value in fields.items()
        if name in COMPARED
    }
