"""Which steps there are, and what each contains."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from analysis import Report
from analysis.attribution import steps
from analysis.attribution.launches import Attribution
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Selection
from analysis.attribution.steps import Steps
from analysis.measures import step_contents
from analysis.measures.step_contents import StepContents
from tests.made.reports.build_report import Graph, Kernel, Operator, Range, global_id, make_report

AUTOGRAD = 101


def found_steps(path: Path, *, exclude_warmup: bool = True) -> Steps | None:
    with Report(path) as report:
        return steps.steps_of_report(Attribution.of(report), warmup_counts=not exclude_warmup)


def contents(path: Path, *, exclude_warmup: bool = True, whole: bool = False) -> StepContents:
    with Report(path) as report:
        asked = Selection(exclude=() if exclude_warmup else ("none",))
        return step_contents.step_contents(Selected.of(report, asked), whole=whole)


def windows(known: Steps | None) -> list[tuple[int, int, int]]:
    """Return number, start and end of each window."""
    assert known is not None
    columns = known.number, known.start_ns, known.end_ns
    return list(zip(*(column.tolist() for column in columns), strict=True))


def with_ranges(path: Path, *ranges: Range) -> Path:
    return make_report(path, ranges=ranges, kernels=[Kernel("k", 500, 510, launch=1)])


def add_copy(path: Path, start: int, end: int, launch: int) -> None:
    """Add a copy of device 0, and its call, to a report."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS CUPTI_ACTIVITY_KIND_MEMCPY (start INTEGER, "
            '"end" INTEGER, deviceId INTEGER, correlationId INTEGER, globalPid INTEGER, '
            "bytes INTEGER, copyKind INTEGER, srcKind INTEGER, dstKind INTEGER)"
        )
        correlation = 1_000_000 + launch
        copy = (start, end, 0, correlation, global_id(100), 8, 1, 1, 2)
        connection.execute(
            f"INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY VALUES ({', '.join('?' * len(copy))})", copy
        )
        call = (launch, launch + 1, 0, global_id(100, 100), correlation, 1, 0)
        connection.execute("INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (?,?,?,?,?,?,?)", call)
        connection.commit()


@pytest.mark.parametrize("name", ["step", "train_step", "training step", "Step", "ProfilerStep#7"])
def test_a_step_may_have_any_of_its_names(name: str, tmp_path: Path) -> None:
    path = with_ranges(tmp_path / "r.sqlite", Range(name, 0, 10))
    assert windows(found_steps(path)) == [(0, 0, 10)]


def test_a_report_without_steps_has_none(tmp_path: Path) -> None:
    assert found_steps(with_ranges(tmp_path / "r.sqlite", Range("forward", 0, 10))) is None


def test_steps_are_numbered_as_they_begin(tmp_path: Path) -> None:
    path = with_ranges(
        tmp_path / "r.sqlite", Range("step", 20, 30), Range("step", 0, 10), Range("step", 10, 20)
    )
    assert windows(found_steps(path)) == [(0, 0, 10), (1, 10, 20), (2, 20, 30)]


def test_a_step_inside_a_step_is_none_of_its_own(tmp_path: Path) -> None:
    path = with_ranges(
        tmp_path / "r.sqlite",
        Range("iteration", 0, 10),
        Range("step", 1, 9),
        Range("step", 5, 15, thread=AUTOGRAD),
        Range("step", 10, 20),
    )
    known = found_steps(path)
    assert windows(known) == [(0, 0, 10), (1, 10, 20)]
    assert known is not None
    assert known.notes == ("2 step ranges began inside another; the outer ones count",)


def test_only_warm_up_makes_no_steps(tmp_path: Path) -> None:
    path = with_ranges(tmp_path / "r.sqlite", Range("warmup", 0, 10), Range("loop", 10, 90))
    assert found_steps(path, exclude_warmup=False) is None


def test_warm_up_steps_are_left_out_or_are_steps_themselves(tmp_path: Path) -> None:
    path = with_ranges(
        tmp_path / "r.sqlite",
        Range("warmup", 0, 10),
        Range("warmup", 10, 30),
        Range("step", 11, 20),
        Range("step", 20, 30),
        Range("step", 30, 40),
    )
    assert windows(found_steps(path)) == [(0, 30, 40)]
    assert windows(found_steps(path, exclude_warmup=False)) == [
        (0, 0, 10),  # our launcher's: a step without a step range
        (1, 11, 20),
        (2, 20, 30),
        (3, 30, 40),
    ]


