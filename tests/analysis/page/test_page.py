"""The page: the run, how far to trust it, phases, categories, work, attention."""

import json
import sqlite3
from pathlib import Path

import pytest

from analysis import Report, kernels
from analysis.__main__ import main
from analysis.answers import __main__ as answers
from analysis.budget import budget as report_budget
from analysis.page.page import page
from analysis.page.verdict import NOTHING_TO_DO
from tests.made.reports.build_report import Kernel, Operator, Range, make_report
from tests.made.tools import shared
from tests.made.tools.shared import ROOT

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
    said = printed.out.replace(str(report), report.name)
    assert said == (Path(__file__).parent / "data" / "page.txt").read_text()


def test_json_holds_every_table(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(report), "--format", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert list(made) == [
        "verdict",
        "advice",
        "about",
        "run",
        "budget",
        "phases",
        "categories",
        "top_kernels",
        "attention",
    ]
    assert made["run"] == RUN
    assert [row["phase"] for row in made["phases"]] == ["forward", "backward", "other"]
    assert [row["wall_ns"] for row in made["phases"]] == [30, 40, 0]
    assert made["top_kernels"][0]["name"] == "sgemm"
    assert made["top_kernels"][0]["total_ns"] == 34


def test_json_holds_advice_as_objects(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the 90 ns from the warm-up's last kernel on, softmax took 6; of 50 ns of kernels, too."""
    assert main([str(report), "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["advice"]
    text = found.pop("text")
    assert text.startswith("attention takes 12.0 % of the kernels' time (15.0 % of the wall time)")
    assert found == {
        "id": "unfused-attention",
        "range": "attention",
        "ns": 6,
        "share": 0.15,
        "change": "attention's products alone",
        "before_ns": None,
        "after_ns": None,
        "saved_ns": None,
        "limit_then": None,
    }


def test_sqlite_holds_every_table(report: Path, tmp_path: Path) -> None:
    output = tmp_path / "summary.db"
    assert main([str(report), "--format", "sqlite", "--output", str(output)]) == 0
    with sqlite3.connect(output) as connection:
        sql = "SELECT name FROM sqlite_master WHERE type = 'table'"
        names = [row[0] for row in connection.execute(sql)]
        told = connection.execute("SELECT key, value FROM page_run").fetchall()
    parts = ["run", "budget", "phases", "categories", "top_kernels", "attention"]
    assert names == [*(f"page_{part}" for part in parts), "runs"]
    assert told[0] == ("about", "r.sqlite · nsys 2023.4.4")
    assert dict(told[-len(RUN) :]) == RUN


def test_the_page_and_all_kernels_go_into_one_database(report: Path, tmp_path: Path) -> None:
    output = tmp_path / "summary.db"
    options = [str(report), "--format", "sqlite", "--output", str(output)]
    assert kernels.main(options) == 0
    assert main([*options, "--top", "1"]) == 0
    with sqlite3.connect(output) as connection:
        counts = [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("kernels", "page_top_kernels")
        ]
    assert counts == [3, 1]


def test_top_is_how_many_kernels_the_page_lists(
    report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(report), "--top", "2"]) == 0
    printed = capsys.readouterr().out
    assert "Top kernels (of 3)" in printed
    assert "stray" in printed
    assert "softmax_warp_forward" not in printed


def test_a_note_on_all_operators_says_that_warm_up_is_in_it(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("warmup", 0, 20), Range("forward", 20, 40)],
        operators=[
            Operator("aten::mm", 1, 5, 4),
            Operator("my::operator", 6, 8, 2),
            Operator("aten::mm", 21, 28, 7),
        ],
    )
    with Report(path) as report:
        notes = [note for table in page(report).tables for note in table.notes]
    assert any(
        note.startswith("of the whole report, warm-up included: 1 row, 2 ns, is no aten::")
        for note in notes
    )


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
        (_, phases, *_) = page(report).tables
    assert phases.columns["phase"] == ["run", "load"]
    assert phases.notes == (
        "no range is called forward, backward or optimizer: the outermost are shown",
    )


def test_warm_up_can_be_included(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(report), "--exclude", "none", "--format", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert sum(row["kernel_ns"] for row in made["phases"]) == 100
    assert sum(row["total_ns"] for row in made["categories"]) == 100
    assert not any("warm-up" in line for line in made["about"])


@pytest.mark.parametrize(
    ("ranges", "says"),
    [
        ([Range("warmup", 10 * at, 10 * at + 9) for at in range(5)], "5 steps"),
        (
            [Range("warmup", 0, 50), *(Range("step", 10 * n, 10 * n + 9) for n in range(5))],
            "5 steps",
        ),
        (
            [Range("warmup", 0, 50), *(Range("forward", 10 * n, 10 * n + 3) for n in range(5))],
            "5 steps",
        ),
        (
            [Range("warm-up", 0, 50), *(Range("warmup", 10 * n, 10 * n + 9) for n in range(5))],
            "5 steps",
        ),
        ([Range("warmup", 0, 9, process=process) for process in (100, 200)], "1 step"),
    ],
)
def test_the_steps_of_the_warm_up_are_counted(
    ranges: list[Range], says: str, tmp_path: Path
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[*ranges, Range("step", 60, 90)],
        kernels=[Kernel("k", 5, 9, launch=1), Kernel("k", 70, 80, launch=61)],
    )
    with Report(path) as report:
        assert any(f"warm-up left out below: {says}, 4 ns" in line for line in page(report).lines)


def test_answers_include_warm_up_where_they_are_told_to(
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = ROOT / "nsys_reports" / "sample.sqlite"
    said = []
    for option in ("warmup", "none"):
        assert answers.main([str(source), "--exclude", option]) == 0
        said.append(capsys.readouterr().out)
    assert "median of 2," in said[0]
    assert "median of 3," in said[1]


def test_markdown_has_its_lines_in_one_block_and_advice_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "a_b`<i>.sqlite", kernels=[Kernel("k", 50, 60, launch=12)], run=RUN
    )
    assert main([str(path), "--format", "markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    begin = lines.index("```text")
    assert lines[begin + 1] == "a_b`<i>.sqlite · nsys 2023.4.4"
    assert lines.index("```") < lines.index("Categories of kernels")
    assert lines[0].startswith("**A step takes 110 ns (median of 2, 100 ns to 120 ns): GPU busy")
    assert lines[2].startswith("1. no NVTX ranges in this report")
    assert begin > 2
    assert not any(line.startswith("- `") for line in lines)


@pytest.mark.parametrize("value", ["9" * 6000, "9" * 40])
def test_a_number_that_counts_nothing_real_is_left_out(value: str, tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("k", 50, 60, launch=12)],
        run={"parameters": value, "size": "tiny"},
    )
    with Report(path) as report:
        assert page(report).lines[1] == "size tiny"


def test_a_report_with_ranges_only_shows_them() -> None:
    with Report(shared.report("nvtx-only-2022.4")) as report:
        made = page(report)
    assert "no GPU kernels and no CPU operators" in made.verdict
    assert made.advice is None
    assert [table.name for table in made.tables] == ["ranges"]


@pytest.mark.parametrize("name", shared.WITH_KERNELS)
def test_every_real_report_has_a_page(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(shared.report(name))]) == 0
    assert "Top kernels" in capsys.readouterr().out


def test_the_first_lines_say_what_to_do_and_what_it_gains(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([str(ROOT / "nsys_reports" / "sample.sqlite")]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = " ".join(lines[:7])
    assert "The largest single gain is advice 1: 485.7 ms → 399.2 ms" in " ".join(lines[:3])
    assert first.startswith("A step takes 485.7 ms (median of 2, 478.5 ms to 492.9 ms)")
    assert "the same work could take 281.5 ms (ideal)" in first
    assert "AdamW(..., fused=True)" in first
    assert "more: python -m analysis.kernels" in first


def test_the_verdict_says_where_the_host_was_while_the_gpu_was_idle(tmp_path: Path) -> None:
    """Of 100 ns the GPU works 50 and waits 50: 40 in the optimizer, 10 in forward."""
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("step", 0, 100),
            Range("step", 100, 110),
            Range("forward", 0, 50),
            Range("optimizer", 50, 100),
        ],
        kernels=[
            Kernel("sgemm", 0, 40, launch=0),
            Kernel("adam", 90, 100, launch=50),
        ],
    )
    with Report(path) as report:
        assert page(report).verdict == (
            "A step takes 55 ns (median of 2, 10 ns to 100 ns): GPU busy 50.0 %, idle 50.0 % "
            "(80.0 % of it in optimizer); most of what is known to be lost is in waiting for a "
            "host that did something else (10 ns in step 1); kernels: gemm 80.0 %, forward 80.0 %."
        )


def test_a_gpu_that_falls_behind_the_host_takes_longer_for_a_step(tmp_path: Path) -> None:
    """Nobody waits for the GPU: the host is done with five steps of 10 ns when it begins."""
    path = make_report(
        tmp_path / "r.sqlite",
        run={"device_name": "NVIDIA A100-SXM4-40GB", "dtype": "float32"},
        ranges=[
            *(Range("step", at, at + 10) for at in range(0, 50, 10)),
            *(Range("ffn", at, at + 9, payload=975_000) for at in range(0, 50, 10)),
        ],
        kernels=[Kernel("sgemm", 10 * at, 10 * at + 100, launch=at) for at in range(0, 50, 10)],
    )
    with Report(path) as report:
        made = page(report)
        notes = report_budget(report).notes
    assert made.verdict.startswith(
        "A step takes 10 ns on the host (median of 5) and 100 ns on the GPU, which falls behind: "
        "GPU busy 100.0 %"
    )
    assert "could take" not in made.verdict
    assert any("in a median step of 100 ns" in line for line in made.lines)
    told = "the GPU falls behind the host: what the steps launched takes 450 ns longer than they"
    assert any(line.startswith(told) for line in made.lines)
    assert any(line.startswith(told) for line in notes)


def test_the_verdict_names_what_is_lost_where_no_ideal_time_is_known(tmp_path: Path) -> None:
    """Of 100 ns a step GPU 1 waits 30 for a launch; its kernels' ideal time is not known."""
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", at, at + 100) for at in (0, 100, 200)],
        kernels=[
            Kernel("k", at + start, at + 100, device=device, launch=at + start - 1)
            for at in (0, 100, 200)
            for device, start in ((0, 1), (1, 30))
        ],
    )
    words = (
        "; most of what is known to be lost is in waiting for the host to launch "
        "(30 ns in step 1 on GPU 1); "
    )
    with Report(path) as report:
        assert words in page(report).verdict


def test_a_page_without_advice_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 100), Range("forward", 0, 90)],
        kernels=[Kernel("gemm_fp16_tensorop", 10, 100, launch=5)],
    )
    assert main([str(path)]) == 0
    assert NOTHING_TO_DO in capsys.readouterr().out.splitlines()[:3]
    assert main([str(path), "--format", "markdown"]) == 0
    assert capsys.readouterr().out.splitlines()[2] == NOTHING_TO_DO


def test_the_page_names_the_models_of_a_run(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("k", 50, 60, launch=12)],
        run={"workload": "generation", "base_model": "qwen3-0.6b", "teacher_model": "qwen3-4b"},
    )
    with Report(path) as report:
        line = page(report).lines[1]
    assert line == "workload generation · base_model qwen3-0.6b · teacher_model qwen3-4b"


def test_steps_that_stand_in_for_phases_are_no_part_of_the_verdict(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 100), Range("{'layers': 12, 'hidden': 768}", 5, 90)],
        kernels=[Kernel("sgemm", 10, 100, launch=5)],
    )
    with Report(path) as report:
        assert page(report).verdict.endswith("kernels: gemm 100.0 %.")


def test_a_dictionary_as_a_name_is_cut_in_the_verdict(tmp_path: Path) -> None:
    name = str({"layers": 12, "hidden": 768, "heads": 12, "vocabulary": 50257, "batch": 8})
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range(name, 5, 90)],
        kernels=[Kernel("sgemm", 10, 100, launch=5)],
    )
    with Report(path) as report:
        said = page(report).verdict
    assert name not in said
    assert "{'layers': 12, 'hidd…" in said
