"""The file that `analysis.trim` writes: which tables, how large, and what happens to others."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from analysis import Report
from analysis.show import cli
from analysis.trim import __main__ as trim
from analysis.trim import copy
from tests.analysis.trim.test_trim import kernels, rows, three_steps, trimmed
from tests.made.commands.commands import CANNOT_BE_READ, contents
from tests.made.reports.build_report import Kernel, Range, make_report


def run(path: Path, *arguments: str, output: str = "small.sqlite") -> int:
    """Return the exit status of the command."""
    given = [str(path), "--output", str(path.parent / output), *arguments]
    return cli.run(lambda: trim.main(given))


def change(path: Path, *statements: str) -> Path:
    """Change a report."""
    with closing(sqlite3.connect(path)) as connection:
        for sql in statements:
            connection.execute(sql)
        connection.commit()
    return path


def many_steps(path: Path, count: int) -> Path:
    """Write steps of 200 kernels each."""
    spans = [Range("step", 1000 * step, 1000 * step + 900) for step in range(count)]
    given = [
        Kernel(f"k{step}", 1000 * step + at, 1000 * step + at + 1, launch=1000 * step + at)
        for step in range(count)
        for at in range(200)
    ]
    return make_report(path, kernels=given, ranges=spans)


def test_every_table_keeps_its_columns_and_types(tmp_path: Path) -> None:
    path = change(
        three_steps(tmp_path / "r.sqlite"),
        'CREATE TABLE empty (a TEXT, "b c" BLOB NOT NULL)',
        "CREATE TABLE keyed (k TEXT PRIMARY KEY, v) WITHOUT ROWID",
        "INSERT INTO keyed VALUES ('a', 77)",
        "CREATE TABLE SCHED_EVENTS (start INTEGER NOT NULL, cpu INTEGER, globalTid INTEGER)",
        "INSERT INTO SCHED_EVENTS VALUES (150, 0, 1677721700), (250, 1, 1677721700)",
        'CREATE TABLE unheard_of (start INTEGER, "end" INTEGER, word INTEGER)',
        "INSERT INTO unheard_of VALUES (150, 250, 9001), (10, 20, 9002), (300, 310, 9003)",
        "INSERT INTO StringIds VALUES (9001, 'kept'), (9002, 'gone'), (9003, 'gone')",
        "CREATE INDEX by_start ON SCHED_EVENTS (start)",
        "CREATE VIEW calls AS SELECT * FROM CUPTI_ACTIVITY_KIND_RUNTIME",
    )
    small = trimmed(path, "--steps", "1:2")
    sql = "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
    own = [row for row in rows(small, sql) if row[1] != "TOOLKIT_RUN"]
    assert own == rows(path, sql)
    assert rows(small, "SELECT * FROM keyed") == [("a", 77)]
    assert rows(small, "SELECT start FROM SCHED_EVENTS") == [(250,)]
    assert rows(small, "SELECT word FROM unheard_of") == [(9001,)]
    found = {word for (word,) in rows(small, "SELECT value FROM StringIds")}
    assert "kept" in found
    assert not found & {"gone", "warm", "c"}


def test_strings_that_are_no_utf8_and_names_that_are_sql_stay_as_they_are(tmp_path: Path) -> None:
    names: list[str | bytes] = [
        b"not UTF-8: \xff\xfe",
        "'; DROP TABLE x; --",
        "\x1b[31mred",
        "two\nlines",
    ]
    spans = [Range("step", 0, 100), Range(names[0], 1, 90), Range(names[3], 2, 80, registered=True)]
    given = [Kernel(name, 50, 60, launch=at) for at, name in enumerate(names, 5)]
    path = make_report(tmp_path / "r.sqlite", kernels=given, ranges=spans)
    change(path, 'CREATE TABLE "a ""b"" [c]; --" ("x ""y""" INTEGER)')
    small = trimmed(path)
    for sql in (
        "SELECT cast(value AS blob) FROM StringIds ORDER BY id",
        "SELECT cast(text AS blob), textId FROM NVTX_EVENTS ORDER BY rowid",
        "SELECT name FROM sqlite_master WHERE name LIKE 'a %'",
    ):
        assert rows(small, sql) == rows(path, sql)


