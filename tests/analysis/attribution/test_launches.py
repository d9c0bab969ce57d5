import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import Report
from analysis.arithmetic.intervals import NONE
from analysis.attribution import launches
from analysis.attribution.launches import Attribution
from analysis.source import tables
from tests.made.reports.build_report import Call, Graph, Kernel, Operator, Range, make_report
from tests.made.tools import shared


def attributed(path: Path) -> Attribution:
    """Return the attribution of a report, with its file closed after everything was read."""
    with Report(path) as report:
        attribution = Attribution.of(report)
        assert len(attribution.launches) == len(attribution.own) == len(attribution.placed)
        return attribution


def totals(path: Path) -> list[tuple[str, int, int]]:
    """Return name, count and time of the work of each range, in the order of the ranges."""
    found = attributed(path)
    count, time = launches.launched_totals(found.ranges, found.launches, found.work.duration_ns)
    names = [found.ranges.names[number] for number in found.ranges.name.tolist()]
    return list(zip(names, count.tolist(), time.tolist(), strict=True))


def innermost(path: Path) -> list[str]:
    """Return the name of the innermost range of each piece of work, "-" where there is none."""
    found = attributed(path)
    names = [found.ranges.names[number] for number in found.ranges.name.tolist()]
    return ["-" if place == NONE else names[place] for place in found.own.tolist()]


def test_a_range_has_what_it_launched_not_what_ran_meanwhile(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("mm", 200, 260, launch=20), Kernel("add", 12, 18, launch=2)],
        ranges=[Range("forward", 10, 40)],
    )
    assert totals(path) == [("forward", 1, 60)]
    assert innermost(path) == ["-", "forward"]


def test_a_launch_recorded_twice_counts_once_and_where_it_began_first(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("mm", 100, 110, correlation=1)],
        calls=[Call("cudaLaunchKernel_v7000", 12, 18, 1), Call("cudaLaunchKernel", 10, 20, 1)],
        ranges=[Range("wide", 5, 45), Range("tight", 11, 19)],
    )
    assert totals(path) == [("wide", 1, 10), ("tight", 0, 0)]


def test_kernels_without_a_launch_are_kept_and_in_no_range(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("mm", 20, 30), Kernel("mm", 30, 33, launch=11)],
        ranges=[Range("forward", 10, 40)],
    )
    found = attributed(path)
    assert found.launches.known.tolist() == [False, True]
    assert found.placed.tolist() == [False, True]
    assert len(found.work.duration_ns) == 2


def test_the_same_correlation_id_in_two_processes_is_two_launches(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[
            Kernel("a", 100, 110, correlation=1, launch=10, process=7, thread=7),
            Kernel("a", 100, 150, correlation=1, launch=10, process=8, thread=8, device=1),
        ],
        ranges=[Range("g", 5, 45, process=7, thread=7), Range("h", 5, 45, process=8, thread=8)],
    )
    assert totals(path) == [("g", 1, 10), ("h", 1, 50)]


def test_a_range_that_another_thread_ended_contains_nothing(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("mm", 100, 110, launch=20)],
        ranges=[Range("here", 10, 40, kind=60), Range("there", 11, 41, kind=60, end_thread=101)],
    )
    assert totals(path) == [("here", 1, 10), ("there", 0, 0)]
    assert innermost(path) == ["here"]


def test_a_range_that_was_never_closed_lasts_to_the_last_instant(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("mm", 100, 110, launch=20), Kernel("mm", 110, 113, launch=60)],
        ranges=[Range("open", 5, None), Range("short", 10, 50)],
    )
    assert totals(path) == [("open", 1, 10), ("short", 1, 10)]
    assert attributed(path).ranges.unclosed == 1


def test_ranges_that_overlap_without_nesting_both_have_the_launch(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("mm", 100, 110, launch=22)],
        ranges=[Range("first", 0, 30), Range("second", 20, 60, kind=60)],
    )
    assert totals(path) == [("first", 1, 10), ("second", 1, 10)]
    assert innermost(path) == ["second"]


def test_a_graph_replay_is_in_the_range_that_launched_it(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        graphs=[Graph(4, 100, 190)],
        calls=[Call("cudaGraphLaunch_v10000", 12, 15, 1)],
        ranges=[Range("step", 10, 40)],
    )
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE CUPTI_ACTIVITY_KIND_GRAPH_TRACE ADD correlationId INTEGER")
        connection.execute("UPDATE CUPTI_ACTIVITY_KIND_GRAPH_TRACE SET correlationId = 1")
        connection.commit()
    assert totals(path) == [("step", 1, 90)]


def test_operators_of_a_cpu_run_launch_themselves(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        operators=[Operator("aten::linear", 12, 30, 5), Operator("aten::mm", 15, 28, 13)],
        ranges=[Range("forward", 10, 40), Range("inner", 14, 29)],
    )
    assert totals(path) == [("forward", 2, 18), ("inner", 1, 13)]
    assert innermost(path) == ["forward", "inner"]


@pytest.mark.parametrize(
    ("name", "threads"),
    [("train-step-small-a100", {2418: 56_080_000, 1237: 91_967_403})],
)
def test_threads_of_a_real_training_step_launch_what_they_are_known_to(
    name: str, threads: dict[int, int]
) -> None:
    found = attributed(shared.report(name))
    for thread in np.unique(found.launches.thread):
        mine = found.launches.thread == thread
        time = int(found.work.duration_ns[mine].sum())
        assert time == pytest.approx(threads[int(mine.sum())], rel=1e-3)


few = st.integers(0, 9)
bounds = st.tuples(few, few).map(sorted)
places = st.sampled_from([(1, 1), (1, 2), (2, 1)])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(bounds, places), max_size=8),
    st.lists(st.tuples(bounds, places, st.integers(1, 4)), max_size=8),
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 2), st.integers(1, 4)), min_size=1),
)
def test_totals_equal_those_of_looking_at_every_launch(
    tmp_path_factory: pytest.TempPathFactory,
    some: list[tuple[list[int], tuple[int, int]]],
    called: list[tuple[list[int], tuple[int, int], int]],
    ran: list[tuple[int, int, int]],
) -> None:
    path = make_report(
        tmp_path_factory.mktemp("random") / "r.sqlite",
        kernels=[Kernel("k", 0, t, process=p, correlation=c) for t, p, c in ran],
        calls=[
            Call("c", at[0], at[1], number, thread, process)
            for at, (process, thread), number in called
        ],
        ranges=[
            Range(str(number), at[0], at[1], thread, process)
            for number, (at, (process, thread)) in enumerate(some)
        ],
    )
    expected = {str(number): [0, 0] for number in range(len(some))}
    for time, process, number in ran:
        mine = [(at, place) for at, place, one in called if (place[0], one) == (process, number)]
        if not mine:
            continue
        # Of those that begin together the longer, then that of the lower thread.
        (begin, finish), place = min(mine, key=lambda call: (call[0][0], -call[0][1], call[1]))
        for range_number, ((start, end), where) in enumerate(some):
            if where == place and start <= begin and finish <= end:
                expected[str(range_number)][0] += 1
                expected[str(range_number)][1] += time
    assert {name: [count, time] for name, count, time in totals(path)} == expected


def test_what_is_missing_from_an_old_file_leaves_work_unplaced(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", kernels=[Kernel("mm", 0, 3, launch=1)])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE CUPTI_ACTIVITY_KIND_RUNTIME")
        connection.commit()
    found = attributed(path)
    assert found.launches.thread.tolist() == [tables.MISSING]
    assert not found.placed.any()
