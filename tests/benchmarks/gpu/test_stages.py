"""The steps of a GPU's evidence: every command exists, takes its options, and fits in its time."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import torch

from benchmarks.conditions import ROOT
from benchmarks.cost import span_cost
from benchmarks.gpu import stages
from benchmarks.gpu.stages import CALL_S, MORE, STAGES, Step, calls, listed
from benchmarks.gpu.verdict_attribution import COMPARED, recorded
from benchmarks.gpu.verdict_keep import TABLES
from benchmarks.gpu.verdict_rows import HOLDS, MISSED, NOT_MEASURED, RECORDERS, Left, Missing
from benchmarks.gpu.verdict_times import CORRECT, FLASH, SPANS
from benchmarks.tuning import flash_tuning
from model import TransformerLM
from profiling.attention import attention_benchmark, flash_benchmark
from profiling.benchmark import options as benchmark_options
from profiling.generation import options as generation_options
from profiling.launch import __main__ as launch
from profiling.launch import options
from profiling.layers import model_timing
from profiling.memory import __main__ as memory
from profiling.sweep import plan
from tests.made.commands.commands import command_module
from tests.made.gpu.on_cpu import every_step, needs_nsys, on_cpu, run

NAMES: Final = [step.name for step in every_step()]


def parsed(parser: argparse.ArgumentParser) -> Callable[[list[str]], Any]:
    return lambda words: parser.parse_args(words)


CHECKS: Final[dict[str, Callable[[list[str]], Any]]] = {
    "profiling.launch": lambda words: launch.prepare(
        options.parser("", Path()).parse_args(words), ""
    ),
    "profiling.benchmark": lambda words: benchmark_options.request(
        benchmark_options.parser("benchmark", "").parse_args(words)
    ),
    "profiling.sweep": lambda words: plan.plan(plan.parser("sweep", "").parse_args(words)),
    "profiling.memory": lambda words: memory.every_settings(
        memory.parser().parse_args(words), "cpu"
    ),
    "profiling.flash_benchmark": lambda words: flash_benchmark.rows(
        flash_benchmark.parser().parse_args(words), "cpu"
    ),
    "profiling.attention_benchmark": lambda words: attention_benchmark.rows(
        attention_benchmark.parser().parse_args(words), "cpu"
    ),
    "profiling.model_timing": parsed(model_timing.parser()),
    "profiling.generation": lambda words: generation_options.models(
        generation_options.parse(generation_options.parser(""), words)
    ),
    "benchmarks.cost.span_cost": parsed(span_cost.made_parser()),
    "benchmarks.flash_tuning": parsed(flash_tuning.parser()),
}
"""What each command does with its words before any work."""


@pytest.mark.parametrize("step", every_step(), ids=NAMES)
def test_every_command_takes_its_options(
    step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if step.words[0] == "pytest":
        assert all((ROOT / word).is_file() for word in step.words if word.startswith("tests/"))
        return
    assert hasattr(command_module(step.words[0]), "main")
    if needs_nsys(step):
        monkeypatch.setenv("NSYS", "/bin/true")
    words = [word.replace("{out}", str(tmp_path)) for word in on_cpu(step)[1:]]
    assert CHECKS[step.words[0]](words)


def test_all_but_more_fits_in_half_an_hour_in_three_calls() -> None:
    steps = [step for stage, steps in STAGES.items() if stage != MORE for step in steps]
    cut = calls(steps)
    assert len(cut) <= 3
    assert all(sum(step.expected_s for step in call) <= CALL_S for call in cut)
    assert sum(step.expected_s for step in steps) <= 30 * 60
    assert list(STAGES)[-1] == MORE


def test_no_two_steps_share_a_log_and_every_result_lies_in_the_folder() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for step in every_step():
        assert any("{out}" in word for word in step.words), step.name


def test_whatever_the_verdict_reads_is_left_by_a_step(tmp_path: Path) -> None:
    wanted = {"benchmark-forward", "flash", "sweep", "mfu", "generation", *SPANS, CORRECT}
    wanted |= {f"recording-{name}-{recorder}" for name in COMPARED for recorder in RECORDERS}
    assert wanted <= set(NAMES)
    assert {*recorded("torch")} >= {*COMPARED, "train-compiled"}
    # What is missing from an empty folder is named by the step that would have left it.
    (tmp_path / "state.json").write_text('{"steps": {}}')
    for name, make in TABLES.items():
        with pytest.raises(Missing) as missing:
            list(make(Left(tmp_path)))
        said = str(missing.value)
        assert {part.partition(":")[0] for part in said.split("; ")} <= set(NAMES), name


def test_files_with_gpu_tests_are_found_by_their_mark() -> None:
    found = stages.files_with_gpu_tests()
    assert "tests/profiling/common/test_timing.py" in found
    assert stages.FLASH_TESTS not in found
    assert "mark.gpu" in (ROOT / stages.FLASH_TESTS).read_text()


def test_the_list_tells_calls_stages_and_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    a, b = Step("a", (), (), 300), Step("b", (), (), 300)
    assert listed({"one": (a, b)}, 400) == [
        "call 1: 300 s expected",
        "  one         a                             300 s",
        "call 2: 300 s expected",
        "  one         b                             300 s",
    ]
    assert stages.main() == 0
    assert capsys.readouterr().out.startswith("call 1: ")


def test_a_pass_with_spans_has_ended_before_the_next_is_launched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []

    class Pass(torch.nn.Module):
        def forward(self, tokens: torch.Tensor) -> None:
            done.append("pass")

    monkeypatch.setattr(span_cost, "synchronize", done.append)
    span_cost.seconds(Pass(), torch.zeros(1), 2)
    assert done == ["pass", "cpu", "pass", "cpu"]


def test_what_spans_cost_is_timed_in_the_shape_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = set()
    forward = TransformerLM.forward

    def noted(self: Any, tokens: torch.Tensor) -> torch.Tensor:
        shapes.add(tuple(tokens.shape))
        return forward(self, tokens)

    monkeypatch.setattr(TransformerLM, "forward", noted)
    times, spans = span_cost.model_times("tiny", 0.01, (2, 8), "cpu")
    assert shapes == {(2, 8)}
    assert {*times} == {"with", "without", "with again"}
    assert spans > 10


def test_a_device_that_is_not_there_is_refused_before_anything_is_timed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["--json", str(tmp_path / "spans.json"), "--device"]
    with pytest.raises(SystemExit) as stop:
        span_cost.main([*command, "tpu"])
    assert stop.value.code == 2
    assert "no device is called 'tpu'" in capsys.readouterr().err
    assert span_cost.main([*command, "cuda:99"]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert not [*tmp_path.iterdir()]


QUICK: Final = (
    *("benchmark-forward", "recording-forward-torch", "recording-train-torch", "flash"),
    *("recording-notes-torch", "tests-flash-float32", "span-cost", "sweep-precision"),
    *("memory-small", "layers-0.6b-decode", "generation", "attention-eager"),
    "flash-tuning",
)
"""One step of every command."""


@pytest.mark.slow
def test_on_a_cpu_the_steps_run_and_the_verdict_reads_what_they_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.gpu.verdict import main, rows

    assert {step.words[0] for step in every_step() if step.name in QUICK} == {
        step.words[0] for step in every_step()
    }
    status = run([step for step in every_step() if step.name in QUICK], tmp_path)
    assert status == dict.fromkeys(status, 0)
    monkeypatch.setattr("benchmarks.gpu.verdict_times.FLASH_LENGTH", "32")
    found = {row.what: row for row in rows(Left(tmp_path))}
    for what in (
        "kernel time in forward, backward or optimizer, torch",
        "attention's three parts have kernels, forward and backward, torch",
        "GEMMs in one forward of small",
    ):
        assert found[what].verdict == HOLDS, found[what]
    for what in (
        "forward by NVTX beside the benchmark, torch",
        "what spans cost with no recorder, in the recorded forward",
        FLASH["shape"],
        "forward at width 128, length 16384",
        "final matmul's FLOPs to the softmax's",
    ):
        assert found[what].verdict in {HOLDS, MISSED}, found[what]
    assert found["flash in float32 is right"].verdict == NOT_MEASURED
    assert main([str(tmp_path), "--keep", str(tmp_path / "kept")]) == 0
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"gpu_evidence.json", *TABLES}
