"""Phases, selections and coverage: own ranges first, then those of the thread that waits."""

import json
from pathlib import Path
from typing import Any

import pytest

from analysis import Report, copies, kernels, phases
from analysis.attribution.selection import steps_option
from analysis.phases import coverage
from analysis.ranges import __main__ as ranges
from analysis.recorded.work import ranked_work
from analysis.show.errors import ReportError
from tests.made.reports.build_report import Kernel, Operator, Range, make_report
from tests.made.tools import shared

ENGINE = 101


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A warm-up step and two steps; the backward pass launches from a thread of its own."""
    ranges, launched = [], []
    for number, (name, begin) in enumerate([("warmup", 0), ("step", 100), ("step", 200)]):
        ranges += [
            Range(name, begin, begin + 90),
            Range("forward", begin, begin + 30),
            Range("softmax", begin + 10, begin + 20),
            Range("backward", begin + 40, begin + 70),
        ]
        device = 1000 * (number + 1)
        launched += [
            Kernel("sgemm", device, device + 10, launch=begin + 5),
            Kernel("softmax", device + 10, device + 12, launch=begin + 15),
            Kernel("sgemm", device + 20, device + 50, launch=begin + 50, thread=ENGINE),
            Kernel("adam", device + 60, device + 65, launch=begin + 80),
        ]
    return make_report(tmp_path / "r.sqlite", ranges=ranges, kernels=launched)


def names_of(path: Path, **chosen: Any) -> list[tuple[str, int]]:
    """Return the names and times of work that is selected; warm-up counts unless it is left out."""
    exclude = ("none", *chosen.pop("exclude", ()))
    with Report(path) as report:
        table = kernels.ranking(report, exclude=exclude, **chosen)
    return [(str(row["name"]), int(row["total_ns"])) for row in table.rows()]


def test_phases_by_category(trained: Path) -> None:
    with Report(trained) as report:
        rows = phases.by_category(report).rows()
    found = [(row["phase"], row["category"], row["calls"], row["kernel_ns"]) for row in rows]
    assert found == [
        ("forward", "gemm", 2, 20),
        ("forward", "softmax", 2, 4),
        ("backward", "gemm", 2, 60),
        ("other", "optimizer", 2, 10),
        ("all", "gemm", 4, 80),
        ("all", "optimizer", 2, 10),
        ("all", "softmax", 2, 4),
    ]
    assert [round(float(row["share"]), 3) for row in rows[:3]] == [0.833, 0.167, 1.0]


def test_phases_with_warm_up(trained: Path) -> None:
    with Report(trained) as report:
        rows = phases.by_category(report, exclude=("none",)).rows()
    assert rows[0]["calls"] == 3


def test_within_a_phase_is_what_the_waiting_thread_waited_for(trained: Path) -> None:
    assert names_of(trained, within="backward") == [("sgemm", 90)]
    assert names_of(trained, within="softmax") == [("softmax", 6)]
    assert names_of(trained, within="step") == [("sgemm", 80), ("adam", 10), ("softmax", 4)]


def test_within_matches_exactly_then_by_alias_then_as_a_glob(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("computing softmax", 0, 10), Range("my softmax", 20, 30)],
        kernels=[Kernel("a", 50, 51, launch=5), Kernel("b", 51, 53, launch=25)],
    )
    assert names_of(path, within="my softmax") == [("b", 2)]
    assert names_of(path, within="softmax") == [("a", 1)]
    assert names_of(path, within="*softmax") == [("b", 2), ("a", 1)]


def test_a_range_that_is_not_there_is_an_error_that_names_those_that_are(trained: Path) -> None:
    with pytest.raises(
        ReportError, match="no NVTX range is called 'fwd2'; it has: step, warmup, forward"
    ):
        names_of(trained, within="fwd2")


def test_the_message_lists_the_outermost_names_first_and_counts_the_rest(tmp_path: Path) -> None:
    operators = [Range(f"aten::op{place}", place, place + 1) for place in range(1, 30)]
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("profile", 0, 90), Range("x" * 200, 91, 93), *operators],
        kernels=[Kernel("k", 100, 101, launch=5)],
    )
    with pytest.raises(ReportError) as refused:
        names_of(path, within="no such")
    message = str(refused.value)
    assert "it has: profile, xxxx" in message
    assert message.endswith("and 29 more")
    assert len(message) < len(str(path)) + 150


@pytest.mark.parametrize("spelling", ["warmup", "Warm-up"])
def test_no_warm_up_to_leave_out_is_no_error_and_is_said(
    spelling: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commands that leave warm-up out unasked do not fail without one either."""
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("forward", 0, 10)],
        kernels=[Kernel("k", 100, 101, launch=5)],
    )
    for command in (kernels, ranges, copies):
        assert command.main([str(path), "--exclude", spelling]) == 0
        assert "no range is a warm-up: none is left out\n" in capsys.readouterr().out
        with pytest.raises(ReportError, match="no NVTX range is called 'fwd2'; it has: fo"):
            command.main([str(path), "--exclude", "fwd2"])


