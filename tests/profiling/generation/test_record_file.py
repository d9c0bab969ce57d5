"""The file of records of generation: what of an earlier run stays, and what it may not be of."""

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.generation.records import Pair
from profiling.common.errors import LaunchError
from profiling.generation.record import EarlierRecords, Prompt, open_record_file
from tests.made.records.generation_records import PAIR, failed, record

PROMPTS = [Prompt(number, f"prompt {number}") for number in range(4)]
MODELS = Pair(*PAIR)


def done(number: int) -> dict[str, Any]:
    return record(number)


def ids(path: Path) -> list[int]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def interrupted(path: Path) -> bytes:
    """Leave what a killed run leaves: two records, a failed prompt, half a line."""
    with open_record_file(path, PROMPTS, MODELS) as (file, _):
        file.add(done(0))
        file.add(failed(1))
        file.add(done(2))
    with path.open("ab") as stream:
        stream.write(b'{"id": 3, "prom')
    return path.read_bytes()


def test_resuming_keeps_what_is_done_and_drops_what_failed_or_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    interrupted(path)
    with open_record_file(path, PROMPTS, MODELS, resume=True) as (file, earlier):
        assert (earlier.done, earlier.failed, earlier.torn) == ({0, 2}, {1}, True)
        file.add(done(1))
        file.add(done(3))
    assert ids(path) == [0, 2, 1, 3]


def test_resuming_what_is_done_mends_it(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    interrupted(path)
    with open_record_file(path, PROMPTS, MODELS, resume=True):
        pass
    assert ids(path) == [0, 2]


def test_overwriting_replaces_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    interrupted(path)
    with open_record_file(path, PROMPTS, MODELS, overwrite=True) as (file, earlier):
        assert earlier == EarlierRecords()
        file.add(done(3))
    assert ids(path) == [3]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", r"line 2 is no record of this command \(no JSON\); mend it or take it out"),
        ('{"id": 1}', "line 2 is no record of this command .* required field `prompt`"),
        ("[1]", "line 2 is no record of this command .*Expected `object`, got `array`"),
        (json.dumps({**done(1), "prompt": "x"}), "line 2 has another prompt for id 1; .*--output"),
        (
            json.dumps({**done(1), "model_config": {"base_model": "b", "teacher_model": "t"}}),
            r"line 2 is of b \+ t, not of Qwen/Qwen3-0.6B \+ Qwen/Qwen3-4B-Base; mend it",
        ),
    ],
)
def test_a_file_of_something_else_is_not_gone_on_with(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text(json.dumps(done(0)) + "\n" + line + "\n")
    before = path.read_bytes()
    with (
        pytest.raises(LaunchError, match=said),
        open_record_file(path, PROMPTS, MODELS, resume=True),
    ):
        pass
    assert path.read_bytes() == before


def test_half_a_surrogate_pair_can_be_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    prompts = [Prompt(0, "\ud83d"), Prompt(1, "blé \U0001f33e")]
    with open_record_file(path, prompts, MODELS) as (file, _):
        for prompt in prompts:
            file.add({**failed(prompt.id), "prompt": prompt.text})
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["prompt"] for line in lines] == [each.text for each in prompts]
    assert "blé \U0001f33e" in lines[1]
