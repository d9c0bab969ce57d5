"""Files that are written: whole or not at all, and never a report."""

import json
import os
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from analysis import __main__ as page
from analysis import kernels
from analysis.__main__ import main as page_main
from analysis.compare import __main__ as compare
from analysis.show import cli
from analysis.show.errors import ReportError
from analysis.show.output import NSYS_MAGIC, add_to_database, replacing
from analysis.show.table import Table
from tests.made.commands.commands import a_report, contents, other_database


def test_output_goes_to_the_file_and_nothing_to_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_report(tmp_path / "r.sqlite")
    out = tmp_path / "kernels.csv"
    out.write_text("what was there before")
    out.chmod(0o640)
    assert kernels.main([str(path), "--format", "csv", "--output", str(out)]) == 0
    assert capsys.readouterr().out == ""
    assert out.read_text().startswith("name,category,calls")
    assert out.stat().st_mode & 0o777 == 0o640
    assert sorted(each.name for each in tmp_path.iterdir()) == ["kernels.csv", "r.sqlite"]


def test_output_through_a_link_writes_what_the_link_names(tmp_path: Path) -> None:
    path = a_report(tmp_path / "r.sqlite")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    assert kernels.main([str(path), "--format", "csv", "--output", str(tmp_path / "link.csv")]) == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().startswith("name,")


