"""What the benchmark of a step cannot do is one line, with a status that says whose fault it is."""

import os
from pathlib import Path

import pytest
import torch

from profiling.benchmark import run
from profiling.common import memory_fit
from profiling.precision import __main__ as precision
from profiling.training.training import Training
from tests.made.runs.step_benchmark import STEPS, TINY, command


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run it; return its status and its one line. Nothing may be printed besides."""
    try:
        status = command(*arguments)
    except SystemExit as stop:
        status = int(stop.code or 0)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("error: ")
    return status, said.err.removeprefix("error: ").strip()


@pytest.fixture
def made() -> None:
    """Say that a test is about what happens once the model is made."""


@pytest.fixture(autouse=True)
def _no_work(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Make sure that no model is made before the refusal, except where a test is about that."""
    if "made" not in request.fixturenames:
        monkeypatch.setattr(Training, "__init__", lambda *_, **__: pytest.fail("work was done"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num-steps", "0"], "--num-steps: must be a positive whole number, not '0'"),
        (["--num-steps", "-3"], "--num-steps: must be a positive whole number, not '-3'"),
        (["--num-steps", "2.5"], "--num-steps: must be a positive whole number, not '2.5'"),
        (["--num-steps", "many"], "--num-steps: must be a positive whole number, not 'many'"),
        (["--warmup-steps", "-1"], "--warmup-steps: must be 0 or a positive whole number"),
        (["--batch-size", "0"], "--batch-size: must be a positive whole number, not '0'"),
        (["--context-length", "-5"], "--context-length: must be a positive whole number"),
        (["--d-model", "-64"], "--d-model: must be a positive whole number, not '-64'"),
        (["--num-layers", "0"], "--num-layers: must be a positive whole number, not '0'"),
        (["--vocab-size", "x"], "--vocab-size: must be a positive whole number, not 'x'"),
        (["--d-ff", "1e3"], "--d-ff: must be a positive whole number, not '1e3'"),
        (["--num-heads", "5"], "num_heads must divide d_model: 64 / 5 is 12.80"),
        (["--d-model", "4"], "rotary embedding needs an even head width"),
        (["--rope-theta", "0"], "--rope-theta: must be a positive number, not '0'"),
        (["--learning-rate", "nan"], "--learning-rate: must be a positive number, not 'nan'"),
        (["--seed", "-1"], "--seed: must be 0 or a positive whole number"),
        (["--mode", "dream"], "invalid choice: 'dream'"),
        (["--dtype", "int8"], "invalid choice: 'int8'"),
        (["--autocast", "float64"], "invalid choice: 'float64'"),
        (["--attention", "hope"], "invalid choice: 'hope'"),
        (["--size", "huge"], "no size is called 'huge'; there are: tiny, small"),
        (["--device", "tpu"], "no device is called 'tpu'; there are: cpu, cuda, cuda:N"),
        (["--format", "csv"], "unrecognized arguments: --format csv"),
        (["extra"], "unrecognized arguments: extra"),
        (["--num-step", "3"], "unrecognized arguments: --num-step 3"),
        (["--compare", "a.json"], "--compare: expected 2 arguments"),
        (["--compare", "a", "b"], "unrecognized arguments: --size tiny"),
    ],
)
def test_wrong_usage_is_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, line = refused(capsys, *TINY, *STEPS, *arguments)
    assert (status, message in line) == (2, True), line


