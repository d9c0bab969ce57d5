from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import Report, kernels
from analysis.arithmetic.intervals import (
    MANY_THREADS,
    NONE,
    parents,
    previous_at_least,
    roots_of_repeats,
    self_times,
)
from analysis.recorded import operators
from profiling.names import OPERATOR_DOMAIN
from tests.made.reports.build_report import Operator, Range, make_report

bounds = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6), st.integers(1, 2)), max_size=30)


def arrays(drawn: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return starts, ends and threads."""
    start = np.array([start for start, _, _ in drawn], np.int64)
    length = np.array([length for _, length, _ in drawn], np.int64)
    return start, start + length, np.array([thread for _, _, thread in drawn], np.int64)


def looked_for(start: np.ndarray, end: np.ndarray, thread: np.ndarray) -> list[int]:
    """Return each interval's parent by looking at every other interval."""
    found = []
    for own in range(len(start)):
        key = (start[own], -end[own], own)
        containers = [
            (start[other], -end[other], other)
            for other in range(len(start))
            if thread[other] == thread[own]
            and end[other] >= end[own]
            and (start[other], -end[other], other) < key
        ]
        found.append(max(containers)[2] if containers else NONE)
    return found


@given(bounds)
def test_parents_are_those_found_by_looking_at_every_interval(
    drawn: list[tuple[int, int, int]],
) -> None:
    start, end, thread = arrays(drawn)
    assert parents(start, end, thread).tolist() == looked_for(start, end, thread)


@given(bounds)
def test_parents_of_many_threads_are_those_of_each_by_itself(
    drawn: list[tuple[int, int, int]],
) -> None:
    start, end, thread = arrays(drawn)
    count, copies = len(start), MANY_THREADS
    threads = np.concatenate([thread + 10 * copy for copy in range(copies)])
    moved = np.repeat(np.arange(copies), count) * 7 % 5
    found = parents(np.tile(start, copies) + moved, np.tile(end, copies) + moved, threads)
    alone = np.array(looked_for(start, end, thread), np.int64)
    for copy in range(copies):
        mine = found[copy * count : (copy + 1) * count]
        assert np.where(mine == NONE, NONE, mine - copy * count).tolist() == alone.tolist()


@given(st.lists(st.integers(-5, 5), max_size=70))
def test_the_nearest_predecessor_that_is_no_smaller(values: list[int]) -> None:
    found = previous_at_least(np.array(values, np.int64)).tolist()
    assert found == [
        max((before for before in range(own) if values[before] >= values[own]), default=NONE)
        for own in range(len(values))
    ]


def test_of_two_with_the_same_bounds_the_earlier_row_is_the_outer() -> None:
    assert parents(np.array([3, 3]), np.array([9, 9])).tolist() == [NONE, 0]


def test_overlap_without_nesting_is_no_containment() -> None:
    assert parents(np.array([0, 5]), np.array([8, 12])).tolist() == [NONE, NONE]


def test_a_thousand_deep_and_then_a_thousand_beside() -> None:
    deep = np.arange(1000)
    start = np.concatenate([deep, 5000 + deep])
    end = np.concatenate([4000 - deep, 5001 + deep])
    expected = [NONE, *range(999), *[NONE] * 1000]
    assert parents(start, end).tolist() == expected


def test_self_times_of_nested_ranges_add_up_to_the_outermost() -> None:
    start, end = np.array([0, 1, 2, 5]), np.array([10, 4, 3, 9])
    own = self_times(start, end, parents(start, end))
    assert own.tolist() == [3, 2, 1, 4]
    assert own.sum() == 10


def test_a_call_alone_in_one_of_its_own_name_is_the_same_call() -> None:
    parent = np.array([NONE, 0, 1, NONE, 3, 3])
    name = np.array([7, 7, 7, 7, 7, 7])
    assert roots_of_repeats(parent, name).tolist() == [0, 0, 0, 3, 4, 5]


def cpu_ranges(*ranges: tuple[str, int, int], thread: int = 100) -> list[Range]:
    """Return operators as nsys records them without a GPU."""
    return [Range(*each, domain=OPERATOR_DOMAIN, registered=True, thread=thread) for each in ranges]


def ranked(path: Path) -> list[tuple[object, object, object, object]]:
    """Return name, calls, self time and source of each row."""
    with Report(path) as report:
        rows = kernels.ranking(report).rows()
    return [(row["name"], row["calls"], row["total_ns"], row["source"]) for row in rows]


def test_ranges_in_the_operators_domain_are_ranked_by_self_time(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("step", 0, 100),
            *cpu_ranges(("aten::linear", 0, 20), ("aten::mm", 2, 18), ("aten::mm", 30, 40)),
            Range("aten::not_in_the_domain", 50, 60),
            Range("aten::elsewhere", 50, 60, domain="CCCL"),
        ],
    )
    assert ranked(path) == [("aten::mm", 2, 26, "operator"), ("aten::linear", 1, 4, "operator")]


