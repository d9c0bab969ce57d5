"""What a change gains, as a command and in Python: names, bad input, csv, runs on a CPU."""

import csv
import io
from pathlib import Path

import pytest

from analysis import Report, ReportError
from tests.made.commands.in_process import run_command
from tests.made.replay.machine import LAUNCH, WAIT_DEVICE, Step
from tests.made.replay.recording import record
from tests.made.reports.build_report import Operator, Range, make_report
from tests.made.tools import shared
from tests.made.tools.shared import ROOT

WHATIF = "analysis.whatif"
SAMPLE = ROOT / "nsys_reports" / "sample.sqlite"
NAME = "k[0]<b>\x1b[31m;'--"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Write the report of twenty pairs of kernels, each waited for."""
    pair = [
        Step(LAUNCH, took=40_000, name="sgemm", inside="ffn"),
        Step(LAUNCH, took=20_000, name=NAME, inside="gemm"),
        Step(WAIT_DEVICE),
    ]
    record(pair * 20, tmp_path / "r.sqlite")
    return tmp_path / "r.sqlite"


def rows(path: Path, *arguments: str) -> list[dict[str, str]]:
    done = run_command(WHATIF, path, *arguments, "--format", "csv")
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


def test_the_first_row_is_of_the_blind_replay_and_the_columns_are_the_documented(
    path: Path,
) -> None:
    found = rows(path, "--scale", "sgemm=0.5")
    assert list(found[0]) == ["change", "before_ns", "after_ns", "saved_ns", "ratio", "step"]
    none, change = found
    assert none["change"] == "none"
    assert none["before_ns"] == none["after_ns"] == change["before_ns"]
    assert change["change"] == "scale sgemm=0.5"
    assert int(change["saved_ns"]) == 20 * 20_000
    assert rows(path) == [none]


def test_a_name_is_a_category_before_a_range_before_kernels(path: Path) -> None:
    # The range called gemm holds the other kernels: the category is meant.
    assert (
        rows(path, "--scale", "gemm=0")[1]["saved_ns"]
        == rows(path, "--scale", "ffn=0")[1]["saved_ns"]
    )
    # Leaving out is said of ranges alone: their work, and the launches in them.
    assert int(rows(path, "--remove", "gemm")[1]["saved_ns"]) >= 20 * 20_000


def test_kernels_are_named_exactly_or_by_a_glob_whatever_they_are_called(path: Path) -> None:
    exact = rows(path, "--scale", f"{NAME}=0.5")[1]
    assert int(exact["saved_ns"]) == 20 * 10_000
    assert exact["change"] == f"scale {NAME}=0.5"
    glob = rows(path, "--scale", "k*=0.5")[1]
    assert glob["saved_ns"] == exact["saved_ns"]
    done = run_command(WHATIF, path, "--scale", f"{NAME}=0.5")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--scale", "gemm"], "'gemm': give a name and a factor, such as gemm=0.25"),
        (["--scale", "=0.5"], "give a name and a factor"),
        (["--scale", "gemm=-1"], "'-1' is no factor"),
        (["--scale", "gemm=nan"], "'nan' is no factor"),
        (["--scale", "gemm=inf"], "'inf' is no factor"),
        (["--scale", "gemm="], "'' is no factor"),
        (["--scale", "gemm=1", "--scale", "gemm=2"], "--scale is given twice for gemm"),
        (["--remove", "a", "--remove", "a"], "--remove is given twice for a"),
        (["--host", "x"], "'x' is no factor"),
        (["--host", "-0.5"], "'-0.5' is no factor"),
        (["--overlap", "gemm"], "invalid choice: 'gemm'"),
        (["--exclude", "warmup"], "unrecognized arguments: --exclude"),
        (["--steps", "0:1"], "unrecognized arguments: --steps"),
        (["--device", "0"], "unrecognized arguments: --device"),
        (["--process", "0"], "unrecognized arguments: --process"),
    ],
)
def test_wrong_usage_is_said(arguments: list[str], said: str, path: Path) -> None:
    done = run_command(WHATIF, path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--scale", "typo=0.5"],
            "no category, range or kernel is called 'typo'; "
            "it has the categories gemm, other; the ranges ffn, gemm",
        ),
        (["--remove", "typo"], "no NVTX range is called 'typo'; it has: ffn, gemm"),
        (["--graph", "sgemm"], "no NVTX range is called 'sgemm'; it has: ffn, gemm"),
        (
            ["--no-wait", "cudaFree"],
            "no CUDA call is called 'cudaFree'; "
            "of those that may wait it has: cudaDeviceSynchronize",
        ),
    ],
)
def test_of_an_unknown_name_it_is_said_what_there_is(
    arguments: list[str], said: str, path: Path
) -> None:
    done = run_command(WHATIF, path, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_report_that_is_refused_is_so_in_one_line() -> None:
    done = run_command(WHATIF, shared.report("mpi-saxpy-2022.2"), "--host", "0.5")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "its replay cannot be trusted: only 20 pieces of device work" in done.stderr


def test_where_there_are_no_collectives_none_can_overlap(path: Path) -> None:
    done = run_command(WHATIF, path, "--overlap", "collective")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no collectives in this report" in done.stderr


def test_in_python_it_is_a_frame(path: Path) -> None:
    with Report(path) as report:
        frame = report.whatif({"gemm": 0.25}, host=0.5)
        assert frame["change"].tolist() == ["none", "scale gemm=0.25, host 0.5"]
        assert (frame["before_ns"] - frame["after_ns"] == frame["saved_ns"]).all()
        for wrong in (-1.0, float("nan"), float("inf")):
            with pytest.raises(ValueError, match="cannot be scaled by"):
                report.whatif({"gemm": wrong})
        with pytest.raises(ReportError, match="no category, range or kernel is called 'typo'"):
            report.whatif({"typo": 0.5})


@pytest.fixture
def cpu(tmp_path: Path) -> Path:
    """Write a run on a CPU: two steps of 100 with a forward of 60, which has an ffn of 40."""
    ranges, operators = [], []
    for at in (0, 100):
        ranges += [
            Range("step", at, at + 100),
            Range("forward", at, at + 60),
            Range("ffn", at + 10, at + 50),
        ]
        operators += [
            Operator("aten::mm", at + 10, at + 40, 30),
            Operator("aten::softmax", at + 70, at + 90, 20),
        ]
    return make_report(tmp_path / "cpu.sqlite", ranges=ranges, operators=operators)


def steps(path: Path, *arguments: str) -> list[int]:
    return [int(row["after_ns"]) for row in rows(path, *arguments) if row["step"]]


def test_on_a_cpu_a_change_shortens_what_it_names(cpu: Path) -> None:
    assert steps(cpu, "--scale", "gemm=0.5") == [85, 85]
    assert steps(cpu, "--remove", "ffn") == [60, 60]
    assert steps(cpu, "--remove", "forward") == [40, 40]
    # A range in a range that is left out has gone with it.
    assert steps(cpu, "--remove", "forward", "--remove", "ffn") == [40, 40]
    assert steps(cpu, "--scale", "forward=0.5", "--scale", "ffn=0.5") == [60, 60]
    # Half of the 50 that no operator takes.
    assert steps(cpu, "--host", "0.5") == [75, 75]
    assert steps(cpu, "--host", "0", "--scale", "*=0") == [0, 0]


@pytest.mark.parametrize("arguments", [["--graph", "ffn"], ["--overlap", "collective"]])
def test_what_is_about_launches_is_refused_on_a_cpu(cpu: Path, arguments: list[str]) -> None:
    done = run_command(WHATIF, cpu, *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "a CPU run has no launches" in done.stderr


def test_on_the_sample_the_optimizer_left_out_is_gone_from_every_step() -> None:
    with Report(SAMPLE) as report:
        ranges = report.ranges()
        wall_ns = ranges["wall_ns"][ranges["range"] == "optimizer"].iloc[0]
        frame = report.whatif(remove=["optimizer"])
        some = frame[frame["step"] != ""]
        assert (some["saved_ns"] > 0).all()
        assert int(some["saved_ns"].sum()) == pytest.approx(int(wall_ns), rel=0.01)
        zero = report.whatif({"optimizer": 0})
        assert zero[zero["step"] != ""]["saved_ns"].tolist() == some["saved_ns"].tolist()
        kinds = report.whatif({"gemm": 0})
        assert (kinds["saved_ns"][1:] > 0).all()


def test_in_python_a_name_by_itself_is_one_name(path: Path) -> None:
    with Report(path) as report:
        pairs = [({"remove": "ffn"}, {"remove": ["ffn"]}), ({"graph": "ffn"}, {"graph": ["ffn"]})]
        pairs += [({"no_wait": "cuda*"}, {"no_wait": ["cuda*"]})]
        for alone, listed in pairs:
            assert report.whatif(**alone).equals(report.whatif(**listed))