def test_call_stacks_are_kept_where_their_events_are(tmp_path: Path) -> None:
    path = change(
        three_steps(tmp_path / "r.sqlite"),
        "CREATE TABLE COMPOSITE_EVENTS (id INTEGER NOT NULL PRIMARY KEY, start INTEGER)",
        "INSERT INTO COMPOSITE_EVENTS VALUES (1, 150), (2, 250)",
        "CREATE TABLE SAMPLING_CALLCHAINS (id INTEGER NOT NULL, symbol INTEGER NOT NULL, "
        "stackDepth INTEGER NOT NULL, PRIMARY KEY (id, stackDepth))",
        "INSERT INTO SAMPLING_CALLCHAINS VALUES (1, 9001, 0), (2, 9002, 0), (2, 9003, 1)",
        "INSERT INTO StringIds VALUES (9001, 'other'), (9002, 'inner'), (9003, 'outer')",
    )
    small = trimmed(path, "--steps", "1:2")
    assert rows(small, "SELECT symbol FROM SAMPLING_CALLCHAINS") == [(9002,), (9003,)]
    assert rows(small, "SELECT value FROM StringIds WHERE id > 9000") == [("inner",), ("outer",)]


def test_the_file_says_that_it_was_trimmed_each_time(tmp_path: Path) -> None:
    path = three_steps(tmp_path / "r.sqlite", run={"size": "tiny"})
    once = trimmed(path, "--steps", "1:")
    twice = trimmed(once, "--steps", "0:1")
    with Report(once) as report:
        assert report.run["size"] == "tiny"
        assert report.run["trimmed_from"] == "r.sqlite"
        assert report.run["trimmed"].startswith("steps 1 to 2 of 3, counted from 0; ")
        assert (
            report.run["trimmed_window_ns"]
            == "200 to 300 in process 100, 310 to 400 in process 100"
        )
        assert "CUPTI_ACTIVITY_KIND_KERNEL 4 of 8" in report.run["trimmed_rows"]
    with Report(twice) as report:
        assert report.run["trimmed"].startswith("step 0 of 2, counted from 0; ")
        assert "; before that: steps 1 to 2 of 3" in report.run["trimmed"]
        assert report.run["trimmed_from"] == f"{once.name}; before that: r.sqlite"


