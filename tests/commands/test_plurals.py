"""One of something is not called several, whatever command says it."""

import json
import re
from pathlib import Path

import pytest

from analysis.export.__main__ import FORMATS
from spanlight.commands import GROUPS
from tests.made.commands.in_process import run_command
from tests.made.reports.build_device import Copy, add_device_work
from tests.made.reports.build_report import Kernel, Operator, Range, make_report

SEVERAL_OF_ONE = re.compile(r"(?<![\w.,:/-])1 (?:(?:more|different|shared|step|graph) )?(\w+s)\b")
"""A count of one before a plural."""

NO_PLURALS = {"pass", "across", "ms", "s", "ns", "was", "is", "has"}

OF_A_REPORT = [
    known.module
    for known in GROUPS["Read a report"].values()
    if known.module
    not in {"analysis.compare", "analysis.nvidia", "analysis.trim", "analysis.export"}
]


def plurals_of_one(text: str) -> list[str]:
    """Return what a text says of one as of several."""
    return [
        found[0] for found in SEVERAL_OF_ONE.finditer(text) if found[1].lower() not in NO_PLURALS
    ]


def test_such_words_are_found() -> None:
    assert plurals_of_one("1 steps, 1 more rows, 11 steps, 0.1 steps, 1 step, 1 ms") == [
        "1 steps",
        "1 more rows",
    ]


@pytest.fixture(scope="module")
def on_gpu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a report with one of everything: steps, warm-up, kernels, copies, open ranges."""
    path = make_report(
        tmp_path_factory.mktemp("gpu") / "one.sqlite",
        kernels=[
            Kernel("gemm", 20, 40, launch=12),
            Kernel("gemm", 120, 140, launch=112),
            Kernel("relu", 160, 170),  # with no launch
            Kernel("ncclDevKernel_AllReduce", 140, 150, launch=116, stream=9),
        ],
        ranges=[
            Range("warmup", 10, 90),
            Range("step", 100, 190),
            Range("step", 110, 120),  # inside another
            Range("forward", 110, 130),
            Range("softmax", 111, 115, payload=24),
            Range("open", 150, None),
        ],
        run={"steps": "1", "warmup": "1", "step_ns": "[90]", "unprofiled_step_ns": "[80]"},
    )
    add_device_work(path, copies=[Copy(60, 70, bytes=8), Copy(150, 160, bytes=8, launch=145)])
    return path


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a report of a CPU run with one of everything."""
    return make_report(
        tmp_path_factory.mktemp("cpu") / "one.sqlite",
        operators=[Operator("aten::mm", 110, 130, 20), Operator("other", 140, 150, 10)],
        ranges=[Range("step", 100, 190), Range("forward", 110, 130)],
    )


@pytest.mark.parametrize("module", OF_A_REPORT)
@pytest.mark.parametrize("more", [(), ("--top", "1"), ("--exclude", "none")], ids=str)
def test_a_report_with_one_of_everything(
    module: str, more: tuple[str, ...], on_gpu: Path, on_cpu: Path
) -> None:
    for report in (on_gpu, on_cpu):
        done = run_command(module, report, *more)
        assert plurals_of_one(done.stdout + done.stderr) == []


def test_two_reports_and_a_smaller_one(on_gpu: Path, tmp_path: Path) -> None:
    compared = run_command("analysis.compare", on_gpu, on_gpu)
    trimmed = run_command("analysis.trim", on_gpu, "--output", tmp_path / "small.sqlite")
    assert (compared.returncode, trimmed.returncode) == (0, 0)
    assert plurals_of_one(compared.stdout + compared.stderr + trimmed.stderr) == []


@pytest.mark.parametrize("form", FORMATS)
def test_a_report_for_another_viewer(form: str, on_gpu: Path, on_cpu: Path, tmp_path: Path) -> None:
    for report in (on_gpu, on_cpu):
        done = run_command("analysis.export", report, "--format", form, "--output", tmp_path / "o")
        assert done.returncode == 0
        assert plurals_of_one(done.stderr) == []


def test_one_step_that_is_measured(tmp_path: Path) -> None:
    shape = ["--device", "cpu", "--size", "tiny", "--num-layers", "1", "--vocab-size", "32"]
    how = ["--num-steps", "1", "--warmup-steps", "1", "--batch-size", "1", "--context-length", "4"]
    kept = tmp_path / "run.json"
    done = run_command("profiling.benchmark", *shape, *how, "--json", kept)
    assert done.returncode == 0, done.stderr
    other = tmp_path / "other.json"
    other.write_text(json.dumps(json.loads(kept.read_text()) | {"complete": False}))
    compared = run_command("profiling.benchmark", "--compare", kept, other)
    assert "was interrupted after 1 step\n" in compared.stderr
    layers = run_command(
        *("profiling.model_timing", "--random-init", "tiny", "--input-len", "4", "--device", "cpu"),
        *("--num-runs", "1", "--output-dir", tmp_path),
    )
    assert "1 record is in" in layers.stderr
    made = [done, compared, layers]
    assert plurals_of_one("".join(each.stdout + each.stderr for each in made)) == []


def test_one_prompt(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"prompt": ""}\n')
    models = ["--random-init", "tiny", "--projector-hidden", "8", "--device", "cpu"]
    out = str(tmp_path / "out.jsonl")
    how = ["--dataset-file", str(source), "--max-new-tokens", "1", "--output", out]
    first = run_command("profiling.generation", "dataset", *models, *how)
    assert "1 of 1 prompt failed" in first.stderr
    source.write_text('{"prompt": "sky"}\n')
    again = run_command("profiling.generation", "dataset", *models, *how, "--overwrite")
    assert "1 prompt done, 0 were done before" in again.stderr
    made = [first, again]
    assert plurals_of_one("".join(each.stdout + each.stderr for each in made)) == []
