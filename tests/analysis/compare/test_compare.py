"""Two reports side by side: rows, totals that add up, what is new and gone, the gate."""

import csv
import io
import json
import math
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from analysis import Report
from analysis.compare import __main__ as compare
from analysis.compare.compare import compare as compared_reports
from analysis.show import cli
from analysis.show.table import Table
from tests.made.reports.build_report import Kernel, Operator, Range, make_report

STEP_NS = 1000
UNBOUNDED = "; no interval: the steps before differ too much among themselves, record more of them"
Row = dict[str, int | float | str]


def run_of(path: Path, *steps: Sequence[tuple[str, int]], **run: str) -> Path:
    """Write a report of some steps, each a list of kernels with their durations.

    A step is 1000 ns long, forward is its first half; kernels are launched one after another, 100
    ns apart, and run 10 000 ns later.
    """
    ranges, kernels = [], []
    for number, step in enumerate(steps):
        start = number * STEP_NS
        ranges += [Range("step", start, start + STEP_NS), Range("forward", start, start + 500)]
        for place, (name, duration) in enumerate(step):
            launch = start + 100 * place + 1
            begin = 10_000 + launch
            kernels.append(Kernel(name, begin, begin + duration, launch=launch))
    return make_report(path, ranges=ranges, kernels=kernels, run=run)


def compared(before: Path, after: Path, *, sort: str = "delta") -> Table:
    with Report(before) as one, Report(after) as other:
        return compared_reports(one, other, sort=sort)


def of_kind(table: Table, kind: str) -> dict[str, Row]:
    return {str(row["name"]): row for row in table.rows() if row["kind"] == kind}


def brief(row: Row) -> tuple[object, ...]:
    fields = ("before_ns", "after_ns", "delta_ns", "calls_before", "calls_after", "status")
    return tuple(row[field] for field in fields)


@pytest.fixture
def before(tmp_path: Path) -> Path:
    steps = [[("sgemm", 60), ("softmax", 20)], [("sgemm", 62), ("softmax", 22)]]
    return run_of(tmp_path / "before.sqlite", *steps)


@pytest.fixture
def after(tmp_path: Path) -> Path:
    steps = [[("sgemm", 80), ("flash", 11)], [("sgemm", 82), ("flash", 11)]]
    return run_of(tmp_path / "after.sqlite", *steps)


