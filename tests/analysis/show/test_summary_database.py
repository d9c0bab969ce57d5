"""A database of answers: several reports and options in it, and nothing of anybody's lost."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import sqlite_utils

from analysis import __main__ as page
from analysis import kernels, phases
from analysis.compare import __main__ as compare
from analysis.nvidia import __main__ as nvidia
from analysis.show import cli
from analysis.show.output import add_to_database
from analysis.show.table import Column, Table
from tests.made.commands.commands import a_report, contents

NEWER = ("id", "added")
"""Columns that tables of spanlight 0.3 do not have."""


def counted(database: Path, table: str, mark: str = "report") -> dict[tuple[str, str], int]:
    """Return how many rows of a table there are by the name of the report and the options."""
    sql = f"SELECT {mark}, options, count(*) FROM {table} GROUP BY 1, 2"
    with closing(sqlite3.connect(database)) as connection:
        return {(Path(path).name, how): rows for path, how, rows in connection.execute(sql)}


def add(command: ModuleType, out: Path, *words: str | Path) -> int:
    """Add what a command answers to a database; return its exit status."""
    arguments = [*map(str, words), "--format", "sqlite", "--output", str(out)]
    return cli.run(lambda: int(command.main(arguments)))


def test_several_reports_and_options_live_in_one_database(tmp_path: Path) -> None:
    one, two = (a_report(tmp_path / name) for name in ("one.sqlite", "two.sqlite"))
    out = tmp_path / "summary.db"
    for words in ([one], [one, "--by", "category"], [two], [two, "--top", "1"], [one]):
        assert add(kernels, out, *words) == 0
    assert counted(out, "kernels") == {
        ("one.sqlite", ""): 3,
        ("one.sqlite", "--by category"): 3,
        ("two.sqlite", ""): 3,
        ("two.sqlite", "--top 1"): 1,
    }


def test_options_that_change_nothing_and_other_names_of_a_file_make_no_other_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = a_report(tmp_path / "r.sqlite"), tmp_path / "summary.db"
    (tmp_path / "link.sqlite").symlink_to(path)
    monkeypatch.chdir(tmp_path)
    for words in ([path], ["r.sqlite", "--by", "name"], ["link.sqlite"], ["./r.sqlite"]):
        assert add(kernels, out, *words) == 0
    assert counted(out, "kernels") == {("r.sqlite", ""): 3}


def test_the_arguments_of_nvidias_reports_are_options(tmp_path: Path) -> None:
    path, out = a_report(tmp_path / "r.sqlite"), tmp_path / "summary.db"
    for words in ([], ["--report", "cuda_gpu_kern_sum"], ["--report", "gpukernsum:base"]):
        assert add(nvidia, out, path, *words) == 0
    assert list(counted(out, "nvidia_cuda_gpu_kern_sum")) == [
        ("r.sqlite", ""),
        ("r.sqlite", "--report cuda_gpu_kern_sum:base"),
    ]


def test_a_comparison_is_of_both_its_reports(tmp_path: Path) -> None:
    one, two = (a_report(tmp_path / name) for name in ("one.sqlite", "two.sqlite"))
    out = tmp_path / "summary.db"
    for pair in ((one, two), (two, one), (one, two)):
        assert add(compare, out, *pair) == 0
    with closing(sqlite3.connect(out)) as connection:
        found = connection.execute("SELECT DISTINCT report FROM compare ORDER BY 1").fetchall()
    assert found == [(f"{one} + {two}",), (f"{two} + {one}",)]


@pytest.mark.parametrize("ddl", ["name TEXT", "report TEXT, options TEXT, name TEXT, extra TEXT"])
def test_a_table_that_is_not_ours_stays_and_another_name_helps(
    ddl: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = a_report(tmp_path / "r.sqlite"), tmp_path / "summary.db"
    with closing(sqlite3.connect(out)) as connection:
        connection.execute(f"CREATE TABLE Kernels ({ddl})")
        connection.execute("INSERT INTO kernels (name) VALUES ('mine')")
        connection.commit()
    before = contents(tmp_path)
    assert add(kernels, out, path) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {out}: a table there is called 'kernels' and is of another")
    assert said.endswith("; name another file, or another table with --table NAME\n")
    assert said.count("\n") == 1
    assert contents(tmp_path) == before
    assert add(kernels, out, path, "--table", "gpu kernels") == 0
    assert counted(out, '"gpu kernels"') == {("r.sqlite", ""): 3}
    with closing(sqlite3.connect(out)) as connection:
        assert connection.execute("SELECT name FROM kernels").fetchall() == [("mine",)]


def test_the_page_takes_no_table_of_a_command(tmp_path: Path) -> None:
    path, out = a_report(tmp_path / "r.sqlite"), tmp_path / "summary.db"
    for command in (phases, page, phases):
        assert add(command, out, path) == 0
    assert add(page, out, path, "--table", "mine") == 0
    with closing(sqlite3.connect(out)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    assert {"phases", "page_phases", "mine_phases", "mine_run", "page_run"} <= names


def test_every_table_has_a_primary_key_and_refers_to_the_runs(tmp_path: Path) -> None:
    one, two = (a_report(tmp_path / name) for name in ("one.sqlite", "two.sqlite"))
    out, both = tmp_path / "summary.db", [one, two]
    for command, reports in ((page, [one]), (kernels, [two]), (nvidia, [one]), (compare, both)):
        assert add(command, out, *reports) == 0
    database = sqlite_utils.Database(out)
    names = set(database.table_names())
    assert {"runs", "kernels", "compare", "page_run", "nvidia_cuda_gpu_kern_sum"} <= names
    assert database.table("runs").pks == ["report"]
    for name in names - {"runs"}:
        table = database.table(name)
        assert table.pks == ["id"]
        referring = {"report", *(("before", "after") if name == "compare" else ())}
        assert {(key.column, key.other_table, key.other_column) for key in table.foreign_keys} == {
            (column, "runs", "report") for column in referring
        }
        assert {"report", "options", "added"} <= table.columns_dict.keys()
        assert [index.columns for index in table.indexes] == [["report", "options"]]
    assert not list(database.query("PRAGMA foreign_key_check"))
    pair = f"{one} + {two}"
    assert {row["report"]: row["name"] for row in database.table("runs").rows} == {
        str(one): "one.sqlite",
        str(two): "two.sqlite",
        pair: "one.sqlite + two.sqlite",
    }
    rows = database.table("compare").rows
    assert {(row["report"], row["before"], row["after"]) for row in rows} == {
        (pair, str(one), str(two))
    }
    database.close()


def test_an_answer_says_when_it_was_added_and_a_run_when_first(tmp_path: Path) -> None:
    path, out = a_report(tmp_path / "r.sqlite"), tmp_path / "summary.db"
    began = datetime.now(UTC) - timedelta(seconds=1)
    assert add(kernels, out, path) == 0
    database = sqlite_utils.Database(out)
    (added,) = {row["added"] for row in database.table("kernels").rows}
    assert began <= datetime.fromisoformat(added) <= datetime.now(UTC)
    earlier = "2026-01-02T03:04:05+00:00"
    for table in ("kernels", "runs"):
        database.execute(f"UPDATE {table} SET added = ?", [earlier])
    database.conn.commit()
    assert add(kernels, out, path) == 0
    assert add(kernels, out, path, "--top", "1") == 0
    rows = list(database.table("kernels").rows)
    assert (len(rows), all(row["added"] >= added for row in rows)) == (4, True)
    assert [row["added"] for row in database.table("runs").rows] == [earlier]
    database.close()


def test_columns_of_an_answer_that_are_called_like_ours_stay_beside_them(tmp_path: Path) -> None:
    out = tmp_path / "summary.db"
    own: dict[str, Column] = {
        "ID": np.array([7]),
        "report": ["a"],
        "Options": ["b"],
        "added": ["c"],
    }
    for _ in range(2):
        add_to_database([Table("t", own)], out, tmp_path / "r.sqlite", options="-x")
    database = sqlite_utils.Database(out)
    (row,) = database.table("t").rows
    assert (row["row"], row["reports"], row["asked"]) == (1, str(tmp_path / "r.sqlite"), "-x")
    assert (row["ID"], row["report"], row["Options"], row["added"]) == (7, "a", "b", "c")
    assert database.table("t").pks == ["row"]
    database.close()


def test_a_database_of_an_older_version_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = a_report(tmp_path / "r.sqlite"), tmp_path / "summary.db"
    assert add(kernels, out, path) == 0
    database = sqlite_utils.Database(out)
    columns = [each for each in database.table("kernels").columns_dict if each not in NEWER]
    listed = ", ".join(f'"{name}"' for name in columns)
    database.execute(f"CREATE TABLE older AS SELECT {listed} FROM kernels")
    for table in ("kernels", "runs"):
        database.execute(f"DROP TABLE {table}")
    database.execute("ALTER TABLE older RENAME TO kernels")
    database.conn.commit()
    database.close()
    before = contents(tmp_path)
    capsys.readouterr()
    assert add(kernels, out, path) == 1
    assert capsys.readouterr().err == (
        f"error: {out}: a table there is called 'kernels' and is of spanlight 0.3 or older "
        "(it lacks id, added); name another file, or another table with --table NAME\n"
    )
    assert contents(tmp_path) == before
    assert add(phases, out, path) == 0


def test_a_table_of_somebody_elses_that_is_called_runs_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = a_report(tmp_path / "r.sqlite"), tmp_path / "summary.db"
    with closing(sqlite3.connect(out)) as connection:
        connection.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY, seed INTEGER)")
        connection.commit()
    before = contents(tmp_path)
    assert add(kernels, out, path) == 1
    assert capsys.readouterr().err == (
        f"error: {out}: a table there is called 'runs' and is of another kind (it lacks report, "
        "name, added; it also has id, seed); name another file\n"
    )
    assert contents(tmp_path) == before


def test_the_table_of_the_runs_is_nobody_elses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = a_report(tmp_path / "r.sqlite"), tmp_path / "summary.db"
    with pytest.raises(SystemExit) as ended:
        add(kernels, out, path, "--table", "Runs")
    assert ended.value.code == 2
    assert "--table Runs is the table of the reports themselves" in capsys.readouterr().err
    assert not out.exists()
