"""Recording a language model's layers, and generation by two models."""

from pathlib import Path

import pytest

from analysis import Report
from profiling.common.errors import UsageError
from profiling.common.workload import Workload
from profiling.generation.workload import GenerationSettings
from profiling.launch import options, workloads
from profiling.layers.workload import LayersSettings
from tests.made.runs.launched import launch


def settings(*words: str) -> Workload:
    name, arguments = options.parse(list(words))
    return workloads.load(name).read(arguments, "cpu")


def test_a_size_is_a_shape_with_random_weights() -> None:
    made = settings("--workload", "layers", "--size", "0.6B", "--batch", "2", "--steps", "5")
    assert isinstance(made, LayersSettings)
    assert (made.random_init, made.batch, made.steps) == ("qwen3-0.6b", 2, 5)
    assert made.dtype == "bfloat16"
    assert "layers of qwen3-0.6b" in made.describe()
    assert made.facts()["workload"] == "layers"


def test_the_teacher_is_of_the_same_size_unless_another_is_named() -> None:
    pair = settings("--workload", "generation", "--size", "tiny", "--max-new-tokens", "4")
    assert isinstance(pair, GenerationSettings)
    assert pair.models.teacher_random_init == "qwen3-tiny"
    assert pair.max_new_tokens == 4
    alone = settings("--workload", "generation", "--size", "tiny", "--teacher-model", "none")
    assert isinstance(alone, GenerationSettings)
    assert not alone.models.has_teacher
    other = settings(
        "--workload", "generation", "--size", "tiny", "--teacher-random-init", "a.json"
    )
    assert isinstance(other, GenerationSettings)
    assert other.models.teacher_random_init == "a.json"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--workload", "layers", "--mode", "train"], "--mode is of training, not of layers"),
        (["--workload", "layers", "--compile"], "--compile is of training"),
        (["--workload", "layers", "--d-model", "64"], "--d-model is of training"),
        (["--workload", "layers", "--memory"], "--memory is of training"),
        (["--workload", "layers", "--prompt", "x"], "--prompt is of generation, not of layers"),
        (
            ["--workload", "generation", "--batch", "2"],
            "--batch is of training and layers, not of generation",
        ),
        (["--workload", "layers", "--size", "small"], "no language model is called 'small'"),
        (["--workload", "layers", "--size", "tiny", "--model", "m"], "say the same thing twice"),
        (["--workload", "layers", "--attention", "flash"], "layers knows no flash attention"),
    ],
)
def test_options_without_effect_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        settings(*words)


def test_training_refuses_the_options_of_others() -> None:
    with pytest.raises(UsageError, match="--prompt is of generation, not of training"):
        settings("--prompt", "x")
    with pytest.raises(UsageError, match="--model is of layers and generation, not of training"):
        settings("--model", "x")


def test_a_script_takes_no_workload(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--workload is of our own model"):
        settings("--script", "x.py", "--workload", "layers")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["--workload", "layers", "--size", "tiny", "--context", "16"],
            {"block": 16, "attention": 16, "ffn": 16, "attention_core": 16, "lm_head": 4},
        ),
        (
            ["--workload", "generation", "--size", "tiny", "--max-new-tokens", "3"],
            {"prefill": 4, "projector": 16, "decode_step": 12, "base_prefill": 4},
        ),
    ],
)
def test_the_report_has_the_ranges(
    words: list[str], expected: dict[str, int], tmp_path: Path
) -> None:
    done = launch(*words, "--device", "cpu", "--name", "run", reports=tmp_path)
    assert done.returncode == 0, done.stderr
    with Report(tmp_path / "run.sqlite") as report:
        assert report.run["workload"] == words[1]
        flat = report.ranges(exclude=["none"]).groupby("range")["instances"].sum()
    assert {name: flat[name] for name in expected} == expected