@pytest.mark.parametrize("form", ["csv", "sqlite"])
def test_the_report_itself_is_never_written_to(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_report(tmp_path / "r.sqlite")
    (tmp_path / "alias.sqlite").hardlink_to(path)
    (tmp_path / "link.sqlite").symlink_to(path)
    before = contents(tmp_path)
    for name in ("r.sqlite", "alias.sqlite", "link.sqlite"):
        options = [str(path), "--format", form, "--output", str(tmp_path / name)]
        assert cli.run(lambda: kernels.main(options)) == 1  # noqa: B023  (called at once)
        assert capsys.readouterr().err == (
            f"error: {tmp_path / name}: this is the report itself; choose another --output\n"
        )
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("no/such/folder.csv", "cannot be written (no such file or directory)"),
        (".", "a directory"),
        ("r.sqlite/x.csv", "cannot be written (not a directory)"),
        ("x" * 300, "cannot be written (file name too long)"),
    ],
)
def test_an_output_that_cannot_be_written_is_one_line(
    output: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_report(tmp_path / "r.sqlite")
    before = contents(tmp_path)
    options = [str(path), "--format", "csv", "--output", str(tmp_path / output)]
    assert cli.run(lambda: kernels.main(options)) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert reason in said.err
    assert contents(tmp_path) == before


@pytest.mark.parametrize("form", ["csv", "sqlite"])
def test_an_output_that_is_a_circle_of_links_is_refused(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_report(tmp_path / "r.sqlite")
    for name, other in (("a", "b"), ("b", "a"), ("self", "self")):
        (tmp_path / name).symlink_to(tmp_path / other)
    for name in ("a", "self", "a/x"):
        options = [str(path), "--format", form, "--output", str(tmp_path / name)]
        assert cli.run(lambda: kernels.main(options)) == 1  # noqa: B023  (called at once)
        said = capsys.readouterr().err
        assert said.startswith(f"error: {tmp_path / name}: ")
        assert said.endswith("; choose another --output\n")
        assert said.count("\n") == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "b", "r.sqlite", "self"]


@pytest.mark.parametrize("checkpointed", [True, False])
def test_a_look_at_a_database_with_a_log_makes_no_file_beside_it(
    checkpointed: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_report(tmp_path / "r.sqlite")
    other = tmp_path / "other" / "other.sqlite"
    other.parent.mkdir()
    with closing(sqlite3.connect(tmp_path / "live.sqlite")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE StringIds (id INTEGER, value TEXT)")
        connection.commit()
        if checkpointed:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for end in ("", "-wal"):  # as someone copied it: without the -shm
            copy = other.with_name(other.name + end)
            copy.write_bytes((tmp_path / f"live.sqlite{end}").read_bytes())
    before = contents(other.parent)
    assert len(before) == 2
    options = [str(path), "--format", "csv", "--output", str(other)]
    assert cli.run(lambda: kernels.main(options)) == 1
    assert "another report, which is not written to" in capsys.readouterr().err
    assert contents(other.parent) == before


@pytest.mark.parametrize("which", ["before.sqlite", "after.sqlite"])
def test_neither_of_two_reports_is_written_to(
    which: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [a_report(tmp_path / name) for name in ("before.sqlite", "after.sqlite")]
    before = contents(tmp_path)
    options = [*map(str, paths), "--format", "csv", "--output", str(tmp_path / which)]
    assert cli.run(lambda: compare.main(options)) == 1
    assert f"{which}: this is the report itself" in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_a_full_disk_is_one_line() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with (
        pytest.raises(ReportError, match=r"/dev/full: cannot be written \(no space left"),
        replacing(full, Path("r.sqlite")) as draft,
    ):
        draft.write_text("x")


def rows_of(database: Path) -> list[tuple[object, ...]]:
    """Return the table that was added."""
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT name, calls, total_ns FROM kernels").fetchall()


def test_sqlite_adds_a_table_beside_others_and_replaces_its_own(tmp_path: Path) -> None:
    path = a_report(tmp_path / "r.sqlite")
    out = other_database(tmp_path).rename(tmp_path / "summary.db")
    for _ in range(2):
        assert kernels.main([str(path), "--format", "sqlite", "--output", str(out)]) == 0
    assert rows_of(out) == [
        ("sgemm", 1, 20),
        ("ncclDevKernel_AllReduce", 1, 10),
        ("softmax", 1, 10),
    ]
    with closing(sqlite3.connect(out)) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)
        (ddl,) = connection.execute("SELECT sql FROM sqlite_master WHERE name='kernels'").fetchone()
    assert '"total_ns" INTEGER' in ddl
    assert '"mean_ns" REAL' in ddl


@pytest.mark.parametrize("form", ["table", "csv", "json", "markdown", "sqlite"])
@pytest.mark.parametrize("command", [kernels, page])
def test_another_report_is_never_written_to(
    command: ModuleType, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if command is page and form == "csv":
        return
    path, other = (a_report(tmp_path / name) for name in ("r.sqlite", "other.sqlite"))
    raw = tmp_path / "raw.nsys-rep"
    raw.write_bytes(NSYS_MAGIC + bytes(100))
    before = contents(tmp_path)
    for target in (other, raw):
        options = [str(path), "--format", form, "--output", str(target)]
        assert cli.run(lambda: int(command.main(options))) == 1  # noqa: B023  (called at once)
        assert capsys.readouterr().err == (
            f"error: {target}: another report, which is not written to; choose another --output\n"
        )
    assert contents(tmp_path) == before


def test_whole_numbers_of_which_some_are_not_known_stay_whole(tmp_path: Path) -> None:
    flops = np.array([7, np.nan], dtype=object)
    flops[0] = 7
    add_to_database([Table("t", {"flops": flops})], tmp_path / "new.db")
    with closing(sqlite3.connect(tmp_path / "new.db")) as connection:
        assert connection.execute("SELECT flops FROM t").fetchall() == [(7,), (None,)]
        (ddl,) = connection.execute("SELECT sql FROM sqlite_master").fetchone()
    assert '"flops" INTEGER' in ddl


def test_sqlite_makes_a_new_database_where_there_is_none(tmp_path: Path) -> None:
    path = a_report(tmp_path / "r.sqlite")
    out = tmp_path / "new.db"
    assert kernels.main([str(path), "--format", "sqlite", "--output", str(out)]) == 0
    assert len(rows_of(out)) == 3


def test_sqlite_does_not_touch_a_file_that_is_no_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_report(tmp_path / "r.sqlite")
    out = tmp_path / "notes.txt"
    out.write_text("not a database, and longer than a header of SQLite is, by some bytes" * 2)
    before = contents(tmp_path)
    options = [str(path), "--format", "sqlite", "--output", str(out)]
    assert cli.run(lambda: kernels.main(options)) == 1
    assert "notes.txt: not a database to add to" in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_a_database_that_is_open_elsewhere_with_its_log_gets_the_table_too(tmp_path: Path) -> None:
    path, out = a_report(tmp_path / "r.sqlite"), tmp_path / "summary.db"
    with closing(sqlite3.connect(out)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("CREATE TABLE users (name TEXT)")
        other.execute("INSERT INTO users VALUES ('only in the log yet')")
        other.commit()
        assert Path(f"{out}-wal").stat().st_size > 0
        assert kernels.main([str(path), "--format", "sqlite", "--output", str(out)]) == 0
        assert other.execute("SELECT count(*) FROM kernels").fetchone() == (3,)
        other.execute("INSERT INTO users VALUES ('later')")
        other.commit()
    assert len(rows_of(out)) == 3
    with closing(sqlite3.connect(out)) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (2,)


def test_a_database_that_another_is_writing_to_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = a_report(tmp_path / "r.sqlite"), tmp_path / "summary.db"
    connect = sqlite3.connect
    with closing(connect(out)) as other:
        other.execute("CREATE TABLE kernels (name TEXT)")
        other.commit()
        other.execute("INSERT INTO kernels VALUES ('mine')")
        monkeypatch.setattr(sqlite3, "connect", partial(connect, timeout=0))
        options = [str(path), "--format", "sqlite", "--output", str(out)]
        assert cli.run(lambda: kernels.main(options)) == 1
        other.commit()
        assert other.execute("SELECT * FROM kernels").fetchall() == [("mine",)]
    assert "summary.db: cannot be written (database is locked)" in capsys.readouterr().err


def test_a_view_of_the_same_name_is_one_line_and_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_report(tmp_path / "r.sqlite")
    out = other_database(tmp_path).rename(tmp_path / "summary.db")
    with closing(sqlite3.connect(out)) as connection:
        connection.execute("CREATE VIEW Kernels AS SELECT * FROM users")
    before = contents(tmp_path)
    options = [str(path), "--format", "sqlite", "--output", str(out)]
    assert cli.run(lambda: kernels.main(options)) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "a view there is called 'kernels'" in said
    assert contents(tmp_path) == before


def test_of_several_tables_all_are_added_or_none(tmp_path: Path) -> None:
    out = other_database(tmp_path)
    with closing(sqlite3.connect(out)) as connection:
        connection.execute("CREATE VIEW second AS SELECT * FROM users")
    before = contents(tmp_path)
    tables = [Table(name, {"calls": np.array([1])}) for name in ("first", "second")]
    with pytest.raises(ReportError, match="a view there is called 'second'"):
        add_to_database(tables, out)
    assert contents(tmp_path) == before


def test_a_new_database_that_cannot_be_completed_does_not_appear(tmp_path: Path) -> None:
    twice = Table("t", {"calls": np.array([1]), "Calls": np.array([1])})
    with pytest.raises(ReportError, match="duplicate column"):
        add_to_database([twice], tmp_path / "new.db")
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_null_in_a_database(tmp_path: Path) -> None:
    add_to_database([Table("t", {"flops": np.array([np.nan, 2.0])})], tmp_path / "new.db")
    with closing(sqlite3.connect(tmp_path / "new.db")) as connection:
        assert connection.execute("SELECT flops FROM t").fetchall() == [(None,), (2.0,)]


@pytest.mark.parametrize("form", ["table", "json", "markdown", "sqlite"])
def test_a_report_whose_name_is_no_text_can_be_written_about(form: str, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xff.sqlite"))
    out = tmp_path / "page"
    assert page_main([str(a_report(path)), "--format", form, "--output", str(out)]) == 0
    if form == "json":
        assert json.loads(out.read_text())["about"][0].startswith("r\udcff.sqlite")
    elif form == "sqlite":
        with closing(sqlite3.connect(out)) as connection:
            (said,) = connection.execute("SELECT value FROM page_run LIMIT 1").fetchone()
        assert said.startswith("r\\udcff.sqlite")
    else:
        assert "r\\udcff.sqlite" in out.read_text()


@pytest.mark.parametrize("there", [False, True])
def test_a_table_that_sqlite_keeps_for_itself_is_refused_by_its_name(
    there: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.db"
    words = [str(a_report(tmp_path / "r.sqlite")), "--format", "sqlite", "--output", str(out)]
    if there:
        assert cli.run(lambda: kernels.main(words)) == 0
    before = out.read_bytes() if there else None
    capsys.readouterr()
    assert cli.run(lambda: kernels.main([*words, "--table", "SQLite_x"])) == 1
    assert capsys.readouterr().err == (
        f"error: {out}: no table can be called 'SQLite_x': SQLite keeps names in sqlite_ for "
        "itself; choose another --table\n"
    )
    assert (out.read_bytes() if out.exists() else None) == before
