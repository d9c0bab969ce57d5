"""Columns of a report are kept between commands: the same answers, never those of another file."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analysis import Report, ReportError, cache, kernels
from analysis.source import column_cache
from analysis.source.column_cache import Column, ColumnCache, cache_folder, kept_reports, prune
from analysis.source.database import Database
from analysis.source.opening import FileState
from tests.made.reports.build_report import Kernel, Range, make_report
from tests.made.tools.shared import ROOT


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the columns of reports of any size in a folder of this test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(column_cache.VARIABLE, column_cache.ALL)
    monkeypatch.setattr(column_cache, "SETTLED_NS", 0)
    return cache_folder()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return named(tmp_path / "r.sqlite", "gemm")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queries that are read from files from now on."""
    asked: list[str] = []
    read = Database._read

    def noting(self: Database, sql: str, *rest: object) -> dict[str, Column]:
        asked.append(sql)
        return read(self, sql, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Database, "_read", noting)
    return asked


def named(path: Path, name: str) -> Path:
    """Return a report of one kernel."""
    ranges = [Range("forward", 0, 9), Range("\u202eodd \U0001f600", 10, 12)]
    return make_report(path, kernels=[Kernel(name, 20, 30, launch=5)], ranges=ranges)


def answers(path: Path) -> list[object]:
    """Return some answers of a report."""
    with Report(path) as report:
        return [
            each.to_csv()
            for each in (report.kernels(), report.ranges(), report.ranges(instances=True))
        ]


def test_the_second_command_reads_nothing_of_the_file(path: Path, reads: list[str]) -> None:
    first = answers(path)
    assert reads
    reads.clear()
    assert answers(path) == first
    assert reads == []