def test_the_same_step_of_two_processes_is_one_step(tmp_path: Path) -> None:
    ranges = [Range("step", 10 * n, 10 * n + 10 - n, process=100) for n in range(2)]
    ranges += [Range("step", 10 * n, 10 * n + 8, process=200, thread=200) for n in range(2)]
    known = found_steps(with_ranges(tmp_path / "r.sqlite", *ranges))
    assert windows(known) == [(0, 0, 10), (1, 10, 19), (0, 0, 8), (1, 10, 18)]
    assert known is not None
    assert known.count == 2
    assert known.wall_ns.tolist() == [10, 9]
    assert known.notes == ()


def test_processes_with_more_and_fewer_steps_are_said(tmp_path: Path) -> None:
    ranges = [Range("step", 10 * n, 10 * n + 9) for n in range(3)]
    ranges.append(Range("step", 0, 9, process=200, thread=200))
    known = found_steps(with_ranges(tmp_path / "r.sqlite", *ranges))
    assert known is not None
    assert known.count == 3
    assert "from 1 to 3 steps" in known.notes[0]


def test_work_is_in_the_step_that_was_open_when_it_was_launched(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 100), Range("step", 100, 200), Range("forward", 110, 150)],
        kernels=[
            Kernel("late", 300, 310, launch=99),
            Kernel("next", 310, 320, launch=100),
            Kernel("backward", 320, 330, launch=120, thread=AUTOGRAD),
            Kernel("after", 330, 340, launch=200),
            Kernel("other process", 340, 350, launch=50, process=200, thread=200),
            Kernel("no launch", 350, 360),
        ],
    )
    found = contents(path)
    assert found.work.tolist() == [0, 1, 1, -1, -1, -1]
    assert found.ranges.tolist() == [0, 1, 1]
    assert found.wall_ns.tolist() == [100, 100]
    assert found.busy_ns.tolist() == [10, 20]
    assert found.busy_calls.tolist() == [1, 2]
    assert found.notes == ("left out, in no step: 3 kernels, 30 ns (1 without a recorded launch)",)


def test_busy_is_the_union_on_each_device_of_kernels_and_copies(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 100)],
        kernels=[
            Kernel("a", 200, 230, launch=1, stream=7),
            Kernel("b", 220, 240, launch=2, stream=8),
            Kernel("c", 220, 225, launch=3, device=1),
        ],
    )
    add_copy(path, 235, 250, launch=5)
    add_copy(path, 300, 301, launch=150)
    found = contents(path)
    assert found.busy_ns.tolist() == [50 + 5]
    assert found.busy_calls.tolist() == [4]


def test_a_whole_report_is_busy_in_its_window_and_leaves_warm_up_out(tmp_path: Path) -> None:
    """From the forward pass on to the end of what it launched: 110 to 120."""
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("warmup", 0, 50), Range("forward", 50, 90)],
        kernels=[
            Kernel("warm", 100, 110, launch=10),
            Kernel("a", 110, 120, launch=60),
            Kernel("stray", 130, 140),
        ],
        graphs=[Graph(1, 150, 170)],
    )
    found = contents(path)
    assert (found.steps, found.count) == (None, 1)
    assert found.work.tolist() == [-1, 0, 0, 0]
    assert found.ranges.tolist() == [-1, 0]
    assert (found.busy_ns.tolist(), found.wall_ns.tolist()) == ([10], [10])
    assert contents(path, exclude_warmup=False).busy_ns.tolist() == [50]


def test_steps_are_overlooked_where_the_whole_is_asked_for(tmp_path: Path) -> None:
    path = with_ranges(tmp_path / "r.sqlite", Range("step", 0, 10), Range("step", 10, 20))
    found = contents(path, whole=True)
    assert (found.steps, found.count, found.busy_ns.tolist()) == (None, 1, [10])


def test_on_a_cpu_operators_launch_themselves_and_nothing_is_busy(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 50), Range("step", 50, 120)],
        operators=[
            Operator("aten::mm", 10, 20, 10),
            Operator("aten::mm", 60, 90, 30, thread=AUTOGRAD),
            Operator("aten::mm", 150, 160, 10),
        ],
    )
    found = contents(path)
    assert found.work.tolist() == [0, 1, -1]
    assert found.wall_ns.tolist() == [50, 70]
    assert found.busy_ns.tolist() == [0, 0]
    assert contents(path, whole=True).wall_ns.tolist() == [150]


def test_instants_outside_any_window_are_in_no_step() -> None:
    process, start, end, number = np.array([[1, 1, 2], [0, 20, 0], [10, 30, 30], [0, 1, 0]])
    known = Steps(process, start, end, number)
    found = known.at(np.array([0, 10, 15, 20, 29, 30, 15, 5]), np.array([1, 1, 1, 1, 1, 1, 2, 3]))
    assert found.tolist() == [0, -1, -1, 1, 1, -1, 0, -1]
