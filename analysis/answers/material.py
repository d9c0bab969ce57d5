"""What the answers to the assignment's questions are made of: work by phase, and a benchmark."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analysis import kernels
from analysis.arithmetic.arrays import Bools, Int64
from analysis.attribution import work_phases
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Selection
from analysis.measures.gemm_calls import GemmCalls, gemm_calls
from analysis.measures.step_times import LONGEST_NS
from analysis.show.errors import ReportError
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.attribution.work_phases import WorkPhases
    from analysis.recorded.work import Work
    from analysis.source.report import Report


Benchmark = dict[str, list[float]]
"""``forward_ns`` and ``backward_ns``, or one of them: one time a step."""


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
        return cls(chosen, work_phases.phases_of_work(chosen.attribution), benchmark)

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
        """Return how long each instance of a phase was open on the host."""
        ranges = self.attribution.ranges
        return ranges.wall_ns[ranges.called(phase) & self.chosen.ranges]

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
    """Return the step times of a benchmark's JSON.

    Raises:
        ReportError: it cannot be read, or has no such times.
    """
    remedy = "give the file that the benchmark's --json wrote"
    try:
        known = json.loads(Path(path).read_text())
    except OSError as error:
        raise ReportError(path, f"cannot be read ({error.strerror})", remedy) from None
    except (ValueError, RecursionError):
        raise ReportError(path, "no JSON", remedy) from None
    keys = ("forward_ns", "backward_ns")
    found = {key: known[key] for key in keys if isinstance(known, dict) and known.get(key)}
    for times_ns in found.values():
        if not isinstance(times_ns, list) or not all(
            isinstance(time, int | float) and 0 < time < LONGEST_NS for time in times_ns
        ):
            raise ReportError(path, f"{' and '.join(keys)} must be lists of times in ns", remedy)
    if not found:
        raise ReportError(path, f"has neither {' nor '.join(keys)}", remedy)
    return found
