"""The verdict on a GPU's evidence: what holds, what was missed, what was not measured and why."""

import csv
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.gpu.verdict import POINTS, main, rows
from benchmarks.gpu.verdict_attribution import spelled
from benchmarks.gpu.verdict_rows import BESIDE, HOLDS, MISSED, NOT_MEASURED, Left, Row
from benchmarks.gpu.verdict_times import mfu
from tests.made.gpu import evidence
from tests.made.gpu.on_cpu import write_state
from tests.made.reports.build_report import Operator, Range, make_report


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return evidence.made(folder)


def found(out: Path, what: str) -> Row:
    """Return the row whose name begins so; points that read no report are asked first."""
    every = (row for point in reversed(POINTS) for row in point(Left(out)))
    return next(row for row in every if row.what.startswith(what))


def test_where_every_goal_is_reached_every_row_holds(out: Path) -> None:
    every = rows(Left(out))
    assert {row.verdict for row in every if row.point < 6} == {HOLDS, BESIDE}
    assert {row.point for row in every} == {1, 2, 3, 4, 5, 6}
    assert len({row.what for row in every}) == len(every)


def test_what_is_placed_in_no_phase_counts_against_the_share(out: Path) -> None:
    (out / "train-torch.sqlite").unlink()
    evidence.training(out / "train-torch.sqlite", evidence.TORCH_NAME, unplaced=1000)
    row = found(out, "kernel time in forward, backward or optimizer, torch")
    assert row.verdict == MISSED
    assert row.value == pytest.approx(0.5)
    assert row.reached.startswith("50.00 % at least (train; of 3 reports; not there: recording-")


def test_attentions_parts_need_kernels_in_both_directions(out: Path) -> None:
    with closing(sqlite3.connect(out / "train-nsys.sqlite")) as report:
        report.execute("delete from NVTX_EVENTS where text = 'softmax.backward'")
        report.commit()
    assert (
        found(out, "attention's three parts have kernels, forward and backward, torch").verdict
        == HOLDS
    )
    row = found(out, "attention's three parts have kernels, forward and backward, nsys")
    assert (row.verdict, row.value) == (MISSED, 5)


def test_recorders_agree_in_spite_of_how_they_spell_names(out: Path) -> None:
    row = found(out, "torch and nsys: kernels of train")
    assert (row.verdict, row.reached) == (HOLDS, "9 kernels of 2 names")


def test_one_kernel_more_is_a_difference_and_is_named(out: Path) -> None:
    (out / "train-nsys.sqlite").unlink()
    evidence.training(out / "train-nsys.sqlite", evidence.NSYS_NAME, unplaced=1)
    row = found(out, "torch and nsys: kernels of train")
    assert (row.verdict, row.reached) == (MISSED, "1 names differ, most at::f: 6 and 7")
    assert found(out, "torch and nsys: kernel time of train").verdict == HOLDS


def test_spellings_that_no_rule_knows_are_compared_by_function(out: Path) -> None:
    (out / "train-nsys.sqlite").unlink()
    evidence.training(out / "train-nsys.sqlite", "void at::f<four, g<float>>(int, T2)")
    row = found(out, "torch and nsys: kernels of train")
    assert row.verdict == HOLDS
    assert row.reached.endswith("of 2 names, by function; arguments spelled apart")


def test_operators_of_a_cpu_are_not_compared_between_recorders(out: Path) -> None:
    for recorder in ("torch", "nsys"):
        (out / f"train-{recorder}.sqlite").unlink()
        operators = [Operator("aten::mm", 10, 20, 10)]
        make_report(
            out / f"train-{recorder}.sqlite", operators=operators, ranges=[Range("forward", 0, 30)]
        )
    row = found(out, "torch and nsys: kernels of train")
    assert row.verdict == NOT_MEASURED
    assert row.reached.startswith("recorded on a CPU")


def test_real_names_of_both_recorders_are_spelled_alike() -> None:
    copy = "at::native::copy_kernel(at::TensorIteratorBase{0}&)::{1}::operator{0}()() const"
    nsys = f"void at::native::f<{copy.format(' ', '[lambda() (instance 3)]')}, (int)4>(T1)"
    torch = f"void at::native::f<{copy.format('', '{lambda()#3}')}, 4>(int, unsigned long)"
    assert spelled(nsys) == spelled(torch)


def test_gemms_are_those_of_forward_without_warmup_and_parts_of_one_count_once(out: Path) -> None:
    assert found(out, "GEMMs in one forward").reached == "8 linear + 2 batched"
    (out / "forward-torch.sqlite").unlink()
    evidence.forward(out / "forward-torch.sqlite", evidence.TORCH_NAME, linear=7)
    row = found(out, "GEMMs in one forward")
    assert (row.verdict, row.reached) == (MISSED, "7 linear + 2 batched")


def test_the_notes_figures_stand_beside_ours(out: Path) -> None:
    share = found(out, "GEMM's share")
    assert (share.reached, share.goal, share.verdict) == (
        "66.7 % → 60.0 %", "66.4 % → 47.3 %", BESIDE,
    )  # fmt: skip
    assert found(out, "scores / softmax").reached == "0 / 0 / 0 µs, time ratio 2.00 and 2.00"
    assert found(out, "final matmul's FLOPs").reached == "42.67"


def test_forward_by_nvtx_runs_from_the_first_kernels_start_to_the_lasts_end(out: Path) -> None:
    # Kernels from 100 to 200 ns; the range is open from 100 to 200 as well, the benchmark says 100.
    assert found(out, "forward by NVTX beside the benchmark, torch").value == 0
    evidence.write(out, "benchmark-forward.json", evidence.ABOUT | {"forward_ns": [80, 80, 500]})
    row = found(out, "forward by NVTX beside the benchmark, torch")
    assert row.verdict == MISSED
    assert row.value == pytest.approx(0.25)


