"""The FlashAttention benchmark: rows, rates, what does not fit, what is not supported."""

import io
import json
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from analysis.show import render
from analysis.show.sheet import Sheet
from profiling.attention import flash_benchmark, flash_benchmark_run
from profiling.attention.flash_benchmark import main, rows
from profiling.attention.flash_benchmark_run import supported, timed_ns
from profiling.attention.rows import FlashRow
from profiling.common.cli import run

QUICK = ("--device", "cpu", "--heads", "2", "--warmup-ms", "1", "--repeat-ms", "1")


def row(**changes: Any) -> FlashRow:
    shape = {"dtype": "float32", "width": 16, "length": 32, "heads": 2, "batch": 1}
    how = {"implementation": "eager", "device": "cpu", "warmup_ms": 1, "repeat_ms": 1}
    return FlashRow(**{**shape, **how, **changes})


def made(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert run(lambda: main([*QUICK, *arguments, "--format", "json"])) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_every_part_of_every_row_has_times_and_a_rate(capsys: pytest.CaptureFixture[str]) -> None:
    names = "eager,sdpa,flash-reference"
    found = made(capsys, "--lengths", "32,64", "--widths", "16", "--implementations", names)
    assert [(one["length"], one["implementation"], one["part"]) for one in found] == [
        (length, name, part)
        for length in (32, 64)
        for name in names.split(",")
        for part in ("forward", "backward", "both")
    ]
    products = {"forward": 2, "backward": 5, "both": 7}
    for one in found:
        assert 0 < one["p10_ns"] <= one["median_ns"] <= one["p90_ns"]
        flops = products[one["part"]] * 2 * one["length"] ** 2 * 16 / 2 * 2
        assert one["flops_per_s"] == pytest.approx(flops / one["median_ns"] * 1e9)
        assert (one["outcome"], one["memory_bytes"]) == ("done", None)


def test_the_median_and_its_spread_fit_80_columns() -> None:
    """Of one width, and of several with their dtype: then the rate, which follows, has no room."""
    results = [
        {**asdict(row(width=width, implementation="flash-reference")), "outcome": "done"}
        | {
            part: [123_456_789, 100_000_000, 150_000_000]
            for part in ("forward", "backward", "both")
        }
        for width in (16, 128)
    ]
    for some, wanted in ((results[:1], True), (results, False)):
        shown = flash_benchmark.table(some, "cpu")
        stream = io.StringIO()
        render.write_text(shown, Sheet(80, folds=True), stream)
        text = stream.getvalue()
        lines = text.splitlines()
        assert max(map(len, lines)) <= 80
        assert "123.5 ms  100.0 ms  150.0 ms" in text
        assert ("FLOP/s" in text) == wanted


def test_compiled_attention_can_go_backward_again_and_again(
    capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    found = made(capsys, "--lengths", "32", "--widths", "16", "--implementations", "compiled")
    assert [one["outcome"] for one in found] == 3 * ["done"]


def test_on_a_gpu_the_compiler_is_kept_quiet_about_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports
        from torch._inductor import compile_fx

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))
    warn = compile_fx._warn_tf32_disabled.__wrapped__
    with pytest.warns(UserWarning, match="TensorFloat32"):
        warn()
    with supported(row(implementation="compiled")):
        warn()  # a warning is an error in these tests