def test_nothing_is_kept_where_it_is_off_or_the_report_is_small(
    path: Path, kept: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for asked in (column_cache.OFF, ""):
        monkeypatch.setenv(column_cache.VARIABLE, asked)
        answers(path)
    assert not kept.exists()
    monkeypatch.setattr(column_cache, "LARGE_BYTES", path.stat().st_size)
    answers(path)
    reads.clear()
    answers(path)
    assert reads == []


def test_what_is_no_choice_is_one_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(column_cache.VARIABLE, "of")
    with pytest.raises(ReportError, match="SPANLIGHT_CACHE: 'of' is no choice; give off or all"):
        Report(path)


def test_a_file_of_the_same_size_in_its_place_is_read_anew(path: Path, tmp_path: Path) -> None:
    answers(path)
    other = named(tmp_path / "other.sqlite", "relu")
    assert other.stat().st_size == path.stat().st_size
    before = path.stat()
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    with Report(path) as report:
        assert report.kernels()["name"].tolist() == ["relu"]
    # Of what it was before nothing is kept any more.
    assert len(kept_reports()) == 1


def test_a_file_changed_in_place_is_read_anew(path: Path, tmp_path: Path) -> None:
    answers(path)
    content = named(tmp_path / "other.sqlite", "relu").read_bytes()
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with Report(path) as report:
        assert report.kernels()["name"].tolist() == ["relu"]


def test_a_file_that_was_just_written_is_not_kept(
    path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(column_cache, "SETTLED_NS", 3600 * 10**9)
    answers(path)
    assert not kept.exists()


@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "swapped"])
def test_a_damaged_file_is_read_anew(damage: str, path: Path, kept: Path) -> None:
    first = answers(path)
    files = sorted(kept.glob("*/*.arrow"))
    assert len(files) > 5
    contents = [each.read_bytes() for each in files]
    for number, (file, content) in enumerate(zip(files, contents, strict=True)):
        new = {
            "cut": content[: len(content) // 2],
            "empty": b"",
            "noise": random.Random(number).randbytes(len(content)),
            "swapped": contents[number - 1],
        }[damage]
        draft = file.with_suffix(".new")
        draft.write_bytes(new)
        draft.replace(file)
    assert answers(path) == first


def test_others_may_not_look_into_it(path: Path, kept: Path) -> None:
    answers(path)
    for folder in (kept, *kept.iterdir()):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_written_is_one_note(
    path: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept.parent.parent.mkdir(parents=True)
    kept.parent.write_text("a file")
    assert kernels.main([str(path), "--format", "csv"]) == 0
    said = capsys.readouterr()
    assert said.out.count("\n") == 2
    (line,) = said.err.splitlines()
    assert line.startswith(f"note: columns are not kept in {kept} (")
    assert line.endswith("; SPANLIGHT_CACHE=off")


def test_what_others_can_write_is_not_trusted(
    path: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept.mkdir(parents=True)
    kept.chmod(0o777)
    answers(path)
    assert "others may write there" in capsys.readouterr().err
    assert list(kept.iterdir()) == []


def test_what_was_not_used_for_longest_goes(tmp_path: Path) -> None:
    paths = [named(tmp_path / f"{number}.sqlite", "gemm") for number in range(4)]
    for number, each in enumerate(paths):
        answers(each)
        os.utime(kept_reports()[0].folder, (number, number))
    sizes = {each.report: each.bytes for each in kept_reports()}
    answers(paths[0])  # which is used now
    prune(sum(sizes.values()) - 1)
    assert {each.report for each in kept_reports()} == {
        str(each) for each in (paths[0], paths[2], paths[3])
    }
    prune(0)
    assert kept_reports() == []


def test_what_is_mapped_stays_when_it_is_thrown_away(path: Path) -> None:
    answers(path)
    with Report(path) as report:
        found = report.kernels()["name"]
        column_cache.clear()
        assert found.tolist() == ["gemm"]
        assert report.ranges()["instances"].tolist() == [1, 1]


def test_the_command_lists_and_clears(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers(path)
    assert cache.main(["--format", "csv"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head == "report,bytes,used"
    assert row.startswith(f"{path},")
    assert cache.main(["--clear"]) == 0
    assert "1 report" in capsys.readouterr().err
    assert cache.main(["--format", "csv"]) == 0
    assert capsys.readouterr().out == f"{head}\n"


@pytest.mark.parametrize("mapped_bytes", [0, 1 << 40])
@pytest.mark.parametrize(
    "column",
    [
        Column(np.array([], np.int64)),
        Column(np.array([3, -(2**63), 2**63 - 1])),
        Column(np.array([1, 0, 1]), ["", "a\0b \ufffd\u2028"]),
        Column(np.array([], np.int64), []),
    ],
)
def test_a_column_comes_back_as_it_was(
    column: Column, mapped_bytes: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(column_cache, "MAPPED_BYTES", mapped_bytes)
    kept = ColumnCache.of(path, FileState.of(path), 1, 0)
    assert kept is not None
    assert kept.get("q") is None
    put = kept.put("q", {"c": column})
    kept.close()
    for found in (put, kept.get("q")):
        assert found is not None
        assert found["c"].numbers.tolist() == column.numbers.tolist()
        assert found["c"].texts == column.texts


KILLED = """
import sys
from analysis import kernels, ranges
from analysis.ranges import __main__ as ranges
print("go", flush=True)
while True:
    kernels.main([sys.argv[1], "--format", "csv", "--output", sys.argv[2]])
    ranges.main([sys.argv[1], "--format", "csv", "--output", sys.argv[2]])
    from analysis.source import column_cache
    column_cache.clear()
"""


@pytest.mark.slow
def test_processes_that_write_at_the_same_time_and_are_killed_leave_right_answers(
    path: Path, tmp_path: Path
) -> None:
    first = answers(path)
    luck = random.Random(7)
    for _ in range(3):
        started = [
            subprocess.Popen(
                [sys.executable, "-c", KILLED, str(path), str(tmp_path / f"{number}.csv")],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            for number in range(2)
        ]
        for each in started:
            assert each.stdout is not None
            each.stdout.readline()
        time.sleep(luck.random() / 2)
        for each in started:
            each.send_signal(signal.SIGKILL)
            each.communicate()
        assert answers(path) == first


def counted(function: Callable[[], object]) -> int:
    """Return how many files a call leaves in the folder."""
    function()
    return len(list(cache_folder().glob("*/.*")))


def test_a_failed_write_leaves_no_draft(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Path, "replace", lambda self, target: (_ for _ in ()).throw(OSError(28, "x"))
    )
    assert counted(lambda: answers(path)) == 0
