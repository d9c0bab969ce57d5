"""``python -m profiling.generation`` as a person runs it: schema, resuming, shards, refusals."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from analysis.generation.records import Pair, Timing
from profiling.common import cli
from profiling.generation import __main__ as generation
from profiling.generation import options, session
from profiling.generation import run as generation_run
from profiling.generation.options import MODES
from profiling.generation.selection import BUILT_IN
from tests.made.models.c2c_pair import BASE_LAYERS, plain, saved_pair
from tests.made.models.tiny_qwen import CORPUS, save_tiny
from tests.made.runs.launched import ROOT

Record = dict[str, Any]
TIMING_KEYS = Timing.__slots__


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the arguments that name two tiny models."""
    pair = saved_pair(tmp_path_factory.mktemp("models"))
    named = ["--base_model", pair.base, "--teacher-model", pair.teacher]
    return [*named, "--dtype=float32", "--projector-hidden", "24", "--device", "cpu"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(path: str | Path) -> list[Record]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def dataset(count: int, path: str = "in.jsonl") -> str:
    texts = [f"{CORPUS[number % len(CORPUS)]} {number}" for number in range(count)]
    Path(path).write_text("".join(json.dumps({"question": text}) + "\n" for text in texts))
    return path


def run(*arguments: str) -> int:
    return cli.run(lambda: generation.main(arguments))


def said(record: Record) -> tuple[object, ...]:
    """Return what of a record does not depend on how fast the machine was."""
    timing = record["timing"]
    counts = timing["projector_calls"], timing["num_generated_tokens"]
    return record["id"], record["prompt"], record["response"], counts


def check_schema(record: Record, *, most: int) -> None:
    """Compare with the schema key by key, and what must add up."""
    keys = ["id", "prompt", "response", "model_config", "timing", "decode_step_times_ms"]
    assert list(record) == keys
    assert list(record["model_config"]) == ["base_model", "teacher_model"]
    timing, steps = record["timing"], record["decode_step_times_ms"]
    assert tuple(timing) == TIMING_KEYS
    assert timing["projector_calls"] == BASE_LAYERS
    assert timing["num_generated_tokens"] == len(steps) <= most
    assert timing["decode_total_ms"] == pytest.approx(sum(steps))
    assert timing["decode_avg_ms"] == pytest.approx(sum(steps) / len(steps))
    assert timing["projector_avg_ms"] == pytest.approx(timing["projector_total_ms"] / BASE_LAYERS)
    assert timing["tokens_per_second"] == pytest.approx(1000 * len(steps) / sum(steps))
    assert all(time > 0 for time in (*steps, *timing.values()))


def test_batch_writes_five_records_of_exactly_the_schema(
    models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("batch", *models, "--max-new-tokens", "9") == 0
    records = read("batch_timing_results.jsonl")
    assert [record["id"] for record in records] == list(range(5))
    assert [record["prompt"] for record in records] == list(BUILT_IN)
    for record in records:
        check_schema(record, most=9)
        assert record["model_config"] == {"base_model": models[1], "teacher_model": models[3]}
    shown = capsys.readouterr()
    assert "5 prompts" in shown.out  # what `analysis.generation` says of them
    assert "note: every projector's gate is closed" in shown.err
    assert "batch_timing_results.jsonl: 5 prompts done" in shown.err


def test_dataset_says_what_plain_generation_says(models: list[str]) -> None:
    source = dataset(3)
    assert run("dataset", *models, "--dataset_file", source, "--max_new_tokens=12") == 0
    model = AutoModelForCausalLM.from_pretrained(models[1])
    tokenizer = AutoTokenizer.from_pretrained(models[1])
    records = read("dataset_timing_results.jsonl")
    for record, asked in zip(records, read(source), strict=True):
        check_schema(record, most=12)
        assert record["prompt"] == asked["question"]
        tokens = plain(model, tokenizer(record["prompt"])["input_ids"], 12)
        assert record["response"] == tokenizer.decode(tokens, skip_special_tokens=True)
    assert run("dataset", *models, "--dataset_file", source, "--open-gates", "--overwrite") == 0
    acting = read("dataset_timing_results.jsonl")
    assert [each["response"] for each in acting] != [each["response"] for each in records]


def test_one_model_alone_has_null_where_the_teacher_would_be(models: list[str]) -> None:
    alone = [*models[:2], *models[4:5], "--teacher_model", "none", "--max_new_tokens", "3"]
    assert run("batch", *alone) == 0
    for record in read("batch_timing_results.jsonl"):
        assert record["model_config"]["teacher_model"] is None
        timing = record["timing"]
        assert [key for key in TIMING_KEYS if timing[key] is None] == list(TIMING_KEYS[2:6])
        assert timing["projector_calls"] == 0


def test_four_shards_together_are_one_run(models: list[str]) -> None:
    source = dataset(10)
    how = ["dataset", *models, "--dataset-file", source, "--max-new-tokens", "5"]
    assert run(*how) == 0
    merged = []
    for index in range(1, 5):
        assert run(*how, "--shard", f"{index}/4") == 0
        part = read(f"dataset_timing_results.shard{index}of4.jsonl")
        assert {record["id"] % 4 for record in part} == {index - 1}
        merged += part
    whole = read("dataset_timing_results.jsonl")
    assert sorted(map(said, merged)) == [said(record) for record in whole]


def started(*arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "profiling.generation", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def ended_in_the_middle(number: int, arguments: list[str], path: Path) -> int:
    """Start a run, send it a signal once two prompts are done, and return its exit status."""
    process = started(*arguments)
    try:
        deadline = time.monotonic() + 120
        while lines_of(path) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(number)
        return process.wait(60)
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_in_the_middle_goes_on_with_every_prompt_once(
    models: list[str], number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    # No end of sequence would come before 60 tokens in most of them: long enough to be hit.
    how = ["dataset", *models, "--dataset_file", dataset(10), "--max_new_tokens", "60"]
    path = Path("dataset_timing_results.jsonl")
    status = ended_in_the_middle(number, how, path)
    assert status == (130 if number == signal.SIGINT else -number)
    before = [said(json.loads(line)) for line in path.read_bytes().split(b"\n")[:-1]]
    assert 2 <= len(before) < 10
    with path.open("ab") as stream:
        stream.write(b'{"id": 9, "pro')  # as a kill within the write would leave it
    assert run(*how, "--resume") == 0
    records = [said(record) for record in read(path)]
    assert [record[0] for record in records] == list(range(10))
    assert records[: len(before)] == before
    assert "1 line was cut short and is taken away" in capsys.readouterr().err


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException, *ids: int) -> None:
    """Let generation from some prompts fail."""
    real = generation_run.Generator.generate

    def generate(self: Any, prompt: Any, most: int | None = None) -> Any:
        if prompt.id in ids:
            raise error
        return real(self, prompt, most)

    monkeypatch.setattr(generation_run.Generator, "generate", generate)


def test_a_prompt_that_fails_is_on_record_and_the_rest_go_on(
    models: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    how = ["batch", *models, "--max_new_tokens", "3"]
    with monkeypatch.context() as patched:
        failing(patched, torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB"), 1, 3)
        assert run(*how) == 1
    records = read("batch_timing_results.jsonl")
    reason = "out of memory (CUDA out of memory. Tried 2 GiB); lower --max-new-tokens"
    assert [record.get("error") for record in records] == [None, reason, None, reason, None]
    assert list(records[1]) == ["id", "prompt", "error"]
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: 2 of 5 prompts failed, the first with: {reason}; --resume tries them again"
    )
    assert run(*how, "--resume") == 0
    records = read("batch_timing_results.jsonl")
    assert sorted(record["id"] for record in records) == list(range(5))
    assert not any("error" in record for record in records)
    assert "2 prompts failed before and are tried again" in capsys.readouterr().err


def test_an_empty_prompt_fails_alone(models: list[str]) -> None:
    Path("in.jsonl").write_text('{"prompt": ""}\n{"prompt": "the sky"}\n')
    assert run("dataset", *models, "--dataset_file=in.jsonl", "--max_new_tokens", "2") == 1
    records = read("dataset_timing_results.jsonl")
    assert records[0] == {"id": 0, "prompt": "", "error": "the prompt has no tokens"}
    check_schema(records[1], most=2)


def test_resuming_what_is_done_loads_nothing(
    models: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("batch", *models, "--max_new_tokens", "2") == 0
    before = Path("batch_timing_results.jsonl").read_bytes()
    monkeypatch.setattr(session, "load", None)
    assert run("batch", *models, "--max_new_tokens", "2", "--resume") == 0
    assert Path("batch_timing_results.jsonl").read_bytes() == before


def test_a_prompt_beyond_the_models_positions_fails_alone_and_runs_nothing(
    models: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "zq" * 4096  # letters that are tokens of their own, of 4,096 positions
    Path("in.jsonl").write_text(
        json.dumps({"prompt": long}) + '\n{"prompt": "why is the sky blue"}\n'
    )
    how = ["--dataset-file", "in.jsonl", "--max-new-tokens", "2"]
    assert run("dataset", *models, *how) == 1
    records = read("dataset_timing_results.jsonl")
    assert re.fullmatch(
        r"[\d,]+ tokens of prompt and 2 new tokens want [\d,]+ positions, the base has 4,096; "
        "shorten the prompt, or lower --max-new-tokens",
        records[0]["error"],
    )
    check_schema(records[1], most=2)
    capsys.readouterr()
    ran: list[object] = []
    monkeypatch.setattr(generation_run, "generate", lambda *given, **_: ran.append(given))
    assert run("profile", *models, "--prompt", "why", "--max-new-tokens", "4096") == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: the prompt failed: ")
    assert "new tokens want" in last
    assert ran == []


REFUSED = {
    "no file": (["dataset", "--dataset_file", "typo.jsonl"], 1, "typo.jsonl: cannot be read"),
    "no prompts": (["dataset", "--dataset_file", "/dev/null"], 1, "/dev/null: empty"),
    "both sources": (["dataset", "--dataset_file", "x", "--dataset", "y"], 2, "give dataset one"),
    "neither source": (["dataset"], 2, "give dataset one of --dataset NAME"),
    "split of a file": (["dataset", "--dataset_file", "x", "--split", "y"], 2, "a file has none"),
    "no mode": ([], 2, "the following arguments are required: mode"),
    "other mode": (["train"], 2, "invalid choice: 'train'"),
    "shard 0": (["batch", "--shard", "0/4"], 2, "must be I/N with I from 1 to N"),
    "shard 5 of 4": (["batch", "--shard", "5/4"], 2, "must be I/N with I from 1 to N"),
    "too many shards": (["batch", "--shard", "7/9"], 2, "shard 7 of 9 has no prompt: there are 5"),
    "resume a profile": (["profile", "--resume"], 2, "--resume is of batch and dataset, not of"),
    "prompt of a batch": (["batch", "--prompt", ""], 2, "--prompt is of profile, not of batch"),
    "both ways": (["batch", "--resume", "--overwrite"], 2, "give one of them"),
    "no tokens": (["batch", "--max_new_tokens", "0"], 2, "must be a positive whole number"),
    "cold": (["batch", "--temperature", "-1"], 2, "must be a positive number"),
    "gates of none": (["batch", "--teacher_model", "none", "--open_gates"], 2, "wants a teacher"),
    "two teachers": (
        ["batch", "--teacher_model", "x", "--teacher_random_init", "qwen3-4b"],
        2,
        "not both",
    ),
    "two shapes": (["batch", "--projector", "x", "--projector_hidden", "3"], 2, "have their own"),
    "no device": (["batch", "--device", "tpu"], 2, "no device is called 'tpu'"),
    "no shape": (["batch", "--random_init", "qwen9"], 2, "no architecture and no file is called"),
    "no model": (["batch", "--base_model", "./typo"], 1, "./typo: no such folder"),
    "no projector": (["batch", "--projector", "typo"], 1, "typo: no such folder; give the one"),
    "no folder": (["batch", "--output", "no/out.jsonl"], 1, "cannot be written (no such file"),
}


def status_of(arguments: list[str], models: list[str]) -> object:
    """Run with these arguments, and of the usual ones those that do not get in their way."""
    base, teacher, width, rest = models[:2], models[2:4], models[5:7], models[7:]
    if {"--base_model", "--random_init"} & set(arguments):
        base = []
    if {"--teacher_model", "--teacher_random_init"} & set(arguments):
        teacher = []
    if "--projector" in arguments or "none" in arguments:
        width = []
    usual = [*base, *teacher, *width, *rest] if arguments else []
    try:
        return run(*arguments[:1], *usual, *arguments[1:])
    except SystemExit as stop:
        return stop.code


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_is_one_line_and_leaves_nothing(
    name: str, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, status, words = REFUSED[name]
    found = status_of(arguments, models)
    shown = capsys.readouterr()
    assert found == status
    assert words in shown.err
    assert shown.err.count("\n") == 1
    assert shown.err.startswith("error: ")
    assert not shown.out
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize(
    ("base", "teacher"), [("qwen3-0.6b", "qwen3-4b"), ("qwen3-tiny", "qwen3-tiny")]
)
def test_a_random_base_has_a_random_teacher_unless_one_is_named(base: str, teacher: str) -> None:
    given = options.parse(options.parser(""), ["batch", "--random-init", base])
    assert options.models(given).names == Pair(
        base_model=f"{base} (random weights)", teacher_model=f"{teacher} (random weights)"
    )


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--random_init", "qwen3-0.6b"], "one of the shape of qwen3-4b comes with it"),
        (["--random_init", "qwen3-tiny"], "one of the shape of qwen3-tiny comes with it"),
        (["--random_init", "qwen3-0.6b", "--teacher_model", "none"], ""),
        (["--random_init", "qwen3-0.6b", "--teacher_random_init", "qwen3-4b"], ""),
        (["--random_init", "qwen9"], ""),
        ([], ""),
    ],
)
def test_a_teacher_that_nobody_named_is_named(more: list[str], named: str) -> None:
    given = options.parse(options.parser(None), ["batch", *more])
    lines = options.implied(given)
    assert len(lines) == bool(named)
    assert all(named in line for line in lines)


def test_shapes_of_a_file_generate_with_random_weights(tmp_path: Path) -> None:
    shape = str(save_tiny(tmp_path / "shape", layers=BASE_LAYERS) / "config.json")
    both = ["--random-init", shape, "--teacher-random-init", shape, "--projector_hidden", "8"]
    assert run("batch", *both, "--max_new_tokens", "2") == 0
    for record in read("batch_timing_results.jsonl"):
        check_schema(record, most=2)


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run("--help")
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for mode in MODES:
        assert mode in shown
    for option in ("base-model", "teacher-model", "max-new-tokens", "shard", "attention"):
        assert f"--{option}" in shown