@pytest.mark.parametrize("limit", [60_000, 80_000, 150_000])
def test_as_many_steps_as_fit_are_kept(
    limit: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = many_steps(tmp_path / "r.sqlite", 12)
    small = trimmed(path, "--max-size", f"{limit}B")
    fits = len(kernels(small)) // 200
    assert f"{fits} of 12 steps fit into" in capsys.readouterr().err
    assert small.stat().st_size <= limit
    assert kernels(small)[0] == f"k{12 - fits}"
    assert trimmed(path, "--steps", f"{12 - fits - 1}:").stat().st_size > limit


def test_steps_that_all_fit_are_all_kept(tmp_path: Path) -> None:
    path = many_steps(tmp_path / "r.sqlite", 3)
    assert len(kernels(trimmed(path, "--max-size", "2MB"))) == 600
    assert len(kernels(trimmed(path, "--max-size", "2MB", "--steps", "1:2"))) == 200


def test_a_size_that_not_even_one_step_fits_into_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = many_steps(tmp_path / "r.sqlite", 3)
    before = contents(tmp_path)
    assert run(path, "--max-size", "10KB") == 1
    said = capsys.readouterr().err
    assert said.startswith(
        f"error: {path}: step 2 of 3, counted from 0 does not fit into 0.01 MB; "
    )
    assert said.count("\n") == 1
    assert contents(tmp_path) == before


def test_a_file_that_is_there_is_only_replaced_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = three_steps(tmp_path / "r.sqlite")
    (tmp_path / "small.sqlite").write_text("precious")
    assert run(path) == 1
    assert "exists; name another file, or give --overwrite" in capsys.readouterr().err
    assert (tmp_path / "small.sqlite").read_text() == "precious"
    assert run(path, "--overwrite") == 0
    assert kernels(tmp_path / "small.sqlite") == ["c"]


@pytest.mark.parametrize("output", ["r.sqlite", "link.sqlite", "hard.sqlite"])
def test_the_report_itself_is_never_written(
    output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = three_steps(tmp_path / "r.sqlite")
    (tmp_path / "link.sqlite").symlink_to(path)
    (tmp_path / "hard.sqlite").hardlink_to(path)
    before = contents(tmp_path)
    assert run(path, "--overwrite", output=output) == 1
    assert "this is the report itself" in capsys.readouterr().err
    assert contents(tmp_path) == before


@pytest.mark.parametrize("output", ["no/small.sqlite", "folder"])
def test_what_cannot_be_written_is_one_line(
    output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = three_steps(tmp_path / "r.sqlite")
    (tmp_path / "folder").mkdir()
    assert run(path, output=output) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = three_steps(tmp_path / "r.sqlite")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(copy, "disk_folder", lambda: tmp_path / "temporary")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(copy, "note_trimming", interrupted)
    before = contents(tmp_path)
    assert run(path) == 130
    assert contents(tmp_path) == before


def test_a_report_that_is_being_written_is_read_with_its_log(tmp_path: Path) -> None:
    path = three_steps(tmp_path / "r.sqlite")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("UPDATE StringIds SET value = 'renamed' WHERE value = 'c'")
        connection.commit()
        assert kernels(trimmed(path)) == ["renamed"]


def test_a_report_in_pieces_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = many_steps(tmp_path / "r.sqlite", 3)
    whole = trimmed(path, "--steps", "1:").read_bytes()
    monkeypatch.setattr(copy, "PIECE_ROWS", 7)
    assert trimmed(path, "--steps", "1:").read_bytes() == whole


def test_no_steps_is_the_line_of_the_other_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "r.sqlite", ranges=[Range("f", 0, 9)], kernels=[Kernel("k", 5, 6, launch=1)]
    )
    for arguments, expected in (
        (["--steps", "0:1"], "no step ranges in this report; leave --steps out"),
        ([], "no step ranges in this report; name a range with --within RANGE, or a time with"),
        (["--within", "g"], "no NVTX range is called 'g'; list them with: "),
        (["--within", "f", "--instance", "1"], "no instance 1 of 'f': there are 1; "),
        (["--from-ns", "50"], "nothing was recorded in what was going on between 50 ns and "),
    ):
        assert run(path, *arguments) == 1
        assert expected in capsys.readouterr().err
    assert not (tmp_path / "small.sqlite").exists()
    assert run(path, "--to-ns", "2") == 0


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        ["r.sqlite"],
        ["r.sqlite", "--output", "s", "--steps", "x"],
        ["r.sqlite", "--output", "s", "--steps", "0:1", "--within", "f"],
        ["r.sqlite", "--output", "s", "--instance", "1"],
        ["r.sqlite", "--output", "s", "--from-ns", "9", "--to-ns", "9"],
        ["r.sqlite", "--output", "s", "--to-ns", "1.5"],
        ["r.sqlite", "--output", "s", "--max-size", "0"],
        ["r.sqlite", "--output", "s", "--max-size", "2 miles"],
        ["r.sqlite", "--output", "s", "--format", "csv"],
    ],
)
def test_wrong_usage_ends_with_2(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        trim.main(wrong)
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith("; see python -m analysis.trim --help\n")


@pytest.mark.parametrize("case", CANNOT_BE_READ)
def test_what_cannot_be_read_is_one_line_and_changes_nothing(
    case: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("NSYS", "/nowhere/nsys")
    make, expected = CANNOT_BE_READ[case]
    path, output = make(tmp_path), tmp_path_factory.mktemp("out") / "small.sqlite"
    before = contents(tmp_path)
    assert cli.run(lambda: trim.main([str(path), "--output", str(output)])) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"error: {path}: ")
    assert expected in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert contents(tmp_path) == before
    assert list(output.parent.iterdir()) == []
