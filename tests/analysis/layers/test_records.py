"""Files of layer times: what is no record is named, by file and place, and the others count."""

import json
from pathlib import Path

import pytest

from analysis.layers import __main__ as layers
from analysis.layers.records import read
from analysis.show import cli
from tests.made.records.layer_times import layer, run, written

WRONG: dict[str, tuple[object, str]] = {
    "no object": (3, "Expected `object`, got `int`"),
    "no layers": ({**run(1), "layer_details": []}, "Expected `array` of length >= 1"),
    "batch": (run(1, layer(1, 1), batch=0), "Expected `int` >= 1 - at `$.batch_size`"),
    "huge batch": (run(1, layer(1, 1), batch=10**40), "Expected `int` <= 9007199254740991 - at"),
    "truth": (run(1, layer(1, 1)) | {"input_len": True}, "Expected `int`, got `bool` - at `$.inp"),
    "total": (run(1, layer(1, 1)) | {"total_time": "1"}, "Expected `float`, got `str` - at `$.to"),
    "not a number": (run(float("nan"), layer(1, 1)), "Expected `float` >= 0.0 - at `$.total_time`"),
    "negative": (run(1, layer(1, 1), layer(1, -1)), "Expected `float` >= 0.0 - at `$.layer_detai"),
    "no half": (run(1, layer(1, 1) | {"attn": None}), "got `null` - at `$.layer_details[0].attn`"),
    "layer": (run(1, layer(1, 1)) | {"layer_details": ["x"]}, "at `$.layer_details[0]`"),
    "details": (run(1, layer(1, 1) | {"attn_details": 7}), "`$.layer_details[0].attn_details`"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_record_is_named_and_the_others_count(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong, message = WRONG[case]
    path = written(tmp_path / "r.json", run(10, layer(3, 4)), wrong, run(10, layer(3, 4)))
    assert layers.main([str(path), "--format", "json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)[0]["runs"] == 2
    (note,) = [line for line in printed.err.splitlines() if "left out" in line]
    assert note.startswith(f"note: {path}: record 1: ")
    assert message in note


def test_many_wrong_records_are_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "r.json", *[3] * 25, run(10, layer(3, 4)))
    runs, wrong = read(path)
    assert len(runs) == 1
    assert len(wrong) == 11
    assert wrong[-1] == f"{path}: 15 more records left out"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON"),
        ("[1", "no JSON"),
        ("{}", "no list of records"),
        ("[]", "no layer times (the list is empty)"),
        ("[3, 4]", "no layer times (record 0: Expected `object`, got `int`)"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_a_file_without_records_is_one_line(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    assert cli.run(lambda: layers.main([str(path)])) == 1
    error = f"error: {path}: {message}; give a file that profiling.model_timing wrote\n"
    assert capsys.readouterr().err == error
    path.unlink()
    assert cli.run(lambda: layers.main([str(path)])) == 1
    assert "cannot be read (no such file or directory)" in capsys.readouterr().err