@pytest.mark.parametrize(
    "option", [["--learning-rate", "0.1"], ["--optimizer", "fused"], ["--checkpoint", "1"]]
)
def test_what_a_forward_would_ignore_is_refused(
    option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, line = refused(capsys, *TINY, *STEPS, "--mode", "forward", *option)
    assert (status, line) == (
        2,
        f"{option[0]} has no effect in --mode forward; leave it out, or choose --mode train",
    )


def test_cuda_asked_for_and_absent_is_status_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    status, line = refused(capsys, *TINY, *STEPS, "--device", "cuda")
    assert (status, line) == (1, "CUDA was asked for and no CUDA device is here; ask for cpu")


def test_tf32_on_a_cpu_is_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    status, line = refused(capsys, *TINY, *STEPS, "--tf32")
    assert (status, line) == (1, "TF32 is a mode of NVIDIA GPUs; leave it out on a CPU")


def test_an_output_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, message in (
        (tmp_path, "a directory; name a file"),
        (tmp_path / "no" / "b.json", "its folder does not exist"),
        (Path("/dev/null/b.json"), "its folder does not exist"),
    ):
        status, line = refused(capsys, *TINY, *STEPS, "--json", str(path))
        assert (status, line.startswith(f"{path}: {message}")) == (1, True), line
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_locked_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    status, line = refused(capsys, *TINY, *STEPS, "--json", str(tmp_path / "b.json"))
    assert (status, line) == (
        1,
        f"{tmp_path / 'b.json'}: cannot be written to; name another file",
    )


def test_what_cannot_fit_is_refused_before_the_model_is_made(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_fit, "available_bytes", lambda device: 2**30)
    status, line = refused(capsys, "--size", "xl", "--device", "cpu")
    assert status == 1
    assert line.startswith("xl (forward_backward, batch 4, context 512, float32) needs about ")
    assert "1.0 GiB are free on cpu; use a smaller size" in line


@pytest.mark.parametrize(
    "message",
    ["CUDA out of memory. Tried to allocate 20.00 GiB.", "DefaultCPUAllocator: can't allocate"],
)
@pytest.mark.usefixtures("made")
def test_memory_that_runs_out_on_the_way_is_one_line(
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(_: Training) -> None:
        raise RuntimeError(f"{message} memory\nand many lines")

    monkeypatch.setattr(Training, "backward", fails)
    assert command(*TINY, *STEPS, "--json", str(tmp_path / "b.json")) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: out of memory ({message} memory); use a smaller size, batch or context, or "
        "--mode forward"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("made")
def test_a_compiler_that_fails_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor.exc import InductorError

    def fails(_: Training) -> None:
        raise InductorError(RuntimeError("no C++ compiler\nmore"), None)

    monkeypatch.setattr(torch, "compile", lambda model: model)
    monkeypatch.setattr(Training, "forward", fails)
    assert command(*TINY, *STEPS, "--compile") == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: torch.compile failed (RuntimeError: no C++ compiler); leave")


@pytest.mark.usefixtures("made")
def test_a_fault_of_ours_is_not_called_a_compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Training) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(torch, "compile", lambda model: model)
    monkeypatch.setattr(Training, "forward", fails)
    with pytest.raises(RuntimeError, match="shapes"):
        command(*TINY, *STEPS, "--compile")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--precisions", "int8"], 2, "'int8' is none of: float32, tf32"),
        (["--precisions", ""], 2, "'' is none of"),
        (["--components", "--size", "tiny"], 2, "--size has no effect with --components"),
        (["--components", "--num-steps", "3"], 2, "--num-steps has no effect with --components"),
        (["--mode", "forward", "--learning-rate", "1"], 2, "no effect in --mode forward"),
        (["--dtype", "float32"], 2, "unrecognized arguments: --dtype float32"),
        (["--json", "/nowhere/p.json"], 1, "its folder does not exist"),
        (["--output", "/nowhere/p.csv"], 1, "its folder does not exist"),
        (["--format", "sqlite"], 2, "invalid choice: 'sqlite'"),
    ],
)
def test_the_comparison_of_precisions_refuses_too(
    arguments: list[str],
    status: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from profiling.common import cli
    from profiling.processes import isolated

    monkeypatch.setattr(isolated, "run", lambda *_, **__: pytest.fail("work was done"))
    try:
        found = cli.run(lambda: precision.main(arguments))
    except SystemExit as stop:
        found = int(stop.code or 0)
    said = capsys.readouterr()
    assert (found, said.out, said.err.count("\n")) == (status, "", 1)
    assert message in said.err


def test_the_check_asks_the_device_before_the_memory() -> None:
    from profiling.common.errors import LaunchError
    from tests.made.runs.step_benchmark import settings

    with pytest.raises(LaunchError, match="TF32"):
        run.check(settings(tf32=True, context=10**9))
