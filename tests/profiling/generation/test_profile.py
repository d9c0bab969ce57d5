"""One prompt in detail, and generation as a workload: both leave reports that `analysis` reads."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from analysis import Report
from analysis.source.trace.convert import convert
from profiling import names
from profiling.common.cli import run
from profiling.generation import __main__ as generation
from profiling.generation import pair, recorded_generation
from profiling.generation.pipeline import generate
from profiling.generation.profile import ProfileFiles
from profiling.generation.record import timing
from profiling.generation.run import encode
from profiling.generation.selection import ModelSelection
from profiling.generation.workload import GenerationSettings
from profiling.recorders.recorded_steps import RecordedProcess
from profiling.recorders.run_notes import add_run_facts
from profiling.recorders.torch_recorder import EmbeddedRecorder
from profiling.recorders.trace_report import TRACE_NAME
from tests.made.models.c2c_pair import BASE_LAYERS, PROMPT, TEACHER_LAYERS, saved_pair

TOKENS = 4


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelSelection:
    return saved_pair(tmp_path_factory.mktemp("models"))


def arguments(models: ModelSelection, *more: str) -> list[str]:
    named = ["--base_model", models.base, "--teacher_model", models.teacher]
    how = ["--dtype", "float32", "--projector_hidden", "24", "--device", "cpu"]
    return ["profile", *named, *how, "--max_new_tokens", str(TOKENS), *more]


@pytest.fixture(scope="module")
def profiled(models: ModelSelection, tmp_path_factory: pytest.TempPathFactory) -> ProfileFiles:
    """Run ``profile`` in an empty folder; return its files."""
    folder = tmp_path_factory.mktemp("profile")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        assert generation.main(arguments(models, "--prompt", PROMPT, "--trace-tokens", "3")) == 0
    return ProfileFiles.beside(folder / "demo_timing_data.jsonl")


def tree(report: Path) -> dict[str, int]:
    """Return how often each range is there, warm-up included, by its path from the outermost."""
    with Report(report) as opened:
        rows = opened.ranges(tree=True, exclude=["none"])
    return {
        str(path): int(count) for path, count in zip(rows["path"], rows["instances"], strict=True)
    }


def test_five_files_have_their_default_names(profiled: ProfileFiles) -> None:
    assert sorted(path.name for path in profiled.jsonl.parent.iterdir()) == [
        "demo_profiler_stats.json",
        "demo_profiler_trace.json",
        "demo_report.sqlite",
        "demo_timing_data.jsonl",
        "demo_timing_data.tsv",
    ]
    assert sorted(path.name for path in ProfileFiles.beside(Path("a/run.jsonl"))) == [
        "run.jsonl",
        "run.tsv",
        "run_profiler_stats.json",
        "run_profiler_trace.json",
        "run_report.sqlite",
    ]


def test_the_tsv_has_each_part_of_the_record_in_order(profiled: ProfileFiles) -> None:
    record = json.loads(profiled.jsonl.read_text())
    head, *lines = [line.split("\t") for line in profiled.tsv.read_text().splitlines()]
    assert head == ["part", "index", "start_ms", "time_ms"]
    assert [(part, int(index)) for part, index, *_ in lines] == [
        (names.BASE_EMBEDDING, 0),
        (names.BASE_PREFILL, 0),
        (names.TEACHER_EMBEDDING, 0),
        (names.TEACHER_PREFILL, 0),
        *[(names.PROJECTOR, layer) for layer in range(BASE_LAYERS)],
        *[(names.DECODE_STEP, step) for step in range(TOKENS)],
    ]
    times = [float(line[3]) for line in lines]
    assert times[-TOKENS:] == record["decode_step_times_ms"]
    assert sum(times[4:-TOKENS]) == pytest.approx(record["timing"]["projector_total_ms"])
    starts = [float(line[2]) for line in lines]
    assert starts[-1] + times[-1] == pytest.approx(sum(times))


def test_the_report_has_prefill_projectors_and_steps_as_ranges(profiled: ProfileFiles) -> None:
    found = tree(profiled.report)
    prefill = "step/generation/prefill"
    assert found[f"{prefill}/base_prefill/forward/block"] == BASE_LAYERS
    assert found[f"{prefill}/base_prefill/cache_clone"] == 1
    assert found[f"{prefill}/teacher_prefill/forward/block/attention"] == TEACHER_LAYERS
    assert found[f"{prefill}/projector"] == BASE_LAYERS
    assert found[f"{prefill}/projector/projector_fuse"] == 2 * BASE_LAYERS
    assert found["step/generation/decode/decode_step"] == 3  # --trace-tokens
    assert found["step/generation/decode/decode_step/forward/lm_head"] == 3


def test_the_report_says_what_was_run(profiled: ProfileFiles, models: ModelSelection) -> None:
    with Report(profiled.report) as report:
        run = report.run
    assert run["workload"] == "generation"
    assert (run["base_model"], run["teacher_model"]) == (models.base, models.teacher)
    assert run["command"].startswith("python -m profiling.generation profile --base_model")
    assert run["prompt"] == PROMPT
    assert json.loads(run["step_ns"])[0] > 0
    record = json.loads(profiled.jsonl.read_text())
    parts = timing_total_ms(record["timing"]) - record["decode_step_times_ms"][3]
    assert json.loads(run["unprofiled_step_ns"])[0] / 1e6 == pytest.approx(parts)


def timing_total_ms(times: dict[str, Any]) -> float:
    prefill = ("base_embedding", "base_prefill", "teacher_embedding", "teacher_prefill")
    parts = (*prefill, "projector_total", "decode_total")
    return float(sum(times[f"{part}_ms"] for part in parts))


def test_statistics_and_trace_are_of_the_recorded_run(profiled: ProfileFiles) -> None:
    stats = json.loads(profiled.stats.read_text())
    ranges = {row["range"]: row["instances"] for row in stats["ranges"]}
    assert ranges[names.DECODE_STEP] == 3
    assert ranges[names.PROJECTOR] == BASE_LAYERS
    assert any(row["name"] == "aten::mm" for row in stats["work"])
    assert stats["facts"]["device"] == "cpu"
    events = json.loads(profiled.trace.read_text())["traceEvents"]
    steps = [event for event in events if event.get("name") == names.DECODE_STEP]
    assert len(steps) == 3


def test_what_is_there_is_not_replaced_unasked(
    models: ModelSelection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo_report.sqlite").write_text("mine")
    assert run(lambda: generation.main(arguments(models))) == 1
    assert "demo_report.sqlite: exists" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["demo_report.sqlite"]
    assert run(lambda: generation.main(arguments(models, "--output", "run.tsv"))) == 1
    assert "its own .tsv would replace it" in capsys.readouterr().err
    assert run(lambda: generation.main(arguments(models, "--prompt", ""))) == 1
    assert "exists" in capsys.readouterr().err


def test_a_prompt_that_fails_leaves_nothing(
    models: ModelSelection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(lambda: generation.main(arguments(models, "--prompt", ""))) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == "error: the prompt failed: the prompt has no tokens"
    assert not list(tmp_path.iterdir())


def test_as_a_workload_warm_up_and_steps_are_recorded(
    models: ModelSelection, tmp_path: Path
) -> None:
    settings = GenerationSettings(models=models, prompt=PROMPT, max_new_tokens=3, steps=2, warmup=1)
    kept = json.loads(json.dumps(settings.fields()))
    assert GenerationSettings.from_fields(kept) == settings
    here = RecordedProcess(recorder=EmbeddedRecorder, device="cpu", folder=tmp_path)
    result = recorded_generation.run(settings, here)
    assert len(result["step_ns"]) == len(result["unprofiled_step_ns"]) == 2
    assert result["generated_tokens"] == 3
    report = tmp_path / "report.sqlite"
    convert(tmp_path / TRACE_NAME, report)
    add_run_facts(report, settings.facts(), result["costs"])
    found = tree(report)
    assert found["step/generation"] == 2
    assert found["warmup/generation"] == 1
    assert found["step/generation/prefill/projector"] == 2 * BASE_LAYERS
    assert found["step/generation/decode/decode_step"] == 2 * 3
    assert result["pushed"][names.GENERATION] == 3


def test_a_workload_is_described_with_every_default() -> None:
    alone = GenerationSettings(models=ModelSelection(teacher="none"))
    assert alone.describe() == (
        "generation by Qwen/Qwen3-0.6B alone, bfloat16 on cpu, sdpa attention, "
        "at most 32 tokens, 1 warm-up + 3 steps"
    )
    assert alone.facts()["teacher_model"] == "none"
    both = GenerationSettings(models=ModelSelection())
    assert "Qwen/Qwen3-0.6B with Qwen/Qwen3-4B-Base" in both.describe()


@pytest.mark.slow  # two models of 0.6 billion weights, and 0.5 billion of projectors
def test_on_the_real_shape_the_times_add_up_to_the_wall_time() -> None:
    shape = "qwen3-0.6b"
    ready = pair.load_models(ModelSelection(random_init=shape, teacher_random_init=shape))
    ids = encode(ready.tokenizer, PROMPT)
    generate(ready.pair, ids, 1)
    start = time.perf_counter()
    made = generate(ready.pair, ids, 4)
    wall_ms = (time.perf_counter() - start) * 1000
    times = timing(made, has_teacher=True)
    assert times.projector_calls == 28
    assert timing_total_ms(asdict(times)) == pytest.approx(wall_ms, rel=0.03)
