"""What belongs to a step when a report is cut down to some."""

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis import Report
from analysis.trim import __main__ as trim
from tests.made.reports.build_report import (
    Call,
    Graph,
    Kernel,
    Memory,
    Operator,
    Range,
    global_id,
    make_report,
)

AUTOGRAD, OTHER = 101, 200
STEPS = ((100, 200), (200, 300), (310, 400))


def trimmed(path: Path, *arguments: str) -> Path:
    """Trim a report and return the smaller one."""
    output = path.with_name(f"small{len(list(path.parent.iterdir()))}.sqlite")
    assert trim.main([str(path), "--output", str(output), *arguments]) == 0
    return output


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        return connection.execute(sql).fetchall()


def kernels(path: Path) -> list[str]:
    sql = "SELECT value FROM CUPTI_ACTIVITY_KIND_KERNEL k JOIN StringIds s ON s.id = demangledName"
    return [name for (name,) in rows(path, f"{sql} ORDER BY k.rowid")]


def ranges(path: Path) -> list[tuple[str, int, int | None]]:
    return rows(path, 'SELECT text, start, "end" FROM NVTX_EVENTS ORDER BY rowid')


def three_steps(path: Path, **more: Any) -> Path:
    """Write a report of a warm-up and three steps, the first two with nothing between them."""
    spans = [Range("step", *each) for each in STEPS]
    spans += [Range("warmup", 0, 90), Range("step", 5, 80), Range("training", 0, 500)]
    given = [
        Kernel("warm", 10, 20, launch=6),
        Kernel("a", 110, 150, launch=101),
        Kernel("late", 350, 360, launch=198),
        Kernel("edge", 205, 206, launch=200),
        Kernel("autograd", 250, 260, launch=240, thread=AUTOGRAD),
        Kernel("between", 320, 330, launch=305),
        Kernel("c", 500, 600, launch=390),
        Kernel("stray", 215, 220),
    ]
    return make_report(path, kernels=given, ranges=spans, **more)


def test_work_goes_with_its_launch_even_if_it_runs_after_the_step(tmp_path: Path) -> None:
    path = three_steps(tmp_path / "r.sqlite")
    assert kernels(trimmed(path, "--steps", "0:1")) == ["a", "late"]
    assert kernels(trimmed(path, "--steps", "1:2")) == ["edge", "autograd", "stray"]
    assert kernels(trimmed(path)) == ["c"]  # the last step
    assert kernels(trimmed(path, "--steps", "2:", "--keep-warmup")) == ["warm", "c"]


def test_a_range_around_the_step_is_kept_as_it_is_and_neighbours_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = trimmed(three_steps(tmp_path / "r.sqlite"), "--steps", "1:2")
    assert ranges(small) == [("step", 200, 300), ("training", 0, 500)]
    said = capsys.readouterr()
    assert said.out == ""
    assert "kept step 1 of 3, counted from 0" in said.err
    assert "1 range reaches beyond that" in said.err
    assert "1 kernel, copy or set has no recorded launch" in said.err


def test_a_step_that_began_inside_another_is_not_taken_for_one(tmp_path: Path) -> None:
    spans = [Range("step", 0, 10), Range("step", 5, 25, thread=AUTOGRAD), Range("step", 20, 30)]
    path = make_report(
        tmp_path / "r.sqlite", ranges=spans, kernels=[Kernel("k", 22, 23, launch=21)]
    )
    small = trimmed(path, "--steps", "1:2")
    assert ranges(small) == [("step", 20, 30)]
    with Report(small) as report:
        assert report.kernels(steps=(0, 1))["name"].tolist() == ["k"]


def test_a_correlation_id_is_of_its_process(tmp_path: Path) -> None:
    spans = [Range("step", 0, 10), Range("step", 20, 30, process=OTHER, thread=OTHER)]
    mine = Kernel("mine", 40, 50, launch=5, correlation=7)
    other = Kernel("other", 40, 50, launch=5, process=OTHER, thread=OTHER, correlation=7)
    path = make_report(tmp_path / "r.sqlite", ranges=spans, kernels=[mine, other])
    assert kernels(trimmed(path)) == ["mine"]  # the other was launched before its step
    assert kernels(trimmed(path, "--from-ns", "5", "--to-ns", "6")) == ["mine", "other"]


