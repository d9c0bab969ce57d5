import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from analysis import Report, ReportError
from analysis.recorded.device_work import device_work
from analysis.show.progress import Bar
from analysis.source import tables
from analysis.source.database import Database
from analysis.source.readers.sqlite_reader import SqliteReader
from tests.made.reports.build_report import Kernel, Range, make_report
from tests.made.tools import shared


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("mm", 10, 30, device=1, process=5), Kernel("add", 30, 35, process=6)],
        ranges=[Range("step", 0, 40)],
        gpus=["NVIDIA A100", "NVIDIA H100"],
        run={"size": "small", "steps": "3"},
    )


def test_a_report_says_what_it_has(small: Path) -> None:
    with Report(small) as report:
        assert report.has("NVTX_EVENTS")
        assert report.has("NVTX_EVENTS", "textId", "domainId")
        assert not report.has("NVTX_EVENTS", "binaryData")
        assert not report.has("CUPTI_ACTIVITY_KIND_MEMCPY")


def test_require_says_what_is_missing_and_what_to_do(small: Path) -> None:
    with Report(small) as report:
        report.require("NVTX_EVENTS", "text", remedy="")
        with pytest.raises(ReportError, match=r"r.sqlite: no MPI_EVENTS in .*; trace mpi$"):
            report.require("MPI_EVENTS", remedy="trace mpi")
        with pytest.raises(ReportError, match=r"NVTX_EVENTS has no column binaryData; update$"):
            report.require("NVTX_EVENTS", "binaryData", remedy="update")


def test_a_report_describes_its_run_and_its_machine(small: Path) -> None:
    with Report(small) as report:
        assert report.run == {"size": "small", "steps": "3"}
        assert report.recorder == "nsys 2023.4.4"
        assert [gpu.name for gpu in report.gpus] == ["NVIDIA A100", "NVIDIA H100"]
        assert report.gpus[1].memory_bytes == 80 << 30
        assert report.gpus[1].clock_hz == tables.MISSING
        assert report.duration_ns is None
        assert report.describe() == "r.sqlite · nsys 2023.4.4 · NVIDIA A100, NVIDIA H100"


def test_a_report_that_is_closed_says_so(small: Path) -> None:
    report = Report(small)
    report.close()
    report.close()
    with pytest.raises(ReportError, match=r"r\.sqlite: this report is closed; open it again"):
        report.kernels()


def test_a_report_has_a_name(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="an empty name, not a report"):
        Report("")


def test_a_name_of_several_lines_is_described_in_one(tmp_path: Path) -> None:
    path = make_report(tmp_path / "a\nb\u2028c.sqlite", kernels=[Kernel("mm", 0, 1)])
    with Report(path) as report:
        assert report.describe() == "a\\nb\\u2028c.sqlite · nsys 2023.4.4"


def test_the_device_is_the_one_that_was_used_not_all_that_there_are(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite", kernels=[Kernel("mm", 0, 1, device=1)], gpus=["A100", "H100"]
    )
    with Report(path) as report:
        assert report.device == "H100"


