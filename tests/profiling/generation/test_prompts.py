"""What is generated from: files of prompts, data sets, shards."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from analysis.show.errors import ReportError
from profiling.common.errors import LaunchError, UsageError
from profiling.generation import prompts
from profiling.generation.record import Prompt

PROMPTS = [Prompt(number, f"prompt {number}") for number in range(4)]
MODELS = {"base_model": "base", "teacher_model": None}


def prompts_of(folder: Path, content: bytes, most: int | None = None) -> list[Prompt]:
    path = folder / "in.jsonl"
    path.write_bytes(content)
    return prompts.from_file(path, most)


def test_prompts_and_questions_are_read_and_counted_from_0(tmp_path: Path) -> None:
    content = (
        b'\xef\xbb\xbf{"question": "why?", "answer": "so"}\n\n'
        b'{"prompt": "p", "question": "q"}\r\n{"prompt": ""}'
    )
    found = prompts_of(tmp_path, content)
    assert found == [Prompt(0, "why?"), Prompt(1, "p"), Prompt(2, "")]
    assert prompts_of(tmp_path, content, most=2) == found[:2]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty; give a line"),
        (b"\n  \n", "empty; give a line"),
        (b'{"prompt": "a"}\n\n{"prompt": \n', "line 3 is no JSON"),
        (b'{"prompt": "a"}\n"b"\n', "line 2 is no JSON object"),
        (b'{"prompt": "\xff"}\n', "line 1 is no JSON"),
        (b'{"text": "a", "id": 3}\n', "line 1 has no text called prompt or question; it has: text"),
        (b'{"prompt": 3}\n', "line 1 has no text called prompt or question"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(LaunchError, match=said):
        prompts_of(tmp_path, content)


def test_a_file_of_prompts_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="cannot be read"):
        prompts.from_file(tmp_path / "typo.jsonl")


def stand_in(monkeypatch: pytest.MonkeyPatch, load: Any) -> None:
    """Put something in the place of the package `datasets`."""
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load))


def test_a_data_set_is_asked_for_with_the_configuration_that_is_meant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def load(path: str, config: str | None, *, split: str) -> list[dict[str, str]]:
        asked.append((path, config, split))
        return [{"question": f"q{number}", "answer": ""} for number in range(5)]

    stand_in(monkeypatch, load)
    found = prompts.from_dataset("gsm8k", "test", 2)
    assert found == [Prompt(0, "q0"), Prompt(1, "q1")]
    prompts.from_dataset("cais/mmlu", "validation")
    prompts.from_dataset("cais/mmlu:anatomy", "test")
    prompts.from_dataset("squad", "train")
    assert asked == [
        ("gsm8k", "main", "test"),
        ("cais/mmlu", "all", "validation"),
        ("cais/mmlu", "anatomy", "test"),
        ("squad", None, "train"),
    ]


def test_a_data_set_that_cannot_be_had_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, **__: object) -> list[dict[str, str]]:
        raise ConnectionError("Couldn't reach the hub.\nTraceback")

    stand_in(monkeypatch, load)
    with pytest.raises(
        LaunchError, match=r"split test cannot be loaded \(Couldn't reach the hub\)"
    ):
        prompts.from_dataset("gsm8k", "test")
    stand_in(monkeypatch, lambda *_, **__: [])
    with pytest.raises(LaunchError, match="its split test is empty"):
        prompts.from_dataset("gsm8k", "test")
    stand_in(monkeypatch, lambda *_, **__: [{"text": "a"}])
    with pytest.raises(LaunchError, match="row 0 has no text called prompt or question"):
        prompts.from_dataset("wikitext", "test")


def test_without_the_package_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(LaunchError, match="pip install datasets, or give --dataset-file"):
        prompts.from_dataset("gsm8k", "test")
    with pytest.raises(UsageError, match="no data set is called"):
        prompts.from_dataset("gsm8k:", "test")


def test_shards_have_every_prompt_once() -> None:
    shards = [prompts.shard_of(PROMPTS, index, 3) for index in (1, 2, 3)]
    assert [[each.id for each in shard] for shard in shards] == [[0, 3], [1], [2]]
