"""The page on steps: their times, what recording cost them, and the rate that follows."""

from pathlib import Path

import pytest

from analysis import Report
from analysis.page.page import page
from analysis.trim import __main__ as trim
from tests.made.reports.build_report import Kernel, Range, make_report
from tests.made.tools import shared
from tests.made.tools.shared import ROOT


@pytest.mark.parametrize(
    ("recorded", "bare", "words"),
    [
        ("[118, 120, 122]", "[99, 100, 101]", ": recording cost +20.0 %"),
        ("[100, 120]", "[80, 90]", ": too few steps to tell what recording costs"),
        ("[52, 54]", "[37.54, 508.7]", ": too few steps to tell what recording costs"),
        ("[100, 90, 110, 95]", "[80, 110, 100, 92]", ": what recording costs cannot be told"),
        ("[50, 51, 49, 52, 900]", "[20, 21, 19, 20, 20]", ": what recording costs cannot be told"),
        ("[79, 80, 81]", "[99, 100, 101]", ": recorded steps took 20.0 % less"),
        ("[]", "[99, 100, 101]", "median 100 ns (99 ns to 101 ns, 3 steps)"),
    ],
)
def test_what_recording_cost(recorded: str, bare: str, words: str, tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("k", 50, 60, launch=12)],
        run={"step_ns": recorded, "unprofiled_step_ns": bare},
    )
    with Report(path) as report:
        (line,) = (line for line in page(report).lines if line.startswith("step, not recorded"))
    assert words in line
    assert ("%" in words) == ("%" in line)


MODEL = {
    "parameters": "200",
    "vocab_size": "10",
    "d_model": "5",
    "num_layers": "1",
    "batch": "2",
    "context": "3",
}


@pytest.mark.parametrize(
    ("recorded", "bare", "words"),
    [
        ("[52, 54]", "[37.54, 508.7]", "in a median step of 53 ns, recorded"),
        ("[52, 54]", "[70, 80, 300]", "in a median step of 80 ns, not recorded"),
        ("[52, 530]", "[37.54, 508.7]", "not recorded; steps differ, from 12.74 GFLOP/s to 172.6"),
    ],
)
def test_the_rate_is_of_steps_that_agree(
    recorded: str, bare: str, words: str, tmp_path: Path
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("k", 50, 60, launch=12)],
        run={"step_ns": recorded, "unprofiled_step_ns": bare, **MODEL},
    )
    with Report(path) as report:
        assert any(words in line for line in page(report).lines)


def step_line(path: Path, *exclude: str) -> str:
    """Return the line on the recorded steps."""
    with Report(path) as report:
        lines = page(report, exclude=exclude).lines
    (line,) = (line for line in lines if line.startswith("step, recorded"))
    return line


def test_steps_are_the_step_ranges_of_anyones_report(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("warmup", 0, 500),
            *(Range(f"ProfilerStep#{n}", 600 + 100 * n, 640 + 110 * n) for n in range(3)),
        ],
        kernels=[Kernel("k", 650, 660, launch=612)],
        run={"step_ns": "[999]"},
    )
    assert step_line(path) == "step, recorded: median 50 ns (40 ns to 60 ns, 3 steps)"
    assert step_line(path, "none").endswith("(40 ns to 500 ns, 4 steps)")


def test_the_steps_of_a_real_trace() -> None:
    """Four ProfilerSteps of 44.5, 42.5, 35.9 and 41.5 ms."""
    line = step_line(shared.trace("gpt-8xh100-rank0"))
    assert line == "step, recorded: median 42.00 ms (35.88 ms to 44.54 ms, 4 steps)"


def test_steps_without_any_work_are_told(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", ranges=[Range("step", 0, 70), Range("step", 70, 100)])
    assert step_line(path) == "step, recorded: median 50 ns (30 ns to 70 ns, 2 steps)"


def test_a_trimmed_report_says_so_first_and_tells_of_the_steps_it_holds(tmp_path: Path) -> None:
    source = ROOT / "nsys_reports" / "sample.sqlite"
    small = tmp_path / "one.sqlite"
    assert trim.main([str(source), "--output", str(small)]) == 0
    with Report(small) as report:
        lines = page(report).lines
    assert lines[1].startswith("trimmed from sample.sqlite (steps 2, warmup 1): step 1 of 2, ")
    assert not any("· steps 2" in line for line in lines)
    assert "step, recorded: 492.9 ms (1 step)" in lines
    assert any(line.startswith("step, not recorded, in the run it was cut from") for line in lines)


def test_a_trimmed_report_without_steps_tells_of_none(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("k", 50, 60, launch=12)],
        run={"step_ns": "[100, 120]", "trimmed": "0 to 5"},
    )
    with Report(path) as report:
        lines = page(report).lines
    assert lines[1] == "trimmed from a larger report: 0 to 5"
    assert not any(line.startswith("step") for line in lines)


@pytest.mark.parametrize(
    "damaged",
    [
        *("", "{", "[]", "null", '["a"]', '{"a": 1}', "[0, 0]", "[-5, 5]", "[NaN]", "[Infinity]"),
        pytest.param(f"[1{'0' * 400}]", id="400 digits"),
        pytest.param(f"[1{'0' * 6000}]", id="6000 digits"),
        pytest.param("[" * 100_000, id="100000 brackets"),
    ],
)
def test_step_times_that_cannot_be_read_are_left_out(damaged: str, tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("k", 50, 60, launch=12)],
        run={"step_ns": damaged},
    )
    with Report(path) as report:
        assert not any("step, recorded" in line for line in page(report).lines)
