"""Files of records that commands read: one line says what is wrong, and no pipe is waited for."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from model.config import SIZES
from profiling.common.settings import Settings
from tests.made.commands.commands import a_report, contents
from tests.made.commands.in_process import run_command

WRONG: dict[str, bytes] = {
    "empty": b"",
    "no JSON": b"hello",
    "another shape": b'{"a": 1}',
    "a list": b"[]",
    "a number": b"3",
    "nothing": b"null",
    "cut": b'{"kind": "benchm',
    "binary": bytes(range(256)) * 4,
    "NaN": b"NaN",
    "deep": b"[" * 200_000,
    "a huge number": b'{"kind":' + b"9" * 5000 + b"}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
}

READ: dict[str, Callable[[Path, Path], list[object]]] = {
    "profiling.benchmark": lambda bad, good: ["--compare", good, bad],
    "analysis.answers": lambda bad, good: [good.with_suffix(".sqlite"), "--benchmark", bad],
    "analysis.compare": lambda bad, good: [
        *(good.with_suffix(".sqlite"), good.with_suffix(".sqlite"), "--predicted", bad),
    ],
    "profiling.model_timing": lambda bad, _: [
        *("--random-init", "tiny", "--device", "cpu", "--configs", bad),
    ],
    "profiling.generation": lambda bad, _: [
        *("dataset", "--random-init", "tiny", "--device", "cpu", "--dataset-file", bad),
    ],
}
"""By the module of a command, its arguments with a file to read, beside a good one."""

GONE_ON_WITH: dict[str, Callable[[Path, Path], list[object]]] = {
    "profiling.sweep": lambda bad, _: [
        *("--sizes", "tiny", "--device", "cpu", "--contexts", "8", "--results", bad),
    ],
}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Return the JSON of a benchmark's run, with a report beside it."""
    settings = Settings(size="tiny", config=SIZES["tiny"], device="cpu", batch=1, context=8)
    a_report(tmp_path / "good.sqlite")
    path = tmp_path / "good.json"
    run = {"kind": "benchmark", "facts": {}, "settings": asdict(settings), "total_ns": [5, 6]}
    path.write_text(json.dumps(run))
    return path


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """End a test that waits for a pipe."""
    signal.alarm(60)
    yield
    signal.alarm(0)


def refused(module: str, arguments: list[object], bad: Path, folder: Path) -> None:
    """Check that a command refuses a file in one line that names it, and changes nothing."""
    before = contents(folder)
    done = run_command(module, *map(str, arguments), cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert bad.name in done.stderr
    assert contents(folder) == before


@pytest.mark.parametrize("module", READ)
@pytest.mark.parametrize("name", WRONG)
def test_what_is_in_a_file_and_does_not_belong_there_is_one_line(
    module: str, name: str, good: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_bytes(WRONG[name])
    refused(module, READ[module](bad, good), bad, tmp_path)


def a_folder(path: Path) -> None:
    path.mkdir()


def a_circle(path: Path) -> None:
    path.symlink_to(path)


def nothing(path: Path) -> None:
    """Leave the name without a file."""


@pytest.mark.parametrize("module", [*READ, *GONE_ON_WITH])
@pytest.mark.parametrize("made", [a_folder, os.mkfifo, a_circle, nothing])
def test_what_is_no_file_is_one_line(
    module: str, made: Callable[[Path], None], good: Path, tmp_path: Path
) -> None:
    if made is nothing and module in GONE_ON_WITH:
        pytest.skip("it is made")
    bad = tmp_path / "bad.json"
    made(bad)
    refused(module, (READ | GONE_ON_WITH)[module](bad, good), bad, tmp_path)


def test_a_run_that_is_compared_is_not_written_over(good: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_bytes(good.read_bytes())
    before = contents(tmp_path)
    done = run_command("profiling.benchmark", "--compare", good, other, "--output", other)
    assert (done.returncode, done.stdout) == (1, "")
    assert "other.json: this is the report itself" in done.stderr
    assert contents(tmp_path) == before


def test_a_file_of_results_that_is_a_report_is_refused_before_any_work(
    good: Path, tmp_path: Path
) -> None:
    report = good.with_suffix(".sqlite")
    arguments: list[object] = ["--size", "tiny", "--device", "cpu", "--json", report]
    refused("profiling.benchmark", arguments, report, tmp_path)