def test_what_does_not_fit_reads_oom_and_the_others_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flash_benchmark_run, "available_bytes", lambda _: 500_000)
    arguments = ["--lengths", "32,1024", "--widths", "16", "--implementations", "eager"]
    assert main([*QUICK, *arguments, "--format", "csv"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert [line.rsplit(",", 1)[1] for line in lines[1:]] == 3 * ["done"] + 3 * ["OOM"]
    assert lines[-1] == "eager,float32,16,1024,both,,,,,,OOM"
    assert "note: eager, float32, width 16, length 1024: about 0.0 GiB are needed" in printed.err


def test_a_gpus_out_of_memory_is_a_result_and_any_other_error_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def raises(error: Exception) -> Callable[[FlashRow], dict[str, Any]]:
        def measure(_: FlashRow) -> dict[str, Any]:
            raise error

        return measure

    full = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 128 GiB.\nMore")
    monkeypatch.setattr(flash_benchmark_run, "measure", raises(full))
    result = flash_benchmark.measure_row(row())
    assert result["outcome"] == "OOM"
    assert result["message"].endswith("CUDA out of memory. Tried to allocate 128 GiB.")
    monkeypatch.setattr(flash_benchmark_run, "measure", raises(RuntimeError("illegal access")))
    with pytest.raises(RuntimeError, match="illegal"):
        flash_benchmark.measure_row(row())


def test_what_an_implementation_does_not_do_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--lengths", "32", "--widths", "16", "--implementations", "flash,flash-attn"]
    assert main([*QUICK, *arguments]) == 0
    printed = capsys.readouterr()
    assert printed.out.count("unsupported") == 6
    assert "note: flash, float32, width 16, length 32: flash attention in Triton" in printed.err
    assert "length 32: the package flash-attn is not installed" in printed.err


def test_on_a_cpu_a_few_rows_are_measured_and_it_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flash_benchmark, "measure_row", lambda row: pytest.fail("measured"))
    monkeypatch.setattr(flash_benchmark, "rows", lambda *_: [])
    assert main([*QUICK, "--lengths", "32"]) == 0
    said = capsys.readouterr().err
    assert "only a few widths, dtypes, implementations are measured unless they are named" in said
    arguments = flash_benchmark.parser().parse_args([])
    monkeypatch.undo()
    assert len(rows(arguments, "cpu")) == 4 * 1 * 1 * 3
    usual = rows(arguments, "cuda")
    assert (usual[0].length, usual[-1].length) == (128, 65536)
    assert {"sdpa-flash", "flash", "compiled"} <= {each.implementation for each in usual}


def test_on_a_gpu_do_bench_times_and_its_milliseconds_become_nanoseconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    testing = pytest.importorskip("triton.testing")
    seen: dict[str, Any] = {}

    def do_bench(part: Callable[[], object], **how: Any) -> list[float]:
        seen.update(how)
        return [1.5, 1.25, 2.0]

    monkeypatch.setattr(testing, "do_bench", do_bench)
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    inputs: list[Tensor] = [torch.zeros(1)]
    gpu = row(device="cuda", warmup_ms=25, repeat_ms=100)
    assert timed_ns(lambda: None, gpu, inputs) == [1_500_000, 1_250_000, 2_000_000]
    assert seen["quantiles"] == [0.5, 0.1, 0.9]
    assert (seen["warmup"], seen["rep"], seen["grad_to_none"]) == (25, 100, inputs)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--lengths", "0"], "must be a positive whole number"),
        (["--implementations", "fast"], "'fast' is none of: eager, compiled, sdpa"),
        (["--dtypes", "int8"], "'int8' is none of"),
        (["--length", "5"], "unrecognized arguments"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert problem in said
    assert said.count("\n") == 1


def test_files_are_refused_before_any_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    missing = str(tmp_path / "none" / "r.json")
    assert run(lambda: main([*QUICK, "--json", missing])) == 1
    assert "its folder does not exist" in capsys.readouterr().err


def test_interrupted_keeps_what_is_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = iter([None, KeyboardInterrupt()])

    def measure(_: FlashRow) -> dict[str, Any]:
        if error := next(calls):
            raise error
        return {part: [3, 2, 4] for part in ("forward", "backward", "both")} | {"memory_bytes": 9}

    monkeypatch.setattr(flash_benchmark_run, "measure", measure)
    kept = tmp_path / "r.json"
    assert run(lambda: main([*QUICK, "--json", str(kept), "--format", "csv"])) == 130
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 4
    assert "interrupted: 1 of 12 rows are done" in printed.err
    content = json.loads(kept.read_text())
    assert content["kind"] == "flash_benchmark"
    assert content["results"][0]["both"] == [3, 2, 4]
    assert "torch" in content["facts"]


def test_a_picture_for_each_width(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    arguments = ["--lengths", "16,32", "--widths", "8,16", "--implementations", "sdpa,flash"]
    assert main([*QUICK, *arguments, "--pictures", str(tmp_path)]) == 0
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["flash-float32-16.png", "flash-float32-8.png"]


@pytest.mark.gpu
def test_on_a_gpu_every_implementation_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    shape = ["--lengths", "256", "--widths", "64", "--dtypes", "bfloat16"]
    assert main([*shape, "--device", "cuda", "--format", "json"]) == 0
    for one in json.loads(capsys.readouterr().out):
        assert one["outcome"] == "done"
        assert one["memory_bytes"] > 0