def test_an_operator_alone_in_its_own_name_is_one_call_with_both_times(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=cpu_ranges(
            ("aten::to", 0, 10), ("aten::to", 1, 9), ("aten::copy_", 2, 5), ("aten::sum", 6, 8)
        ),
    )
    assert ranked(path) == [
        ("aten::to", 1, 5, "operator"),
        ("aten::copy_", 1, 3, "operator"),
        ("aten::sum", 1, 2, "operator"),
    ]


def test_threads_do_not_nest_in_each_other(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            *cpu_ranges(("aten::mm", 0, 10)),
            *cpu_ranges(("aten::mul", 1, 9), thread=101),
        ],
    )
    assert [row[2] for row in ranked(path)] == [10, 8]


def test_a_domain_of_that_name_in_another_process_with_the_same_number_is_not_ours(
    tmp_path: Path,
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("aten::mm", 0, 10, domain=OPERATOR_DOMAIN, process=1, thread=1),
            Range("aten::other", 0, 99, domain="elsewhere", process=2, thread=2),
        ],
    )
    with Report(path) as report:
        calls = operators.cpu_operators(report)
    assert calls.names == ["aten::mm"]


def test_names_as_text_and_registered_names_are_the_same(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("aten::mm", 0, 10, domain=OPERATOR_DOMAIN),
            Range("aten::mm", 20, 30, domain=OPERATOR_DOMAIN, registered=True),
        ],
    )
    assert ranked(path) == [("aten::mm", 2, 20, "operator")]


def test_a_range_that_was_never_closed_has_no_time_and_is_left_out(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("aten::mm", 0, 10, domain=OPERATOR_DOMAIN),
            Range("aten::hangs", 20, None, domain=OPERATOR_DOMAIN),
        ],
    )
    with Report(path) as report:
        table = kernels.ranking(report)
    assert table.columns["name"] == ["aten::mm"]
    assert table.notes == ("1 operator was never closed and has no duration; left out",)


def test_rows_of_the_table_are_taken_as_the_converter_merged_them(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        operators=[
            Operator("aten::to", 0, 10, self_ns=2),
            Operator("aten::to", 1, 9, self_ns=8),
            Operator("Optimizer.step#AdamW.step", 20, 30, self_ns=4),
        ],
    )
    assert ranked(path) == [("aten::to", 2, 10, "operator")]
    with Report(path) as report:
        calls = operators.cpu_operators(report)
    assert (calls.others, calls.others_ns) == (1, 4)
    assert calls.self_ns.tolist() == [2, 8]


@pytest.mark.parametrize("number", [1, 30_000])
def test_text_is_the_same_however_many_rows_there_are(tmp_path: Path, number: int) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("aten::mm" if row % 2 else "aten::mul", row, row + 1, domain=OPERATOR_DOMAIN)
            for row in range(2 * number)
        ],
    )
    assert ranked(path) == [
        ("aten::mm", number, number, "operator"),
        ("aten::mul", number, number, "operator"),
    ]