def test_the_whole_csv(before: Path, after: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([str(before), str(after), "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [",".join(line.split(",")[:9]) for line in lines] == [
        "kind,name,before_ns,after_ns,delta_ns,ratio,calls_before,calls_after,status",
        f"total,busy,82,92,10,{92 / 82},2,2,noise",
        f"total,kernel,82,92,10,{92 / 82},2,2,noise",
        "total,wall,1000,1000,0,1.0,1,1,same",
        f"phase,forward,82,92,10,{92 / 82},2,2,noise",
        "category,softmax,21,0,-21,0.0,1,0,gone",
        f"category,gemm,61,81,20,{81 / 61},1,1,slower",
        "category,attention,0,11,11,,0,1,new",
        f"range,forward,82,92,10,{92 / 82},1,1,noise",
        f"range,step,82,92,10,{92 / 82},1,1,noise",
        "kernel,softmax,21,0,-21,0.0,1,0,gone",
        f"kernel,sgemm,61,81,20,{81 / 61},1,1,slower",
        "kernel,flash,0,11,11,,0,1,new",
    ]


def test_the_whole_table(before: Path, after: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([str(before), str(after), "--kind", "kernel"]) == 0
    said = capsys.readouterr()
    assert [line.rstrip() for line in said.out.splitlines()] == [
        "verdict: no difference shown: busy 82 ns -> 92 ns, +12.2 % (-4.1 % to +33.7 %)",
        "before: before.sqlite · nsys 2023.4.4 · 2 steps",
        "after:  after.sqlite · nsys 2023.4.4 · 2 steps",
        "per step, warm-up left out",
        "busy        82 ns ->    92 ns  +12.2 %, no difference shown (-4.1 % to +33.7 %)",
        "wall     1.000 µs -> 1.000 µs  +0.0 % (+0.0 % to +0.0 %), same",
        "kernel      82 ns ->    92 ns  +12.2 %, no difference shown (-4.1 % to +33.7 %)",
        "idle       91.8 % ->   90.8 %  of the wall time of the GPU",
        "",
        "Kernels: 1 in both, 1 new, 1 gone",
        "new:  flash",
        "gone: softmax",
        "",
        "name     before  after   delta  ratio  calls before  calls after  status  call ratio",
        "─" * 84,
        "softmax   21 ns   0 ns  -21 ns  0.000             1            0  gone         0.000",
        "sgemm     61 ns  81 ns   20 ns  1.328             1            1  slower       1.328",
        "flash      0 ns  11 ns   11 ns      -             0            1  new              -",
    ]
    assert said.err == "note: the GPU's model is not known before and after: not compared\n"


def test_rows_of_a_kind_add_up_to_the_total(before: Path, after: Path) -> None:
    table = compared(before, after)
    for side in ("before", "after"):
        total = of_kind(table, "total")["kernel"][f"total_{side}_ns"]
        assert total == {"before": 164, "after": 184}[side]
        for kind in ("phase", "category", "range", "kernel"):
            rows = of_kind(table, kind).values()
            assert sum(int(row[f"self_{side}_ns"]) for row in rows) == total


def test_a_report_compared_with_itself_shows_no_difference(before: Path) -> None:
    table = compared(before, before)
    kernels = of_kind(table, "kernel").values()
    # Steps of 60 and 62 ns cannot show that a difference is under 1 %; walls of 1 µs each can.
    assert {row["status"] for row in kernels} == {"noise"}
    assert of_kind(table, "total")["wall"]["status"] == "same"
    assert {row["delta_ns"] for row in table.rows()} == {0}
    assert {row["ratio"] for row in table.rows()} == {1}


def test_what_every_step_does_alike_and_otherwise_is_a_change(tmp_path: Path) -> None:
    one = run_of(tmp_path / "one.sqlite", *[[("a", 100 + n), ("b", 100 + 9 * n)] for n in range(4)])
    two = run_of(tmp_path / "two.sqlite", *[[("a", 110 + n), ("b", 105 + 9 * n)] for n in range(4)])
    for pair, word in (((one, two), "slower"), ((two, one), "faster")):
        kernels = of_kind(compared(*pair), "kernel")
        assert kernels["a"]["status"] == word
        assert kernels["b"]["status"] == "noise"


def test_with_one_step_noise_is_not_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = run_of(tmp_path / "one.sqlite", [("a", 10)])
    two = run_of(tmp_path / "two.sqlite", [("a", 12)], [("a", 14)])
    assert compare.main([str(one), str(two), "--format", "json", "--kind", "kernel"]) == 0
    said = capsys.readouterr()
    (row,) = json.loads(said.out)["rows"]
    assert (row["before_ns"], row["after_ns"], row["status"], row["p"]) == (
        10,
        13.0,
        "unjudged",
        None,
    )
    assert "noise cannot be judged with one step before; record STEPS=3 or more" in said.err


def test_where_one_has_no_steps_the_whole_of_both_is_compared(
    before: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = make_report(tmp_path / "bare.sqlite", kernels=[Kernel("sgemm", 10, 132)])
    row = of_kind(compared(before, bare), "kernel")["sgemm"]
    assert brief(row) == (122, 122, 0, 2, 1, "same")
    assert row["call_ratio"] == 2.0
    assert compare.main([str(before), str(bare)]) == 0
    said = capsys.readouterr()
    assert "whole reports, warm-up left out: a longer recording has more" in said.out
    assert "no step ranges after: whole reports are compared" in said.err
    assert "no range of a phase after: phases are not compared" in said.err
    assert "phase" not in set(compared(before, bare).columns["kind"])


def test_warm_up_is_left_out_unless_it_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("warmup", 0, 50), Range("step", 50, 90)],
        kernels=[Kernel("a", 100, 130, launch=10), Kernel("a", 130, 140, launch=60)],
    )
    for option, mean in (("warmup", "10"), ("none", "20")):
        arguments = [str(path), str(path), "--kind", "kernel", "--format", "csv"]
        assert compare.main([*arguments, "--exclude", option]) == 0
        (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
        assert row["before_ns"] == mean


def test_kernels_that_a_compiler_numbered_anew_are_the_same(tmp_path: Path) -> None:
    names = ("triton_poi_fused_add_3", "triton_poi_fused_add_7"), ("triton_poi_fused_add_12",)
    one, two = (
        run_of(tmp_path / f"{place}.sqlite", [(name, 12 // len(each)) for name in each])
        for place, each in enumerate(names)
    )
    (row,) = of_kind(compared(one, two), "kernel").values()
    assert (row["name"], *brief(row)) == ("triton_poi_fused_add", 12, 12, 0, 2, 1, "same")
    assert row["recorded_before"] == "triton_poi_fused_add_3 + triton_poi_fused_add_7"
    assert row["recorded_after"] == "triton_poi_fused_add_12"


def test_on_a_cpu_operators_are_compared(tmp_path: Path) -> None:
    one, two = (
        make_report(
            tmp_path / f"{wall}.sqlite",
            ranges=[Range("step", 0, wall)],
            operators=[Operator("aten::mm", 0, 9, 9), Operator("aten::add", 9, wall, wall - 9)],
        )
        for wall in (20, 30)
    )
    table = compared(one, two)
    assert list(of_kind(table, "total")) == ["operator", "wall"]
    assert brief(of_kind(table, "operator")["aten::add"]) == (11, 21, 10, 1, 1, "unjudged")
    assert compare.main([str(one), str(two), "--fail-over", "49"]) == 3
    assert compare.main([str(one), str(two), "--fail-over", "50"]) == 0


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("delta", ["softmax", "sgemm", "flash"]),
        ("ratio", ["flash", "sgemm", "softmax"]),
        ("name", ["flash", "sgemm", "softmax"]),
    ],
)
def test_rows_can_be_sorted(sort: str, names: list[str], before: Path, after: Path) -> None:
    assert list(of_kind(compared(before, after, sort=sort), "kernel")) == names


def test_top_is_for_each_kind(
    before: Path, after: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main([str(before), str(after), "--format", "csv", "--top", "1"]) == 0
    said = capsys.readouterr()
    rows = csv.DictReader(io.StringIO(said.out))
    assert [row["kind"] for row in rows] == ["total", "phase", "category", "range", "kernel"]
    assert "note: 2 more rows of kind kernel; --top 3 shows all\n" in said.err


def test_a_kind_that_there_is_not_is_answered_with_those_that_are(
    before: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = make_report(tmp_path / "bare.sqlite", kernels=[Kernel("sgemm", 10, 132)])
    assert cli.run(lambda: compare.main([str(bare), str(bare), "--kind", "phase"])) == 1
    assert capsys.readouterr().err == (
        f"error: {bare}: no phase that both reports have; compared are: total, category, kernel\n"
    )


def test_it_is_a_table_of_a_database_too(before: Path, after: Path, tmp_path: Path) -> None:
    output = tmp_path / "summary.db"
    arguments = [str(before), str(after), "--format", "sqlite", "--output", str(output)]
    assert compare.main(arguments) == 0
    with closing(sqlite3.connect(output)) as connection:
        rows = connection.execute("SELECT name, ratio FROM compare WHERE kind = 'kernel'")
        assert rows.fetchall() == [("softmax", 0.0), ("sgemm", 81 / 61), ("flash", None)]


def test_hostile_names_stay_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "a\x1b[31m|[bold]\n'; DROP TABLE x --"
    path = run_of(tmp_path / "r.sqlite", [(name, 10)])
    other = run_of(tmp_path / "s.sqlite", [("plain", 10)])
    assert compare.main([str(path), str(other)]) == 0
    said = capsys.readouterr().out
    assert "gone: a\\x1b[31m|[bold]\\n'; DROP TABLE x --" in said
    assert "\x1b" not in said
    assert math.isnan(float(of_kind(compared(path, other), "kernel")["plain"]["ratio"]))


def heading_of(before: Path, after: Path) -> list[str]:
    return compared(before, after).heading.split("\n")


def test_other_shapes_are_said_to_be_other_shapes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [[("sgemm", 60)], [("sgemm", 62)]]
    longer = [[("sgemm", 900)], [("sgemm", 910)]]
    one = run_of(tmp_path / "one.sqlite", *steps, size="small", context="16")
    two = run_of(tmp_path / "two.sqlite", *longer, size="small", context="256")
    assert heading_of(one, two)[0] == (
        "verdict: other shapes: context differs: 16 before, 256 after; "
        "times differ as the work does"
    )
    assert heading_of(one, one)[0].startswith("verdict: no difference shown: busy 61 ns -> 61 ns,")
    assert compare.main([str(one), str(two), "--format", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["verdict"], answer["gate"]) == ("other shapes", None)
    assert answer["reason"].startswith("context differs: 16 before, 256 after")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        # The first step takes so long that the mean of the four might as well be nothing.
        ([24_000, 5_000, 5_000, 4_900], [5_000, 4_980, 5_010, 4_990, 4_960], UNBOUNDED),
        ([24_000, 100], [5_000, 4_990, 5_010], "; too few steps to tell (2 steps before)"),
        ([5_000], [4_990], "; too few steps to tell (1 step before and 1 step after)"),
        ([5_000, 5_010, 4_990], [4_900], "; too few steps to tell (1 step after)"),
        ([5_000, 5_010, 4_990], [4_900, 4_890, 4_910], " %)"),
    ],
)
def test_a_verdict_without_an_interval_says_why(
    before: list[int], after: list[int], said: str, tmp_path: Path
) -> None:
    one, two = (
        run_of(tmp_path / f"{name}.sqlite", *([("sgemm", time)] for time in times))
        for name, times in (("one", before), ("two", after))
    )
    line = heading_of(one, two)[0]
    assert line.startswith("verdict: ")
    assert line.endswith(said)


def test_without_steps_the_verdict_says_that_there_are_none(tmp_path: Path) -> None:
    one, two = (
        make_report(tmp_path / f"{end}.sqlite", kernels=[Kernel("gemm", 0, end)])
        for end in (100, 120)
    )
    assert heading_of(one, two)[0] == (
        "verdict: not judged: busy 100 ns -> 120 ns, +20.0 %; too few steps to tell (none are "
        "marked)"
    )


def with_grids(path: Path, grids: dict[str, list[int]]) -> Path:
    """Give the launches of each kernel grids of so many blocks, in turn."""
    with closing(sqlite3.connect(path)) as connection:
        for axis in "XYZ":
            connection.execute(
                f"ALTER TABLE CUPTI_ACTIVITY_KIND_KERNEL ADD COLUMN grid{axis} INTEGER DEFAULT 1"
            )
        for name, blocks in grids.items():
            rows = connection.execute(
                "SELECT k.rowid FROM CUPTI_ACTIVITY_KIND_KERNEL k JOIN StringIds s "
                "ON s.id = k.demangledName WHERE s.value = ?",
                (name,),
            ).fetchall()
            for place, (number,) in enumerate(rows):
                connection.execute(
                    "UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET gridX = ? WHERE rowid = ?",
                    (blocks[place % len(blocks)], number),
                )
        connection.commit()
    return path


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ({"a": [4], "b": [8], "c": [1]}, {"a": [64], "b": [128], "c": [1]}, "other shapes"),
        # One kernel may have been tuned anew.
        ({"a": [4], "b": [8], "c": [1]}, {"a": [64], "b": [8], "c": [1]}, "other work"),
        # The window was cut elsewhere, and the same shapes come in another mixture.
        ({"a": [4, 16], "b": [8, 32]}, {"a": [16], "b": [32]}, "other work"),
        # Half of the time says nothing.
        ({"a": [4], "b": [8], "c": [1]}, {"a": [64], "c": [1], "b": [8]}, "other work"),
    ],
)
def test_without_notes_on_the_run_grids_tell_other_shapes(
    before: dict[str, list[int]], after: dict[str, list[int]], word: str, tmp_path: Path
) -> None:
    calls = [("a", 30), ("b", 40), ("c", 20)]
    paths = []
    for place, (grids, extra) in enumerate(((before, 0), (after, 2))):
        kernels = [
            Kernel(name, 100 * at, 100 * at + time)
            for at, (name, time) in enumerate(calls * 2 + calls[:extra])
        ]
        paths.append(with_grids(make_report(tmp_path / f"{place}.sqlite", kernels=kernels), grids))
    heading = compared(*paths).heading
    assert heading.startswith(f"verdict: {word}: ")
    assert ("work than before was done" in heading) == (word == "other work")


def test_same_is_what_cannot_differ_by_more_than_one_percent(tmp_path: Path) -> None:
    steady = [[("gemm", 10_000 + place)] for place in (0, 2, 4, 6)]
    nearly = [[("gemm", 10_001 + place)] for place in (6, 4, 2, 0)]
    unsteady = [[("gemm", 10_000 + place)] for place in (0, 900, 1800, 2700)]
    one, two, three = (
        run_of(tmp_path / f"{place}.sqlite", *steps)
        for place, steps in enumerate((steady, nearly, unsteady))
    )
    assert of_kind(compared(one, two), "kernel")["gemm"]["status"] == "same"
    assert heading_of(one, two)[0].startswith("verdict: same: busy 10.00 µs -> 10.00 µs, +0.0 % (")
    itself = of_kind(compared(three, three), "kernel")["gemm"]
    assert (itself["status"], itself["delta_ns"]) == ("noise", 0)
    (line,) = (line for line in heading_of(three, three) if line.startswith("kernel "))
    assert "+0.0 %, no difference shown (-" in line


def test_a_doubling_is_said_in_times(tmp_path: Path) -> None:
    one, two = (
        run_of(tmp_path / f"{time}.sqlite", [("gemm", time)], [("gemm", time + 1)])
        for time in (10, 200)
    )
    (line,) = (line for line in heading_of(one, two) if line.startswith("kernel "))
    assert "19.1×" in line
    (back,) = (line for line in heading_of(two, one) if line.startswith("kernel "))
    assert "-94.8 %" in back


def test_a_total_that_changed_where_no_name_did_is_explained(tmp_path: Path) -> None:
    names = [f"k{place}" for place in range(30)]
    jitter = (0, 9, 3, 6, 1, 8)

    def steps(more: int) -> list[list[tuple[str, int]]]:
        return [
            [
                (
                    name,
                    50
                    + more
                    + (
                        jitter[(step + place) % 6]
                        if place % 2
                        else 9 - jitter[(step + place - 1) % 6]
                    ),
                )
                for place, name in enumerate(names)
            ]
            for step in range(6)
        ]

    one, two = (
        make_report(
            tmp_path / f"{more}.sqlite",
            ranges=[Range("step", at * 9000, at * 9000 + 9000) for at in range(6)],
            kernels=[
                Kernel(
                    name,
                    at * 9000 + 100 * place,
                    at * 9000 + 100 * place + time,
                    launch=at * 9000 + place,
                )
                for at, step in enumerate(steps(more))
                for place, (name, time) in enumerate(step)
            ],
        )
        for more in (0, 1)
    )
    table = compared(one, two)
    assert {row["status"] for row in of_kind(table, "kernel").values()} == {"noise"}
    assert of_kind(table, "total")["kernel"]["status"] == "slower"
    assert any(
        note.startswith("busy is slower and kernel is slower, and none of 30 kernels by itself: ")
        for note in table.notes
    )


def test_a_longer_wall_alone_is_explained_by_the_time_without_work(tmp_path: Path) -> None:
    one, two = (
        make_report(
            tmp_path / f"{wall}.sqlite",
            ranges=[Range("step", at * 1000, at * 1000 + wall) for at in range(3)],
            kernels=[
                Kernel("k", at * 1000 + 5, at * 1000 + 15, launch=at * 1000 + 1) for at in range(3)
            ],
        )
        for wall in (500, 900)
    )
    assert (
        "wall is slower, and none of 1 kernel: what differs is the time in which no kernel ran"
        in compared(one, two).notes
    )


def test_thousands_of_recorded_names_are_a_count_and_the_first_few(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernels = [
        Kernel(f"triton_poi_fused_add_{place}", 10 * place, 10 * place + 5) for place in range(6000)
    ]
    path = make_report(tmp_path / "r.sqlite", kernels=kernels)
    assert compare.main([str(path), str(path), "--format", "csv", "--kind", "kernel"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["recorded_before"] == (
        "6,000 names: triton_poi_fused_add_0 + triton_poi_fused_add_1 + triton_poi_fused_add_10 + …"
    )


@pytest.mark.parametrize(
    ("limit", "gate", "status"), [(None, None, 0), ("50", "passed", 0), ("5", "failed", 3)]
)
def test_json_says_the_verdict_the_gate_and_the_reason(
    limit: str | None,
    gate: str | None,
    status: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one, two = (
        run_of(tmp_path / f"{time}.sqlite", *[[("gemm", time + place)] for place in range(3)])
        for time in (50, 70)
    )
    options = ["--fail-over", limit] if limit else []
    assert compare.main([str(one), str(two), "--format", "json", *options]) == status
    answer = json.loads(capsys.readouterr().out)
    assert list(answer) == ["verdict", "gate", "reason", "rows"]
    assert (answer["verdict"], answer["gate"]) == ("slower", gate)
    assert answer["reason"].startswith("busy 51 ns -> 71 ns, +39.2 % (")
    assert ("gate failed: busy time" in answer["reason"]) == (gate == "failed")
    assert answer["rows"][0]["kind"] == "total"


def test_json_says_of_a_gate_that_cannot_be_judged_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = make_report(tmp_path / "1.sqlite", kernels=[Kernel("a", 0, 10)])
    two = make_report(tmp_path / "2.sqlite", kernels=[Kernel("a", 0, 10), Kernel("a", 20, 30)])
    arguments = [str(one), str(two), "--format", "json", "--fail-over", "5"]
    assert cli.run(lambda: compare.main(arguments)) == 1
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert (answer["verdict"], answer["gate"]) == ("other work", "not judged")
    assert "cannot be judged without steps: 2.00× the work of before" in answer["reason"]
    assert said.err.splitlines()[-1].startswith("error: ")
