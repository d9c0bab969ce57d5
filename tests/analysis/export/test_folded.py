"""Folded stacks add up to the time of the report, whatever ranges and work are called."""

from pathlib import Path

import numpy as np
import pytest

from analysis import Report, ReportError
from analysis.arithmetic.union import IntervalUnion
from analysis.attribution.launches import Attribution
from analysis.costs.costed_calls import costed_calls
from analysis.costs.device_peaks import DevicePeaks, ideal_of_work, ideal_times
from analysis.export.folded_stacks import folded_stacks
from analysis.recorded.device_work import device_work
from analysis.recorded.work import ranked_work
from tests.made.reports.build_report import Kernel, Memory, Operator, Range, make_report
from tests.made.tools.shared import ROOT, WITH_KERNELS, report

SAMPLE = ROOT / "nsys_reports" / "sample.sqlite"


def stacks(path: Path, by: str = "kernel") -> dict[str, int]:
    """Return the stacks of a report."""
    with Report(path) as opened:
        return folded_stacks([opened], by).time_ns


def test_a_stack_is_the_ranges_from_the_outermost_and_the_work_last(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[
            Kernel("gemm", 100, 110, launch=12),
            Kernel("gemm", 110, 125, launch=32),
            Kernel("relu", 130, 133, launch=22),
            Kernel("stray", 140, 147, launch=60),
            Kernel("unlaunched", 150, 151),
        ],
        ranges=[
            Range("warmup", 0, 8),
            Range("step", 10, 50),
            Range("forward", 11, 40),
            Range("attention", 12, 20),
            Range("attention", 31, 39),
        ],
    )
    assert stacks(path) == {
        "step;forward;attention;gemm": 25,
        "step;forward;relu": 3,
        "(no range);stray": 7,
        "(no range);unlaunched": 1,
    }


def test_warmup_counts_and_autograds_thread_stands_below_the_one_that_waits(
    tmp_path: Path,
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[
            Kernel("early", 100, 101, launch=2),
            Kernel("grad", 110, 130, launch=22, thread=101),
        ],
        ranges=[
            Range("warmup", 0, 5),
            Range("step", 10, 50),
            Range("backward", 20, 40),
            Range("loss.backward", 21, 39),
            Range("MmBackward0, seq = 7", 21, 30, thread=101),
        ],
    )
    assert stacks(path) == {
        "warmup;early": 1,
        "step;backward;loss.backward;MmBackward0;grad": 20,
    }


def test_busy_time_counts_no_instant_twice_and_copies_too(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[
            Kernel("long", 0, 100),
            Kernel("inside", 20, 30, stream=9),
            Kernel("after", 90, 120, stream=9),
            Kernel("other", 0, 10, device=1),
        ],
        memory=[Memory(110, 150, 5, correlation=9)],
    )
    assert stacks(path, "busy") == {
        "(no range);long": 80,
        "(no range);inside": 10,
        "(no range);after": 20,
        "(no range);other": 10,
        "(no range);memcpy Host-to-Device": 40,
    }


def test_names_break_no_stack_and_no_line(tmp_path: Path) -> None:
    names = ["a;b", "two\nlines\r", " ", "\x1b[31mred", "a b 12"]
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel(name, 10 * n, 10 * n + 5, launch=2) for n, name in enumerate(names)],
        ranges=[Range("x;y\nz", 0, 9)],
    )
    with Report(path) as opened:
        lines = folded_stacks([opened]).lines()
    assert lines == [
        "x:y\\nz;(unnamed) 5\n",
        "x:y\\nz;\\x1b[31mred 5\n",
        "x:y\\nz;a b 12 5\n",
        "x:y\\nz;a:b 5\n",
        "x:y\\nz;two\\nlines\\r 5\n",
    ]


def test_operators_stand_in_for_kernels_by_self_time(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        operators=[Operator("aten::linear", 1, 10, 3), Operator("aten::addmm", 2, 8, 6)],
        ranges=[Range("forward", 0, 12)],
    )
    expected = {"forward;aten::linear": 3, "forward;aten::addmm": 6}
    assert stacks(path) == stacks(path, "busy") == expected


def test_several_reports_have_a_root_each(tmp_path: Path) -> None:
    paths = [
        make_report(tmp_path / f"{rank}.sqlite", kernels=[Kernel("k", 0, 5 + rank)], run=run)
        for rank, run in enumerate(({"rank": "0"}, {}))
    ]
    with Report(paths[0]) as one, Report(paths[1]) as other:
        found = folded_stacks([one, other])
    assert found.time_ns == {"rank 0;(no range);k": 5, "1.sqlite;(no range);k": 6}
    assert found.total_ns == 11


@pytest.mark.parametrize("name", [*WITH_KERNELS, None])
def test_stacks_of_real_reports_add_up_to_their_time(name: str | None) -> None:
    path = report(name) if name else SAMPLE
    assert sum(stacks(path).values()) == total_ns(path)
    if name:
        assert sum(stacks(path, "busy").values()) == busy_ns(path)


def total_ns(path: Path) -> int:
    with Report(path) as opened:
        return int(ranked_work(opened).duration_ns.sum())


def busy_ns(path: Path) -> int:
    """Return the busy time of every GPU of every process."""
    with Report(path) as opened:
        done = device_work(opened)
        total = 0
        for place in {*zip(done.process.tolist(), done.device.tolist(), strict=True)}:
            mine = (done.process == place[0]) & (done.device == place[1])
            total += IntervalUnion.of(done.start_ns[mine], done.end_ns[mine]).busy_ns
        return total


@pytest.mark.parametrize("name", ["train-step-small-a100", None])
def test_lost_time_is_measured_less_ideal_and_what_cannot_be_shown_is_told(
    name: str | None,
) -> None:
    path = report(name) if name else SAMPLE
    with Report(path) as opened:
        attribution = Attribution.of(opened)
        took = attribution.work.duration_ns
        calls = costed_calls(attribution)
        peaks = DevicePeaks.of(opened, attribution.work)
        ideal = ideal_of_work(calls, ideal_times(calls, peaks), took)
        known = ~np.isnan(ideal)
        lost = int((took[known] - np.round(ideal[known]).astype(np.int64)).sum())
        found = folded_stacks([opened], "lost")
    [faster] = [note for note in found.notes if "faster than their ideal" in note]
    below = int(faster.split(", by ")[1].split(" ns")[0].replace(",", ""))
    assert found.total_ns - below == lost
    assert all(time > 0 for time in found.time_ns.values())


def test_without_known_peaks_no_time_is_known_to_be_lost(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", kernels=[Kernel("k", 0, 5)])
    with Report(path) as opened, pytest.raises(ReportError, match="ask --by kernel"):
        folded_stacks([opened], "lost")


def test_ranges_alone_have_no_stacks(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", ranges=[Range("a", 0, 5)])
    for by in ("kernel", "busy", "lost"):
        with Report(path) as opened, pytest.raises(ReportError, match="record"):
            folded_stacks([opened], by)
