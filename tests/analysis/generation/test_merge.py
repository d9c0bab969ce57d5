"""Merging records of many files: what is left out is said."""

from pathlib import Path
from typing import Any

import pytest

from analysis.generation import __main__ as generation
from analysis.generation.merge import read
from analysis.show.errors import ReportError
from tests.made.records.generation_records import PAIR, asked, failed, record, write


def test_shards_in_any_order_are_one_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [record(number, (float(number + 1), 5.0)) for number in range(9)]
    whole = write(tmp_path / "whole.jsonl", *records)
    shards = [write(tmp_path / f"{part}.jsonl", *records[part::3]) for part in (2, 0, 1)]
    joined = tmp_path / "joined.jsonl"
    joined.write_text("".join(Path(shard).read_text() for shard in shards))
    expected = asked(capsys, whole)
    assert asked(capsys, *shards) == expected
    assert asked(capsys, str(joined)) == expected
    assert [each.id for each in read(shards).generations] == list(range(9))
    assert not read(shards).notes


def test_what_is_there_twice_missing_failed_or_malformed_is_said(tmp_path: Path) -> None:
    one = write(
        tmp_path / "one.jsonl",
        record(0),
        "nonsense",
        record(0, (99.0,)),
        failed(5),
        failed(3),
        record(3),
        record(9),
        '{"id": 10, "pro',
    )
    found = read([one])
    assert [(each.id, each.tokens) for each in found.generations] == [(0, 3), (3, 3), (9, 3)]
    assert [failure.id for failure in found.failures] == [5]  # 3 was done in the end
    assert found.notes == [
        f"{one}: line 2: no JSON; left out",
        f"{one}: line 8: no JSON; left out",
        "1 record of a prompt that was there already is left out",
        "1 prompt failed: 5; the first: out of memory",
        "6 of 10 ids are missing: 1-2, 4, 6-8; a shard is not here, or a run is not done",
    ]


def test_a_failure_is_not_hidden_by_another_pairs_success(tmp_path: Path) -> None:
    alone = (PAIR[0], None)
    one = write(tmp_path / "one.jsonl", record(0), failed(1))
    two = write(tmp_path / "two.jsonl", record(0, pair=alone), record(1, pair=alone))
    found = read([one, two])
    assert [failure.file for failure in found.failures] == [one]
    assert [(str(pair), len(made)) for pair, made in found.pairs()] == [
        ("Qwen/Qwen3-0.6B + Qwen/Qwen3-4B-Base", 1),
        ("Qwen/Qwen3-0.6B alone", 2),
    ]


def test_pairs_are_kept_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "run.jsonl", record(0), record(0, (7.0, 7.0), pair=(PAIR[0], None)))
    rows = asked(capsys, path)
    measures = {pair: [] for pair in dict.fromkeys(row["pair"] for row in rows)}  # type: dict[str, list[str]]
    for row in rows:
        measures[row["pair"]].append(row["measure"])
    with_teacher, alone = measures.values()
    gone = {"teacher prefill", "projectors", "one projector"}
    assert alone == [measure for measure in with_teacher if measure not in gone]
    assert generation.main([path]) == 0
    assert "pair" in capsys.readouterr().out


def test_files_of_different_data_sets_are_not_merged(tmp_path: Path) -> None:
    one = write(tmp_path / "one.jsonl", record(0))
    two = write(tmp_path / "two.jsonl", record(0, prompt="another"))
    with pytest.raises(ReportError, match=r"two.jsonl: its prompt 0 is another than that of"):
        read([one, two])


def test_steps_that_do_not_add_up_are_said(tmp_path: Path) -> None:
    wrong = record(4, decode_total_ms=70.0)
    found = read([write(tmp_path / "run.jsonl", record(0), wrong)])
    assert "decode steps do not add up to decode_total_ms in 1: 4" in found.notes


def timing(**changes: Any) -> dict[str, Any]:
    return {"timing": record(0, **changes)["timing"]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": -1}, "Expected `int` >= 0 - at `$.id`"),
        ({"id": True}, "Expected `int`, got `bool` - at `$.id`"),
        ({"id": "0"}, "Expected `int`, got `str` - at `$.id`"),
        ({"prompt": None}, "Expected `str`, got `null` - at `$.prompt`"),
        ({"model_config": {"teacher_model": "x"}}, "Object missing required field `base_model`"),
        ({"timing": []}, "Expected `object`, got `array` - at `$.timing`"),
        ({"decode_step_times_ms": []}, "Expected `array` of length >= 1 - at `$.decode_step_times"),
        ({"decode_step_times_ms": [1.0]}, "num_generated_tokens is not the number of decode steps"),
        ({"decode_step_times_ms": [1, "2", 3]}, "Expected `float`, got `str` - at `$.decode_step"),
        (timing(base_prefill_ms=float("nan")), "Expected `float` >= 0.0 - at `$.timing.base_pref"),
        (timing(base_prefill_ms=-1), "Expected `float` >= 0.0 - at `$.timing.base_prefill_ms`"),
        (timing(teacher_prefill_ms=None), "a time of the teacher or of its projectors is null"),
        (
            timing(projector_calls=None),
            "Expected `int`, got `null` - at `$.timing.projector_calls`",
        ),
    ],
)
def test_a_line_that_is_no_record_says_why(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    path = write(tmp_path / "run.jsonl", record(7), {**record(0), **changes})
    found = read([path])
    assert [each.id for each in found.generations] == [7]
    assert found.notes[0].startswith(f"{path}: line 2: {said}")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "no record of a prompt"),
        (["{}"], r"no record in it \(line 1: Object missing required field `id`"),
        ([failed(0), failed(1)], "every prompt failed, 2 in all; the first: out of memory"),
    ],
)
def test_a_file_without_times_is_refused(tmp_path: Path, lines: list[Any], said: str) -> None:
    with pytest.raises(ReportError, match=said):
        read([write(tmp_path / "run.jsonl", *lines)])
