"""A file of records, one a line: on the disk at once, of one process, and never half replaced."""

import json
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from analysis.source.json_files import checked, parsed
from profiling.common.errors import LaunchError
from profiling.common.json_lines import JsonLines, open_json_lines

Record = dict[str, int]


def record_of(line: bytes) -> Record:
    return checked(parsed(line), Record)


def opened(
    path: Path, *, resume: bool = False, overwrite: bool = False
) -> AbstractContextManager[JsonLines[Record]]:
    """Open a file whose records are whole numbers by name."""
    return open_json_lines(path, record_of, resume=resume, overwrite=overwrite)


def ids(path: Path) -> list[int]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def interrupted(path: Path) -> bytes:
    """Leave what a killed run leaves: two records and half a line."""
    with opened(path) as file:
        file.add({"id": 0})
        file.add({"id": 1})
    with path.open("ab") as stream:
        stream.write(b'{"id": 2')
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
    with opened(path) as file:
        for number in (0, 1):
            file.add({"id": number})
            assert ids(path) == list(range(number + 1))
            assert synced[-1] == path.stat().st_size


def test_until_the_first_record_the_file_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    before = interrupted(path)
    for how in ({"resume": True}, {"overwrite": True}):
        with (
            pytest.raises(LaunchError, match="no such model"),
            opened(path, **how),
        ):
            raise LaunchError("no such model")
        assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_whole_line_without_its_end_is_not_taken_for_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b'{"id": 0}\n{"id": 1}')
    with opened(path, resume=True) as file:
        assert (len(file.lines), file.torn) == (2, False)
        file.add({"id": 2})
    assert ids(path) == [0, 1, 2]
    other = b'{"settings": {"theme": "dark"}}'
    path.write_bytes(other)
    with pytest.raises(LaunchError, match="line 1 is no record of this command"):
        opened(path, resume=True).__enter__()
    assert path.read_bytes() == other


def test_a_run_that_writes_nothing_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    for how in ({}, {"resume": True}):
        with opened(path, **how):
            assert path.exists()
        assert not path.exists()


def test_an_empty_file_is_no_earlier_run(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.touch()
    with opened(path) as file:
        file.add({"id": 0})
    assert ids(path) == [0]


def test_a_file_that_is_there_is_not_written_to_unasked(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    before = interrupted(path)
    with (
        pytest.raises(LaunchError, match="exists; give --resume to go on with it"),
        opened(path),
    ):
        pass
    assert path.read_bytes() == before


def test_two_processes_cannot_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with opened(path) as file:
        for _ in range(2):  # empty at first, then with a record, which moves nothing
            with (
                pytest.raises(LaunchError, match="another process is writing it"),
                opened(path, resume=True),
            ):
                pass
            assert path.exists()
            file.add({"id": 0})
    interrupted_path = tmp_path / "other.jsonl"
    interrupted(interrupted_path)
    with opened(interrupted_path, resume=True) as file:
        file.add({"id": 1})  # the file was swapped for a mended one: still locked
        with (
            pytest.raises(LaunchError, match="another process is writing it"),
            opened(interrupted_path, overwrite=True),
        ):
            pass


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
        opened(make(tmp_path), resume=True),
    ):
        pass


def test_a_full_disk_is_one_line_and_keeps_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.jsonl"

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with opened(path) as file:
        file.add({"id": 0})
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(LaunchError, match=r"cannot be written \(no space left on device\)"):
            file.add({"id": 1})
    assert ids(path)[0] == 0


def test_what_was_cut_short_goes_with_the_first_new_record(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    before = interrupted(path)
    with opened(path, resume=True) as file:
        assert [record["id"] for _, _, record in file.lines] == [0, 1]
        assert file.torn
        assert path.read_bytes() == before
        file.add({"id": 2})
        assert ids(path) == [0, 1, 2]
    with opened(path, resume=True) as file:
        assert not file.torn


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}\nnonsense\n", r"line 2 is no record of this command \(no JSON\); mend it or take it"),
        ('\n{"id": "x"}\n', r"line 2 is no record .*Expected `int`, got `str` - at `\$\[\.\.\.\]`"),
        ("[1]\n", "line 1 is no record of this command .*Expected `object`, got `array`"),
        ("a note without an end", "line 1 is no record .*or name another --output"),
    ],
)
def test_a_file_of_something_else_stays_as_it_is(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text(content)
    with pytest.raises(LaunchError, match=said), opened(path, resume=True):
        pass
    assert path.read_text() == content
