"""``python -m analysis.generation``: merging, measures, growth, slowest, pictures, refusals."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from analysis.generation import __main__ as generation
from analysis.generation.merge import read
from analysis.generation.pictures import PICTURES
from analysis.generation.tables import QUESTIONS, first_notes_on
from analysis.show import pictures
from analysis.show.errors import NotInstalled
from tests.made.records.generation_records import asked, failed, record, write
from tests.made.runs.launched import ROOT


@pytest.fixture
def simple(tmp_path: Path) -> str:
    more = [record(1, (40.0,)), record(2, (50.0, 10.0, 10.0, 10.0))]
    return write(tmp_path / "run.jsonl", record(0), *more)


def test_measures_are_those_of_pandas_describe(
    simple: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {row["measure"]: row for row in asked(capsys, simple)}
    values = {
        "generated tokens": [3, 1, 4],
        "tokens per second, decoding": [50, 25, 50],
        "tokens per second, whole prompt": [3 / 0.118, 1 / 0.098, 4 / 0.138],
        "time to first token": [58 + 30, 58 + 40, 58 + 50],
        "time per output token": [15, 10],  # one token has no second
        "decode": [60, 40, 80],
        "decode step": [20, 40, 20],
        "base prefill": [9, 9, 9],
        "teacher prefill": [18, 18, 18],
        "projectors": [28, 28, 28],
        "one projector": [1, 1, 1],
        "whole prompt": [118, 98, 138],
    }
    assert list(rows) == list(values)
    for measure, expected in values.items():
        described = pd.Series(expected).describe(percentiles=[0.25, 0.5, 0.75, 0.9, 0.99])
        names = ("count", "mean", "std", "min", "p25", "median", "p75", "p90", "p99", "max")
        found = [float(rows[measure][name]) for name in names]
        assert found == pytest.approx(described.to_numpy()), measure


def test_the_parts_add_up_to_all_of_it(simple: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["part"]: row for row in asked(capsys, simple, "--by", "part")}
    assert {part: int(row["total_ns"]) for part, row in rows.items()} == {
        "base embedding": 3_000_000,
        "base prefill": 27_000_000,
        "teacher embedding": 6_000_000,
        "teacher prefill": 54_000_000,
        "projectors": 84_000_000,
        "first decode step": 120_000_000,
        "further decode steps": 60_000_000,
    }
    assert sum(float(row["share"]) for row in rows.values()) == pytest.approx(1)
    assert float(rows["projectors"]["share"]) == pytest.approx(84 / 354)
    assert float(rows["projectors"]["mean_ns"]) == 28_000_000


def test_positions_double_and_hold_every_step(
    simple: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = asked(capsys, simple, "--by", "position")
    names = ("first_step", "last_step", "prompts", "steps", "mean_ns", "median_ns", "max_ns")
    assert [tuple(float(row[name]) for name in names) for row in rows] == [
        (0, 0, 3, 3, 40e6, 40e6, 50e6),
        (1, 1, 2, 2, 10e6, 10e6, 10e6),
        (2, 3, 2, 3, pytest.approx(40e6 / 3), 10e6, 20e6),
    ]


def test_the_slowest_ten_come_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "run.jsonl", *(record(n, (float(n * 7 % 13),)) for n in range(1, 13)))
    rows = asked(capsys, path, "--by", "slowest")
    assert [int(row["id"]) for row in rows] == sorted(range(1, 13), key=lambda n: -(n * 7 % 13))[
        :10
    ]
    assert rows[0]["wall_ns"] == str(70_000_000)
    assert rows[0]["prompt"] == "prompt 11"


def test_the_command_refuses_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "analysis.generation", str(tmp_path / "typo.jsonl")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(
        r"error: .*typo.jsonl: cannot be read .no such file or directory.; give a file that .*\n",
        done.stderr,
    )
    with pytest.raises(SystemExit) as stop:
        generation.main(["x.jsonl", "--by", "nothing"])
    assert stop.value.code == 2


def test_the_first_notes_stand_beside_pairs_of_their_sizes_only(
    simple: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = asked(capsys, simple, "--by", "reference")
    assert [(row["measure"], float(row["here"]), float(row["first_notes"])) for row in rows] == [
        ("prefill, both models", 30.0, 950.0),
        ("decode step", pytest.approx(80 / 3), 75.0),
        ("tokens per second, decoding", pytest.approx(125 / 3), 13.0),
    ]
    pairs = {
        ("Qwen/Qwen3-0.6B", "Qwen/Qwen2.5-0.5B-Instruct"): (800.0, 50.0, 20.0),
        ("qwen3-0.6b (random weights)", "qwen3-4b (random weights)"): (950.0, 75.0, 13.0),
        ("Qwen/Qwen3-1.7B", "Qwen/Qwen3-4B-Base"): None,
        ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-14B"): None,
        ("Qwen/Qwen3-0.6B", None): None,
    }
    for number, (pair, noted) in enumerate(pairs.items()):
        path = write(tmp_path / f"{number}.jsonl", record(0, pair=pair))
        ((found, _),) = read([path]).pairs()
        assert first_notes_on(found) == noted
    assert asked(capsys, path, "--by", "reference") == []


def test_every_question_can_be_asked_in_every_format(
    simple: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for question in QUESTIONS:
        for form in ("table", "csv", "json", "markdown"):
            assert generation.main([simple, "--by", question, "--format", form]) == 0
            shown = capsys.readouterr().out
            assert shown
            if form == "json":
                assert json.loads(shown)
        database = str(tmp_path / "all.db")
        how = [simple, "--by", question, "--format", "sqlite", "--output", database]
        assert generation.main(how) == 0


def test_a_table_answers_everything_at_once(
    simple: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generation.main([simple]) == 0
    shown = capsys.readouterr().out
    for heading in (
        "Qwen/Qwen3-0.6B + Qwen/Qwen3-4B-Base · 3 prompts · 8 tokens",
        "Parts: prefill, projectors, decoding",
        "too few steps to tell whether it grows with the cache",
        "Slowest prompts",
        "Beside the first notes' rough figures",
    ):
        assert heading in shown


def test_a_prompt_that_would_break_a_table_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wild = "[red]a|b\x1b[31m\n\u202e`c` \ud83d"
    pair = ("$x_$[b]", "te\x1b]0;x\x07acher")
    path = write(tmp_path / "run.jsonl", record(0, prompt=wild, pair=pair))
    for form in ("table", "markdown"):
        assert generation.main([path, "--format", form]) == 0
        shown = capsys.readouterr().out
        assert "\x1b" not in shown
        assert "[red]a" in shown
    picture = tmp_path / "pictures"
    assert generation.main([path, "--pictures", str(picture)]) == 0


def test_pictures_are_drawn_where_they_are_asked_for(
    simple: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "pictures"
    assert generation.main([simple, "--pictures", str(folder)]) == 0
    assert sorted(path.name for path in folder.iterdir()) == sorted(PICTURES)
    assert "decode_time_distribution.png" in PICTURES
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.iterdir())
    assert f"note: drawn: {folder / 'parts.png'}" in capsys.readouterr().err


def test_without_matplotlib_one_line_says_what_to_install(
    simple: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    with pytest.raises(NotInstalled, match="matplotlib is not installed; pip install"):
        generation.main([simple, "--pictures", str(tmp_path / "pictures")])


def test_nothing_here_imports_torch_or_draws_unasked(simple: str) -> None:
    code = (
        "import sys; from analysis.generation import __main__ as generation; "
        f"assert generation.main([{simple!r}]) == 0; "
        "wrong = {'torch', 'matplotlib', 'pandas', 'transformers'} & set(sys.modules); "
        "assert not wrong, wrong"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


JQ: list[tuple[str, str]] = [
    ("jq -s 'map(select(.timing)) | map(.timing.tokens_per_second) | add / length'", "41.66"),
    ("jq -s 'map(.timing.num_generated_tokens // 0) | add'", "8"),
    (
        "jq -s 'map(select(.timing)) | sort_by(-.timing.decode_total_ms)[:2][] | .id' -c",
        "2\n0",
    ),
    ("jq -r 'select(.error) | [.id, .error] | @tsv'", "3\tout of memory"),
]


@pytest.mark.parametrize(("command", "answer"), JQ, ids=["mean", "tokens", "slowest", "failed"])
def test_what_people_ask_jq(command: str, answer: str, simple: str) -> None:
    if not shutil.which("jq"):
        pytest.skip("jq is not installed")
    with Path(simple).open("a") as stream:
        stream.write(json.dumps(failed(3)) + "\n")
    done = subprocess.run(f"{command} {simple}", shell=True, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(answer)
