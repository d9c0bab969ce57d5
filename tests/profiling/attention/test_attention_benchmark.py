"""Attention alone: its memory measured another way, its rows, and what does not fit."""

import csv
import io
import json
import statistics
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from analysis.show import render
from analysis.show.sheet import Sheet
from profiling.attention import attention_benchmark
from profiling.attention.attention_benchmark_run import HOOKS, computed_bytes, measure
from profiling.attention.rows import COMPILED, AttentionRow
from profiling.common.cli import run
from profiling.processes import isolated

ROW = AttentionRow(
    implementation="eager",
    width=16,
    length=64,
    batch=2,
    dtype="float32",
    device="cpu",
    steps=3,
    warmup=1,
)
SMALL = ("--device", "cpu", "--widths", "16", "--batch", "2", "--steps", "2", "--warmup", "1")


def command(*arguments: str | Path) -> int:
    return run(lambda: attention_benchmark.main([str(each) for each in arguments]))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("implementation", ["eager", "sdpa", "flash-reference"])
def test_what_is_kept_is_what_the_formula_says(implementation: str, dtype: str) -> None:
    for width, length, batch in ((16, 64, 2), (32, 48, 1), (8, 16, 3)):
        changes = {"width": width, "length": length, "batch": batch, "dtype": dtype}
        row = replace(ROW, implementation=implementation, **changes)  # type: ignore[arg-type]
        found = measure(asdict(row))
        assert found["saved_bytes"] == found["computed_bytes"] == computed_bytes(row)


def test_memory_before_backward_is_added_up_by_hand() -> None:
    eager, fused = measure(asdict(ROW)), measure(asdict(replace(ROW, implementation="sdpa")))
    one = 4 * 2 * 64 * 16  # q, k, v, or the result
    assert eager["memory_source"] == HOOKS
    assert eager["memory_bytes"] == 4 * one + 4 * 2 * 64 * 64 + 64 * 64  # weights; mask
    assert fused["memory_bytes"] == 4 * one + 4 * 2 * 64  # the result is kept anyway


def test_a_row_needs_what_is_computed_before_it_starts() -> None:
    row = replace(ROW, batch=4, length=256, width=8)
    inputs = [torch.randn(4, 1, 256, 8, requires_grad=True) for _ in range(3)]
    gradient = torch.randn(4, 1, 256, 8)
    from model.attention import attend, causal_mask

    causal_mask.cache_clear()
    activity = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activity, profile_memory=True) as profiler:
        attend(*inputs).backward(gradient)  # type: ignore[no-untyped-call]
    inner: Any = profiler.profiler
    waiting, peak = list(inner.kineto_results.experimental_event_tree()), 0
    while waiting:
        event = waiting.pop()
        waiting.extend(event.children)
        peak = max(peak, getattr(event.extra_fields, "total_allocated", 0))
    held = 4 * 4 * 4 * 256 * 8  # what was there before: q, k, v and a gradient
    assert peak + held <= row.needed_bytes <= 1.35 * (peak + held)


def test_times_are_raw_and_there_are_as_many_as_steps() -> None:
    found = measure(asdict(ROW))
    assert len(found["forward_ns"]) == len(found["backward_ns"]) == 3
    assert all(isinstance(each, int) and each > 0 for each in found["forward_ns"])
    assert {name: found[name] for name in asdict(ROW)} == asdict(ROW)


@pytest.mark.slow  # a C++ compiler runs
def test_compiled_attention_keeps_what_the_compiler_wants() -> None:
    found = isolated.run(
        "profiling.attention.attention_benchmark_run", asdict(replace(ROW, implementation=COMPILED))
    )
    assert found["computed_bytes"] is None
    assert found["saved_bytes"] > 0


def test_a_median_has_its_spread_beside_it() -> None:
    measured = {
        **asdict(ROW),
        "forward_ns": [40_000_000, 10_000_000, 30_000_000, 20_000_000, 50_000_000],
        "backward_ns": [100_000_000] * 5,
        **dict.fromkeys(("memory_bytes", "saved_bytes", "computed_bytes"), 100 << 10),
        "outcome": "ok",
    }
    (row,) = attention_benchmark.table([measured], "cpu").rows()
    wanted = {"median": 30_000_000, "p10": 14_000_000, "p90": 46_000_000}
    assert {name: row[f"forward_{name}_ns"] for name in wanted} == wanted
    assert (row["forward_mean_ns"], row["backward_p90_ns"]) == (30_000_000, 100_000_000)
    stream = io.StringIO()
    shown = attention_benchmark.table([measured], "cpu", for_people=True)
    render.write_text(shown, Sheet(80, folds=True), stream)
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "forward   30.00 ms  14.00 ms  46.00 ms  100.0 KiB" in lines[-2]


@pytest.mark.slow
def test_a_row_that_cannot_fit_reads_oom_and_the_others_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, pictures = tmp_path / "raw.json", tmp_path / "pictures"
    status = command(
        *SMALL,
        *("--implementations", "eager", "--lengths", "32,64,10000000"),
        *("--format", "csv", "--json", raw, "--pictures", pictures),
    )
    said = capsys.readouterr()
    assert status == 0, said.err
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert [(row["length"], row["outcome"]) for row in rows] == [
        ("32", "ok"),
        ("64", "ok"),
        ("10000000", "OOM"),
    ]
    assert rows[2]["forward_mean_ns"] == rows[2]["memory_bytes"] == ""
    assert "GiB are needed" in said.err
    known = json.loads(raw.read_text())
    assert known["kind"] == "attention_benchmark"
    for row, result in zip(rows[:2], known["results"], strict=False):
        assert float(row["forward_mean_ns"]) == statistics.fmean(result["forward_ns"])
        assert float(row["backward_std_ns"]) == statistics.stdev(result["backward_ns"])
        assert row["computed_bytes"] == row["saved_bytes"]
    assert [file.name for file in pictures.iterdir()] == ["attention-benchmark.png"]


@pytest.mark.slow
def test_a_row_beyond_its_limit_ends_alone(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (*SMALL, "--implementations", "eager", "--lengths", "16,4096")
    assert command(*arguments, "--limit", "200") == 0
    said = capsys.readouterr()
    rows = [line.split() for line in said.out.splitlines() if line.startswith("eager")]
    assert [(row[2], row[3], row[-1]) for row in rows] == [
        ("16", "forward", "ok"),
        ("16", "backward", "ok"),
        ("4,096", "forward", "OOM"),
        ("4,096", "backward", "OOM"),
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--widths", "0"), 2, "must be a positive whole number, not '0'"),
        (("--lengths", "-4"), 2, "must be a positive whole number, not '-4'"),
        (("--steps", "0"), 2, "must be a positive whole number, not '0'"),
        (("--steps", "1.5"), 2, "must be a positive whole number, not '1.5'"),
        (("--implementations", "magic"), 2, "'magic' is none of: eager"),
        (("--dtype", "int8"), 2, "invalid choice: 'int8'"),
        (("--device", "tpu"), 2, "no device is called 'tpu'"),
        (("--output", "/nowhere/x.csv"), 1, "its folder does not exist"),
        (("--pictures", "/dev/null/x"), 1, "cannot be made"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        ended = command("--device", "cpu", *arguments)
    except SystemExit as stop:
        ended = int(stop.code or 0)
    printed = capsys.readouterr()
    assert ended == status
    assert printed.out == ""
    assert said in printed.err
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
