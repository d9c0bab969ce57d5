"""The page: the run, how far to trust it, phases, categories, work, attention."""

import json
import sqlite3
from pathlib import Path

import pytest

from analysis.__main__ import main
from analysis.page import page
from analysis.report import Report
from tests import shared
from tests.build_report import Kernel, Range, make_report

RUN = {
    "size": "tiny",
    "parameters": "1234567",
    "mode": "train",
    "step_ns": "[100, 120]",
    "unprofiled_step_ns": "[80, 110]",
}


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("warmup", 0, 20),
            Range("step", 20, 100),
            Range("forward", 20, 50),
            Range("softmax", 30, 40, payload=6),
            Range("backward", 50, 90),
        ],
        kernels=[
            Kernel("sgemm", 200, 250, launch=5),
            Kernel("softmax_warp_forward", 250, 256, launch=32),
            Kernel("sgemm", 256, 280, launch=60),
            Kernel("sgemm", 280, 290, launch=60, thread=101),
            Kernel("stray", 300, 310),
        ],
        run=RUN,
    )


def test_the_whole_page(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(report)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out == (Path(__file__).parent / "data" / "page.txt").read_text()


def test_json_holds_every_table(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(report), "--format", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert list(made) == ["about", "phases", "categories", "kernels", "attention"]
    assert [row["phase"] for row in made["phases"]] == ["forward", "backward", "other"]
    assert [row["wall_ns"] for row in made["phases"]] == [30, 40, 10]
    assert made["kernels"][0]["name"] == "sgemm"
    assert made["kernels"][0]["total_ns"] == 34


def test_sqlite_holds_every_table(report: Path, tmp_path: Path) -> None:
    output = tmp_path / "summary.db"
    assert main([str(report), "--format", "sqlite", "--output", str(output)]) == 0
    with sqlite3.connect(output) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
    assert names == ["phases", "categories", "kernels", "attention"]


def test_csv_is_refused_because_the_page_is_several_tables(
    report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(report), "--format", "csv"])
    assert stop.value.code == 2
    assert "several tables" in capsys.readouterr().err


def test_without_phase_ranges_the_outermost_stand_in(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("load", 0, 10), Range("inner", 2, 3), Range("run", 10, 40)],
        kernels=[Kernel("k", 50, 60, launch=12)],
    )
    with Report(path) as report:
        (phases, *_) = page(report).tables
    assert phases.columns["phase"] == ["run", "load"]
    assert phases.notes == (
        "no range is called forward, backward or optimizer: the outermost are shown",
    )


@pytest.mark.parametrize(
    ("recorded", "bare", "words"),
    [
        ("[100, 120]", "[80, 110]", "recording cost +15.8 %, no more than steps differ"),
        ("[100, 120]", "[80, 90]", "recording cost +29.4 %"),
        ("[100]", "[80]", "too few steps to tell what recording costs"),
    ],
)
def test_what_recording_cost(recorded: str, bare: str, words: str, tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("k", 50, 60, launch=12)],
        run={"step_ns": recorded, "unprofiled_step_ns": bare},
    )
    with Report(path) as report:
        assert any(words in line for line in page(report).lines)


@pytest.mark.parametrize("damaged", ["", "{", "[]", "null", '["a"]', '{"a": 1}'])
def test_step_times_that_cannot_be_read_are_left_out(damaged: str, tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("k", 50, 60, launch=12)],
        run={"step_ns": damaged},
    )
    with Report(path) as report:
        assert not any("step, recorded" in line for line in page(report).lines)


def test_a_report_with_ranges_only_shows_them() -> None:
    with Report(shared.report("nvtx-only-2022.4")) as report:
        made = page(report)
    assert "no GPU kernels and no CPU operators" in made.lines[-1]
    assert [table.name for table in made.tables] == ["ranges"]


@pytest.mark.parametrize("name", shared.WITH_KERNELS)
def test_every_real_report_has_a_page(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(shared.report(name))]) == 0
    assert "Top kernels" in capsys.readouterr().out