def test_without_any_range_there_is_no_warm_up_to_leave_out(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", kernels=[Kernel("k", 100, 101, launch=5)])
    assert names_of(path, exclude=["warmup"]) == [("k", 1)]
    with pytest.raises(ReportError, match="no NVTX range is called 'x'; it has: none"):
        names_of(path, exclude=["x"])


def test_exclude_leaves_ranges_out(trained: Path) -> None:
    assert names_of(trained, exclude=["warmup"]) == [("sgemm", 80), ("adam", 10), ("softmax", 4)]
    assert names_of(trained, exclude=["warmup", "forward"]) == [("sgemm", 60), ("adam", 10)]


def test_steps_are_counted_from_0_without_the_last(trained: Path) -> None:
    assert names_of(trained, steps=(1, 2)) == [("sgemm", 40), ("adam", 5), ("softmax", 2)]
    assert names_of(trained, steps=(None, None)) == names_of(trained, within="step")
    with pytest.raises(ReportError, match="no such steps: there are 2"):
        names_of(trained, steps=(5, 7))


def test_steps_of_pytorchs_profiler_and_nested_ones_are_counted_alike(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("warmup", 0, 10),
            Range("step", 0, 9),
            Range("ProfilerStep#7", 10, 20),
            Range("step", 11, 19),
            Range("ProfilerStep#8", 20, 30),
        ],
        kernels=[Kernel(name, 90, 91, launch=at) for name, at in (("w", 2), ("a", 12), ("b", 22))],
    )
    assert names_of(path, steps=(0, 1)) == [("a", 1)]
    assert names_of(path, steps=(1, None)) == [("b", 1)]


@pytest.mark.parametrize(
    ("word", "bounds"), [("1:3", (1, 3)), (":2", (None, 2)), ("4:", (4, None)), (":", (None, None))]
)
def test_steps_from_the_command_line(word: str, bounds: tuple[int | None, int | None]) -> None:
    assert steps_option(word) == bounds


@pytest.mark.parametrize("word", ["", "3", "a:b", "-1:2", "1:2:3", "1.5:2"])
def test_steps_that_make_no_sense_are_wrong_usage(
    word: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        kernels.main([str(trained), f"--steps={word}"])
    assert stop.value.code == 2
    assert "is not A:B" in capsys.readouterr().err


def test_selections_go_together_with_device_and_process(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("forward", 0, 10), Range("forward", 0, 10, process=200)],
        kernels=[
            Kernel("a", 50, 51, launch=5),
            Kernel("b", 51, 53, launch=5, device=1),
            Kernel("c", 53, 57, launch=5, process=200),
            Kernel("d", 57, 65, launch=20),
        ],
    )
    assert names_of(path, within="forward", device=1) == [("b", 2)]
    assert names_of(path, within="forward", process=200) == [("c", 4)]
    with pytest.raises(ReportError, match="no device 3; this report has: 0, 1"):
        names_of(path, within="forward", device=3)


def test_the_whole_ranking_says_how_much_was_warm_up(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kernels.main([str(trained), "--exclude", "none"]) == 0
    assert "47 ns, 33.3 % of the work, was warm-up: included\n" in capsys.readouterr().out
    assert kernels.main([str(trained)]) == 0
    assert "47 ns, 33.3 % of the work, was warm-up: left out\n" in capsys.readouterr().out
    assert kernels.main([str(trained), "--format", "csv"]) == 0
    assert "note: 47 ns, 33.3 % of the work, was warm-up: left out\n" in capsys.readouterr().err


def test_coverage_counts_each_piece_of_work_once(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("forward", 0, 10)],
        kernels=[
            Kernel("own", 50, 51, launch=5),
            Kernel("caller", 51, 53, launch=5, thread=ENGINE),
            Kernel("unplaced", 53, 57, launch=20),
            Kernel("no launch", 57, 65),
        ],
    )
    with Report(path) as report:
        rows = coverage(report).rows()
    assert {row["relation"]: (row["calls"], row["kernel_ns"]) for row in rows} == {
        "own": (1, 1),
        "caller": (1, 2),
        "origin": (0, 0),
        "no_launch": (1, 8),
        "unplaced": (1, 4),
    }
    assert sum(float(row["share"]) for row in rows) == 1


@pytest.mark.parametrize("name", shared.WITH_KERNELS)
def test_coverage_of_real_reports_adds_up(name: str) -> None:
    with Report(shared.report(name)) as report:
        found = report.coverage(exclude=["none"])
        work_ = ranked_work(report)
    assert found["calls"].sum() == len(work_.kind)
    assert found["kernel_ns"].sum() == work_.duration_ns.sum()
    assert found["share"].sum() == pytest.approx(1)


def test_the_phases_of_a_real_step(capsys: pytest.CaptureFixture[str]) -> None:
    path = shared.report("train-step-small-a100")
    assert phases.main([str(path), "--format", "json"]) == 0
    rows = {(row["phase"], row["category"]): row for row in json.loads(capsys.readouterr().out)}
    assert rows["forward", "gemm"]["calls"] == 109
    assert round(rows["forward", "gemm"]["share"], 3) == 0.760
    assert round(rows["all", "gemm"]["share"], 3) == 0.670
    # 1237 from autograd's thread, and the gradient of the loss itself from the main thread.
    assert sum(row["calls"] for key, row in rows.items() if key[0] == "backward") == 1238


def test_operators_have_phases_too(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("Forward", 0, 10), Range("Backward", 20, 30)],
        operators=[Operator("aten::mm", 1, 5, 4), Operator("aten::mm", 21, 28, 7)],
    )
    with Report(path) as report:
        rows = phases.by_category(report).rows()
    assert [(row["phase"], row["kernel_ns"], row["source"]) for row in rows] == [
        ("forward", 4, "operator"),
        ("backward", 7, "operator"),
        ("all", 11, "operator"),
    ]