def test_numbers_come_as_integers_and_text_as_str(small: Path) -> None:
    with Report(small) as report:
        found = report.columns(
            "SELECT id, cast(value AS blob) AS value FROM StringIds ORDER BY id", text=("value",)
        )
    assert found["id"].tolist() == [1, 2]
    assert found["value"].tolist() == ["mm", "add"]


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        (None, "nothing (NULL)"),
        ("abc", "text"),
        (b"\0", "bytes"),
        (1.5, "a number with a fraction, or out of range"),
    ],
)
@pytest.mark.parametrize("row", [1, 3])
def test_a_number_that_is_none_is_refused_by_column_and_table(
    small: Path, cell: object, what: str, row: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.source.database.BATCH_ROWS", 2)  # row 3 comes in a later batch
    with closing(sqlite3.connect(small)) as connection:
        connection.execute("CREATE TABLE Counted (number INTEGER)")
        connection.executemany("INSERT INTO Counted VALUES (?)", [(n,) for n in range(4)])
        connection.execute("UPDATE Counted SET number = ? WHERE rowid = ?", (cell, row))
        connection.commit()
    said = f"number of Counted holds {what}, not a whole number"
    with Report(small) as report, pytest.raises(ReportError, match=re.escape(said)):
        report.columns("SELECT number AS x FROM Counted")


def test_the_columns_of_device_work_are_there_whatever_the_table_has(small: Path) -> None:
    with Report(small) as report:
        found = device_work(report)
    fields = ("start_ns", "end_ns", "device", "graph_node", "process")
    rows = zip(*(getattr(found, field).tolist() for field in fields), strict=True)
    assert (10, 30, 1, tables.MISSING, 5) in list(rows)


def test_many_strings_are_looked_up_in_pieces(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "IDS_A_QUERY", 2)
    with Report(small) as report:
        found = tables.strings(report, [1, 2, 99])
    assert found[1] == "mm"
    assert found[99] == "[no string 99]"
    assert len(found) == 3


def test_large_tables_are_read_in_pieces(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.source.database.BATCH_ROWS", 2)
    with closing(sqlite3.connect(small)) as connection:
        connection.executemany("INSERT INTO StringIds VALUES (?, ?)", [(n, "x") for n in (7, 8, 9)])
        connection.commit()
    with Report(small) as report:
        found = report.columns(
            "SELECT id, cast(value AS blob) AS v FROM StringIds ORDER BY id", text=("v",)
        )
    assert found["id"].tolist()[-3:] == [7, 8, 9]
    assert found["v"].tolist()[-3:] == ["x", "x", "x"]


def test_text_that_is_not_utf8_is_read_with_replacement_characters() -> None:
    with Report(shared.report("no-cuda-cp1251")) as report:
        assert any("\ufffd" in value for value in report.metadata.values())


@pytest.mark.parametrize("name", shared.WITH_KERNELS + shared.WITHOUT_KERNELS)
def test_every_version_of_the_schema_opens_and_describes_itself(name: str) -> None:
    with Report(shared.report(name)) as report:
        assert report.describe().startswith(f"{name}.sqlite · ")
        assert all(gpu.name for gpu in report.gpus)
        assert bool(tables.devices(report)) == (name in shared.WITH_KERNELS)


@pytest.mark.parametrize(
    ("name", "recorder"),
    [
        ("train-step-small-a100", "nsys 2026.3.1"),
        ("mpi-saxpy-2022.2", "nsys 2022.2.1"),
        ("no-meta-2021", "unknown recorder"),
    ],
)
def test_who_exported_it_is_known_under_both_names_of_the_table(name: str, recorder: str) -> None:
    with Report(shared.report(name)) as report:
        assert report.recorder == recorder


def test_opening_and_reading_leaves_the_folder_as_it_was(small: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in small.parent.iterdir()}
    with Report(small) as report:
        report.kernels()
    assert {path: path.stat().st_mtime_ns for path in small.parent.iterdir()} == before


def test_a_name_that_means_something_in_an_address_is_only_a_name(small: Path) -> None:
    odd = small.rename(small.with_name("a b?mode=rwc#%41é.sqlite"))
    with Report(odd) as report:
        assert len(report.kernels()) == 2
    assert [path.name for path in odd.parent.iterdir()] == [odd.name]


def test_a_damaged_page_is_one_error_that_names_the_file(small: Path) -> None:
    database = Database(SqliteReader(f"{small.as_uri()}?mode=ro"), small)
    with pytest.raises(ReportError, match=r"r.sqlite: damaged \(.*no such table.*\)"):
        database.columns("SELECT x FROM nowhere")
    database.close()


def test_what_takes_long_shows_a_bar_on_a_terminal_and_only_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Bar("reading [x]", patience_s=0) as bar:
        bar(1, 2)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Bar("reading [x]", patience_s=60) as bar:
        bar(1, 2)
    assert capsys.readouterr().err == ""
    with Bar("reading [x]", patience_s=0) as bar:
        bar(1, 2)
    said = capsys.readouterr()
    assert "reading [x]" in said.err
    assert said.out == ""
