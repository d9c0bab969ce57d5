"""Rows whose times make no sense do not count, and are told; totals are those of the others."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from analysis import Report, ReportError
from analysis.arithmetic.sensible_times import FARTHEST_NS, LONGEST_NS, all_make_sense, make_sense
from tests.made.commands.in_process import run_command
from tests.made.reports.build_report import Kernel, Operator, Range, make_report

MOST, LEAST = 2**63 - 1, -(2**63)
TIMES = (LEAST, -FARTHEST_NS - 1, -FARTHEST_NS, -1, 0, 7, LONGEST_NS, FARTHEST_NS, MOST)


@pytest.mark.parametrize("start", TIMES)
@pytest.mark.parametrize("end", TIMES)
def test_a_row_makes_sense_by_exact_arithmetic(start: int, end: int) -> None:
    wanted = -FARTHEST_NS <= start <= end <= FARTHEST_NS and end - start <= LONGEST_NS
    columns = np.array([start]), np.array([end])
    assert make_sense(*columns).tolist() == [wanted]
    assert all_make_sense(*columns) == wanted


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """Three kernels of 20 ns in a range each, and three ranges."""
    starts = (10, 40, 70)
    return make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("k", start, start + 20, launch=start) for start in starts],
        ranges=[Range("part", start - 1, start + 5) for start in starts],
    )


def change(path: Path, sql: str) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(sql)
        connection.commit()
    return path


@pytest.mark.parametrize(
    "times",
    ['"end" = start - 1', f"start = {LEAST}", f'"end" = {MOST}', f'start = -{1 << 62}, "end" = 0'],
)
def test_a_kernel_of_impossible_times_is_left_out_and_told(report: Path, times: str) -> None:
    change(report, f"UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET {times} WHERE start = 40")
    done = run_command("analysis.kernels", report, "--format", "csv")
    assert done.returncode == 0
    assert [line.split(",")[2:4] for line in done.stdout.splitlines()[1:]] == [["2", "40"]]
    assert "note: 1 row of CUPTI_ACTIVITY_KIND_KERNEL in r.sqlite left out" in done.stderr
    assert run_command("analysis.ranges", report).stderr.count("left out") == 1
    with Report(report) as opened:
        assert opened.ranges()["kernel_ns"].tolist() == [40]
        assert opened.left_out == {"CUPTI_ACTIVITY_KIND_KERNEL": 1}


def test_a_range_that_ends_before_it_begins_is_left_out(report: Path) -> None:
    change(report, 'UPDATE NVTX_EVENTS SET "end" = start - 3 WHERE start = 39')
    with Report(report) as opened:
        found = opened.ranges()
    assert (found["instances"].tolist(), found["wall_ns"].tolist()) == ([2], [12])
    assert opened.left_out == {"NVTX_EVENTS": 1}


def test_an_operator_with_more_self_time_than_time_is_left_out(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        operators=[Operator("aten::mm", 0, 10, 10), Operator("aten::mm", 20, 30, 11)],
    )
    with Report(path) as opened:
        assert opened.kernels()["total_ns"].tolist() == [10]
    assert sum(opened.left_out.values()) == 1


def test_times_that_cannot_be_added_up_are_refused(tmp_path: Path) -> None:
    kernels = [Kernel("k", 0, LONGEST_NS, stream=number) for number in range(9)]
    path = make_report(tmp_path / "r.sqlite", kernels=kernels)
    said = "times or sizes in CUPTI_ACTIVITY_KIND_KERNEL are too large to be added up"
    with Report(path) as opened, pytest.raises(ReportError, match=said):
        opened.kernels()


def test_nvidia_s_reports_count_what_ends_before_it_begins(report: Path) -> None:
    change(report, 'UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET "end" = start - 4 WHERE start = 40')
    done = run_command("analysis.nvidia", report, "--format", "csv")
    assert done.stdout.splitlines()[1].startswith("100.0,36,3,12.0,20.0,-4,20,")
    assert "left out" not in done.stderr
