"""A database of answers: several reports and options in it, and nothing of anybody's lost."""

import sqlite3
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from analysis import __main__ as page
from analysis import kernels, phases
from analysis.compare import __main__ as compare
from analysis.nvidia import __main__ as nvidia
from analysis.show import cli
from tests.made.commands.commands import a_report, contents


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
    assert list(counted(out, "cuda_gpu_kern_sum")) == [
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
    assert {"phases", "page_phases", "mine_phases", "mine_run"} <= names