def test_an_instance_of_a_range_can_be_kept(tmp_path: Path) -> None:
    spans = [Range("warmup", 0, 10), Range("f", 2, 8), Range("f", 20, 30), Range("f", 40, 50)]
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=spans,
        kernels=[Kernel(f"k{at}", 90, 91, launch=at) for at in (3, 25, 45)],
    )
    assert kernels(trimmed(path, "--within", "f")) == ["k25"]
    assert kernels(trimmed(path, "--within", "f", "--instance", "1")) == ["k45"]
    assert kernels(trimmed(path, "--within", "warmup")) == ["k3"]


def test_the_last_step_is_one_that_was_recorded_to_its_end(tmp_path: Path) -> None:
    spans = [Range("step", 0, 10), Range("step", 10, 20), Range("step", 20, None)]
    spans.append(Range("forward", 20, 60))
    given = [Kernel(f"k{at}", 90, 91, launch=at) for at in (5, 15, 25)]
    path = make_report(tmp_path / "r.sqlite", ranges=spans, kernels=given)
    assert kernels(trimmed(path)) == ["k15"]
    assert ranges(trimmed(path, "--steps", "2:3")) == [
        ("step", 20, None),
        ("forward", 20, 60),
    ]


def test_copies_sets_calls_and_graphs_are_cut_alike(tmp_path: Path) -> None:
    memory = [Memory(300, 310, 8, 901), Memory(320, 330, 8, 902, kind=None), Memory(5, 6, 8, 903)]
    calls = [Call("cudaMemcpyAsync", 110, 111, 901), Call("cudaMemset", 120, 121, 902)]
    calls += [Call("cudaDeviceSynchronize", 190, 205, 904), Call("cudaMemcpy", 3, 4, 903)]
    path = three_steps(
        tmp_path / "r.sqlite", memory=memory, calls=calls, graphs=[Graph(1, 150, 160)]
    )
    small = trimmed(path, "--steps", "0:1")
    for table in ("MEMCPY", "MEMSET", "GRAPH_TRACE"):
        found = rows(small, f"SELECT start FROM CUPTI_ACTIVITY_KIND_{table}")
        assert found == {"MEMCPY": [(300,)], "MEMSET": [(320,)], "GRAPH_TRACE": [(150,)]}[table]
    begun = rows(small, "SELECT start FROM CUPTI_ACTIVITY_KIND_RUNTIME ORDER BY start")
    assert begun == [(101,), (110,), (120,), (190,), (198,)]
    assert rows(trimmed(path), "SELECT * FROM CUPTI_ACTIVITY_KIND_MEMCPY") == []


def test_operators_of_a_cpu_run_go_by_their_start(tmp_path: Path) -> None:
    operators = [
        Operator("aten::mm", start, end, end - start, sequence=1)
        for start, end in ((150, 190), (195, 205), (220, 230))
    ]
    spans = [Range("step", *each) for each in STEPS]
    path = make_report(tmp_path / "r.sqlite", operators=operators, ranges=spans)
    begun = rows(trimmed(path, "--steps", "1:2"), "SELECT start_ns FROM TOOLKIT_OPERATOR")
    assert begun == [(220,)]
    with Report(path) as report, Report(trimmed(path, "--steps", "0:1")) as small:
        pd.testing.assert_frame_equal(report.kernels(steps=(0, 1)), small.kernels())


def a_run(path: Path, seed: int, *, on_cpu: bool) -> Path:
    """Write a run with a warm-up and four steps of three ranks of ranges, at random."""
    draw = random.Random(seed)
    spans, work, now = [], [], 0
    for name in ("warmup", "step", "step", "step", "step"):
        begin = now
        for phase in ("forward", "backward", "optimizer"):
            start = now
            for part in draw.choices(("attention_scores", "softmax", "final_matmul", "ffn"), k=4):
                inner = now
                for _ in range(draw.randrange(4)):
                    now += draw.randrange(3, 30)
                    thread = AUTOGRAD if phase == "backward" else 100
                    work.append((draw.choice("xyz"), now, thread))
                now += 5
                spans.append(Range(part, inner, now, payload=draw.randrange(9)))
            now += 2
            spans.append(Range(phase, start, now))
        spans.append(Range(name, begin, now))
        now += draw.choice((0, 7))
    if on_cpu:
        given = [Operator(f"aten::{name}", at, at + 2, 2, thread=100) for name, at, _ in work]
        return make_report(path, ranges=spans, operators=given)
    launched = [
        Kernel(f"{name}gemm", at + 50, at + 50 + draw.randrange(1, 20), launch=at, thread=thread)
        for name, at, thread in work
    ]
    return make_report(path, ranges=spans, kernels=launched)


