"""The file of records and the files of prompts, whatever is in them and whatever happens."""

import json
import os
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


def test_a_record_is_on_the_disk_when_add_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.jsonl"
    synced: list[int] = []
    real = os.fsync

    def fsync(number: int) -> None:
        synced.append(os.fstat(number).st_size)
        real(number)

    monkeypatch.setattr(os, "fsync", fsync)
    with open_record_file(path, PROMPTS, MODELS) as (file, _):
        for number in (0, 1):
            file.add(done(number))
            assert ids(path) == list(range(number + 1))
            assert synced[-1] == path.stat().st_size


def test_resuming_keeps_what_is_done_and_drops_what_failed_or_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    interrupted(path)
    with open_record_file(path, PROMPTS, MODELS, resume=True) as (file, earlier):
        assert (earlier.done, earlier.failed, earlier.torn) == ({0, 2}, {1}, True)
        file.add(done(1))
        file.add(done(3))
    assert ids(path) == [0, 2, 1, 3]


def test_until_the_first_record_the_file_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    before = interrupted(path)
    for how in ({"resume": True}, {"overwrite": True}):
        with (
            pytest.raises(LaunchError, match="no such model"),
            open_record_file(path, PROMPTS, MODELS, **how),
        ):
            raise LaunchError("no such model")
        assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["out.jsonl"]


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


def test_a_run_that_writes_nothing_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    for how in ({}, {"resume": True}):
        with open_record_file(path, PROMPTS, MODELS, **how):
            assert path.exists()
        assert not path.exists()


def test_an_empty_file_is_no_earlier_run(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.touch()
    with open_record_file(path, PROMPTS, MODELS) as (file, _):
        file.add(done(0))
    assert ids(path) == [0]


def test_a_file_that_is_there_is_not_written_to_unasked(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    before = interrupted(path)
    with (
        pytest.raises(LaunchError, match="exists; give --resume to go on with it"),
        open_record_file(path, PROMPTS, MODELS),
    ):
        pass
    assert path.read_bytes() == before


def test_two_processes_cannot_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with open_record_file(path, PROMPTS, MODELS) as (file, _):
        for _ in range(2):  # empty at first, then with a record, which moves nothing
            with (
                pytest.raises(LaunchError, match="another process is writing it"),
                open_record_file(path, PROMPTS, MODELS, resume=True),
            ):
                pass
            assert path.exists()
            file.add(done(0))
    interrupted_path = tmp_path / "other.jsonl"
    interrupted(interrupted_path)
    with open_record_file(interrupted_path, PROMPTS, MODELS, resume=True) as (file, _):
        file.add(done(1))  # the file was swapped for a mended one: still locked
        with (
            pytest.raises(LaunchError, match="another process is writing it"),
            open_record_file(interrupted_path, PROMPTS, MODELS, overwrite=True),
        ):
            pass


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


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder, "is a directory"),
        (lambda folder: folder / "no" / "out.jsonl", "no such file or directory"),
        (lambda _: Path("/dev/null"), "no regular file"),
    ],
)
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, make: Any, said: str) -> None:
    with (
        pytest.raises(LaunchError, match=f"cannot be written .*{said}"),
        open_record_file(make(tmp_path), PROMPTS, MODELS, resume=True),
    ):
        pass


def test_a_full_disk_is_one_line_and_keeps_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.jsonl"

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with open_record_file(path, PROMPTS, MODELS) as (file, _):
        file.add(done(0))
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(LaunchError, match=r"cannot be written \(no space left on device\)"):
            file.add(done(1))
    assert ids(path)[0] == 0


def test_half_a_surrogate_pair_can_be_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    prompts = [Prompt(0, "\ud83d"), Prompt(1, "blé \U0001f33e")]
    with open_record_file(path, prompts, MODELS) as (file, _):
        for prompt in prompts:
            file.add({**failed(prompt.id), "prompt": prompt.text})
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["prompt"] for line in lines] == [each.text for each in prompts]
    assert "blé \U0001f33e" in lines[1]