def test_spans_that_cost_more_than_a_hundredth_miss_the_goal(out: Path) -> None:
    evidence.write(out, "span-cost.json", evidence.span_cost(1.02))
    row = found(out, "what spans cost")
    assert row.verdict == MISSED
    assert row.value == pytest.approx(0.02)
    assert row.reached.startswith("+2.00 % (+2.00 to +2.00; +0.00 % against itself; batch 4")


@pytest.mark.parametrize(
    ("change", "what", "verdict", "reached"),
    [
        (lambda out: evidence.flash(out, both_ms=6.9), "bf16, causal", MISSED, "6.900 ms (1.29"),
        (lambda out: evidence.flash(out, both_ms=5.0), "bf16, causal", HOLDS, "5.000 ms (below"),
        (lambda out: evidence.flash(out, ours_ms=1.2), "forward at width", MISSED, "1.09 of SDPA"),
        (lambda out: evidence.junit(out, failed=1), "flash in", MISSED, "2 pass, 1 fail"),
        (
            lambda out: evidence.junit(out, failed=0, skipped=1),
            "flash in",
            HOLDS,
            "2 pass, 0 fail, 1",
        ),
        (lambda out: evidence.junit(out, failed=0, skipped=3), "flash in", NOT_MEASURED, "tests-"),
    ],
)
def test_each_result_has_its_verdict(
    change: Callable[[Path], object], what: str, verdict: str, reached: str, out: Path
) -> None:
    change(out)
    row = found(out, what)
    assert row.verdict == verdict
    assert row.reached.startswith(reached)


@pytest.mark.parametrize(
    ("file", "content", "reached"),
    [
        ("tests-flash-float32.xml", "<a>", "tests-flash-float32.xml: damaged (no element found"),
        ("flash.csv", "a,b\n1,2\n", "the file is damaged (KeyError: 'implementation')"),
        ("train-torch.sqlite", "", "{out}/train-torch.sqlite: "),
        ("span-cost.json", "{", "span-cost.json: no JSON"),
        ("benchmark-forward.json", "[]", "benchmark-forward.json: another JSON"),
        (
            "sweep.jsonl",
            '{"settings": 3, "status": "ok", "reason": "", "result": {}}\n',
            "sweep.jsonl: a line is no row",
        ),
    ],
)
def test_a_damaged_file_spoils_its_own_rows_only(
    file: str, content: str, reached: str, out: Path
) -> None:
    (out / file).write_text(content)
    every = rows(Left(out))
    spoiled = [row for row in every if row.reached.startswith(reached.format(out=out))]
    assert {row.verdict for row in spoiled} == {NOT_MEASURED}
    rest = [row.verdict for row in every if row.verdict != NOT_MEASURED]
    assert {*rest} == {HOLDS, BESIDE}
    assert len(rest) >= 14
    assert main([str(out), "--keep", str(out / "kept"), "--output", str(out / "rows")]) == 0


def test_a_row_that_was_measured_again_counts_as_it_was_then(out: Path) -> None:
    evidence.sweep(out, evidence.line("small", 55.0))
    assert found(out, "small: forward").reached.startswith("55.00 ms")


def test_mfu_is_the_best_of_the_batches_and_what_each_means_brings_is_told(out: Path) -> None:
    best = found(out, "MFU of xl")
    assert (best.verdict, best.reached) == (HOLDS, "47.0 % (200.0 ms a step), batch 8")
    assert found(out, "… batch 8, flash attention, compiled").reached.startswith("47.0 %")
    assert [row.what for row in mfu(Left(out)) if row.reached.startswith("30.0 %")] == [
        "… batch 8, flash attention"
    ]


def test_the_sweep_stands_beside_the_public_tables_and_oom_is_said(out: Path) -> None:
    small = found(out, "small: forward")
    assert (small.reached, small.verdict) == ("60.00 ms (15.00 + 30.00)", BESIDE)
    assert small.goal.startswith("57.2 ms (device not stated), 35.0 + 41.6 ms (RTX 4090 D)")
    assert found(out, "2.7B: forward").reached == "OOM: out of memory"
    assert found(out, "medium: forward").reached == "no row of medium"


def test_what_was_not_measured_says_what_became_of_its_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = "python -m profiling.flash_benchmark\nerror: no CUDA device\n[status 1, 2.0 s]\n"
    (tmp_path / "flash.log").write_text(log)
    write_state(tmp_path, {"flash": 1, "recording-train-nsys": "not run: no nsys here"})
    every = rows(Left(tmp_path))
    assert {row.verdict for row in every} == {NOT_MEASURED}
    reached = [row.reached for row in every]
    assert "flash: ended with status 1 (error: no CUDA device)" in reached
    assert "recording-train-nsys: not run: no nsys here" in reached
    assert "tests-flash-float32: not run" in reached
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("no result says what device it is of\n")
    assert main([str(tmp_path), "--keep", str(tmp_path / "kept")]) == 1
    assert "error: " in capsys.readouterr().err
    assert not (tmp_path / "kept").exists()


def test_the_page_has_every_row_and_says_how_many_are_open(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(out)]) == 0
    said, err = capsys.readouterr()
    assert said.startswith(
        "NVIDIA Test 1, 2026-01-02\ndriver 580.1, torch 2.0, commit abc\n\n(1)\n"
    )
    assert "holds: flash in float32 is right: 3 pass, 0 fail [all tests pass]\n" in said
    assert err == "note: 4 of 31 rows are not measured\n"
    assert main([str(out), "--format", "csv"]) == 0
    lines = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert len(lines) == 31
    assert list(lines[0]) == ["point", "what", "reached", "goal", "verdict", "source", "value"]
