"""A report that is written while it is read gets no answer: it would be half of each."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from analysis import Report, ReportError
from analysis.source.database import Database
from tests.made.commands.in_process import run_command
from tests.made.reports.build_report import Kernel, Range, make_report


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("before", 10, 20, launch=1)],
        ranges=[Range("step", 0, 9)],
    )


def replaced(path: Path) -> None:
    """Put another report in the place of one, as an exporter that writes beside it does."""
    other = path.with_name("other")
    shutil.copy(path, other)
    os.replace(other, path)


def changed(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute('UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET "end" = "end" + 1')
        connection.commit()


def removed(path: Path) -> None:
    path.unlink()


HOW = pytest.mark.parametrize("how", [replaced, changed, removed])
Change = Callable[[Path], None]


@HOW
@pytest.mark.parametrize("command", ["analysis", "analysis.ranges", "analysis.compare"])
@pytest.mark.parametrize("to_file", [False, True])
def test_there_is_no_answer(
    path: Path, how: Change, command: str, to_file: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Database._table
    done: list[bool] = []

    def read_and_change(self: Database, *given: object) -> object:
        columns = read(self, *given)  # type: ignore[arg-type]
        if "FROM CUPTI_ACTIVITY_KIND_KERNEL" in str(given[0]) and not done:
            how(path)
            done.append(True)
        return columns

    monkeypatch.setattr(Database, "_table", read_and_change)
    output = path.with_name("answer.txt")
    reports = [path] * (2 if command == "analysis.compare" else 1)
    ended = run_command(command, *reports, *(["--output", str(output)] if to_file else []))
    assert done
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert "while it was read; ask again" in line
    assert not output.exists()


@HOW
def test_a_further_connection_reads_no_other_file(path: Path, how: Change) -> None:
    report = Report(path)
    how(path)
    with pytest.raises(ReportError, match="while it was read"):
        report.check_unchanged()
    report.close()


def test_a_file_that_stays_as_it_is_can_be_read_however_often(path: Path) -> None:
    with Report(path) as report, Report(path) as other:
        path.read_bytes()
        assert report.kernels().equals(other.kernels())