Ask = Callable[[Report, list[str]], pd.DataFrame]
QUESTIONS: dict[str, tuple[Ask, list[str], list[str]]] = {
    "kernels": (lambda r, left_out: r.kernels(exclude=left_out), ["name"], ["calls", "total_ns"]),
    "phases": (lambda r, _: r.phases(), ["phase", "category"], ["calls", "kernel_ns"]),
    "attention": (lambda r, _: r.attention(), ["part"], ["calls", "kernel_ns", "flops"]),
    "ranges": (
        lambda r, left_out: r.ranges(exclude=left_out),
        ["range", "style"],
        ["instances", "wall_ns", "kernel_ns", "self_ns", "gpu_ops", "flops", "backward_ns"],
    ),
}


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("on_cpu", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_answers_of_the_steps_add_up_to_those_of_the_whole(
    question: str, on_cpu: bool, seed: int, tmp_path: Path
) -> None:
    path = a_run(tmp_path / "r.sqlite", seed, on_cpu=on_cpu)
    ask, keys, values = QUESTIONS[question]
    parts = []
    for number in range(4):
        with Report(trimmed(path, "--steps", f"{number}:{number + 1}")) as small:
            parts.append(ask(small, [])[keys + values])
    with Report(path) as report:
        whole = ask(report, ["warmup"])[keys + values].groupby(keys).sum()
    together = pd.concat(parts).groupby(keys).sum()
    pd.testing.assert_frame_equal(together[together.any(axis=1)], whole[whole.any(axis=1)])


@pytest.mark.parametrize("seed", range(3))
def test_each_step_has_the_kernels_gaps_and_coverage_it_had(seed: int, tmp_path: Path) -> None:
    path = a_run(tmp_path / "r.sqlite", seed, on_cpu=False)
    with Report(path) as report, Report(trimmed(path, "--steps", "0:")) as steps:
        every = {"exclude": ["none"]}
        before, gaps = report.coverage(**every), report.gaps(min_gap_us=0, **every)
        warm = int(rows(path, "SELECT count(*) FROM CUPTI_ACTIVITY_KIND_KERNEL")[0][0]) - len(
            kernels(Path(steps.path))
        )
        assert int(before["calls"].sum()) - warm == int(steps.coverage()["calls"].sum())
        for number in range(4):
            with Report(trimmed(path, "--steps", f"{number}:{number + 1}")) as small:
                chosen = (number, number + 1)
                pd.testing.assert_frame_equal(report.kernels(steps=chosen), small.kernels())
                inside = small.gaps(min_gap_us=0)
                same = inside.merge(gaps, how="left", on=list(inside.columns), indicator=True)
                assert (same["_merge"] == "both").all()


def test_what_held_memory_before_is_kept_with_the_last_change(tmp_path: Path) -> None:
    path = three_steps(tmp_path / "r.sqlite")
    changes = [(10, 1, 8), (20, 2, 4), (30, 2, -4), (40, 3, 2), (50, 4, 1), (60, 4, -1)]
    changes += [(210, 5, 16), (250, 5, -16), (320, 6, 32)]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE TOOLKIT_MEMORY (time_ns INTEGER, device INTEGER, global_tid INTEGER, "
            "address INTEGER, delta_bytes INTEGER, allocated_bytes INTEGER, "
            "reserved_bytes INTEGER, peak_bytes INTEGER)"
        )
        held = 0
        for time, address, delta in changes:
            held += delta
            row = (time, 0, global_id(100, 100), address, delta, held, held, held)
            connection.execute("INSERT INTO TOOLKIT_MEMORY VALUES (?,?,?,?,?,?,?,?)", row)
        connection.commit()
    small = trimmed(path, "--steps", "1:2")
    found = rows(small, "SELECT time_ns FROM TOOLKIT_MEMORY ORDER BY time_ns")
    assert found == [(10,), (40,), (60,), (210,), (250,)]
    with Report(path) as report, Report(small) as cut:
        before = report.memory(show="steps")
        mine = before[before["step"] == 1].drop(columns=["step", "growth_bytes"])
        after = cut.memory(show="steps").drop(columns=["step", "growth_bytes"])
        pd.testing.assert_frame_equal(after, mine.reset_index(drop=True))
