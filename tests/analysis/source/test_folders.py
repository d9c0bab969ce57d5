"""Folders that nsys exports to: read as they are, refused in one line where they cannot be."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import Report
from analysis.show import nsys_program
from analysis.show.errors import ReportError
from tests.made.commands.commands import contents
from tests.made.commands.in_process import run_command
from tests.made.reports.build_report import Kernel, Range, make_report
from tests.made.reports.folders import ARROW, FOLDERS, PARQUET, exported, write
from tests.made.tools import shared
from tests.made.tools.shared import ROOT

KIND = pytest.mark.parametrize("kind", FOLDERS)
BEYOND = 1 << 63


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("mm", 10, 20, launch=1), Kernel("add", 30, 35, launch=2)],
        ranges=[Range("step", 0, 9)],
    )


def table(folder: Path, kind: str, name: str, **columns: pa.Array) -> None:
    """Write a table with some columns into a folder, in place of the one that is there."""
    write(folder, kind, name, pa.table(columns))


@KIND
def test_ids_beyond_the_signed_ones_are_those_of_sqlite(
    kind: str, report: Path, tmp_path: Path
) -> None:
    folder = exported(report, kind, tmp_path / "folder")
    ids = [0, 1, BEYOND - 1, BEYOND, 2 * BEYOND - 1, None]
    table(folder, kind, "X", id=pa.array(ids, pa.uint64()), yes=pa.array([True, None] * 3))
    with Report(folder) as opened:
        found = opened.columns("SELECT coalesce(id, 5) AS id, coalesce(yes, 7) AS yes FROM X")
    assert found["id"].tolist() == [0, 1, BEYOND - 1, -BEYOND, -1, 5]
    assert found["yes"].tolist() == [1, 7] * 3


@KIND
@pytest.mark.parametrize(
    ("cells", "what"),
    [
        (pa.array([1, None]), "nothing (NULL)"),
        (pa.array(["a", "b"]), "text"),
        (pa.array([b"a", b"b"]), "bytes"),
        (pa.array([1.5, 2.0]), "a number with a fraction, or out of range"),
        (pa.nulls(2), "nothing (NULL)"),
    ],
)
def test_a_number_that_is_none_is_refused_by_column_and_table(
    kind: str, cells: pa.Array, what: str, report: Path, tmp_path: Path
) -> None:
    folder = exported(report, kind, tmp_path / "folder")
    table(folder, kind, "Counted", number=cells)
    with Report(folder) as opened, pytest.raises(ReportError) as caught:
        opened.columns("SELECT number AS x FROM Counted")
    assert f"number of Counted holds {what}, not a whole number; " in str(caught.value)


@KIND
def test_a_column_without_a_value_is_text_and_a_number(
    kind: str, report: Path, tmp_path: Path
) -> None:
    folder = exported(report, kind, tmp_path / "folder")
    table(folder, kind, "X", none=pa.nulls(2))
    with Report(folder) as opened:
        text = "cast(coalesce(none, '') AS text)"
        found = opened.columns(f"SELECT coalesce(none, -1) AS n, {text} AS t FROM X", text=("t",))
    assert (found["n"].tolist(), found["t"].tolist()) == ([-1, -1], ["", ""])


@KIND
def test_text_that_is_not_utf8_is_that_of_sqlite(kind: str, tmp_path: Path) -> None:
    path = shared.report("no-cuda-cp1251")
    folder = exported(path, kind, tmp_path / "folder")
    with Report(path) as one, Report(folder) as other:
        assert "\ufffd" in one.metadata["EXPORT_TIME_LOCAL"]
        assert one.metadata == other.metadata


def test_arrow_s_file_format_is_read_too(report: Path, tmp_path: Path) -> None:
    folder = exported(report, ARROW, tmp_path / "folder")
    for path in folder.iterdir():
        rows = pa.ipc.open_stream(path.read_bytes()).read_all()
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, rows.schema) as made:
            made.write_table(rows)
    with Report(folder) as opened:
        assert sorted(opened.kernels()["name"]) == ["add", "mm"]


@KIND
def test_tables_without_rows_or_columns_are_none(kind: str, report: Path, tmp_path: Path) -> None:
    folder = exported(report, kind, tmp_path / "folder")
    write(folder, kind, "OSRT_API", pa.table({"start": pa.array([], pa.int64())}))
    (folder / f"NVTX_EVENTS.{kind}").unlink()
    (folder / "notes.txt").write_text("not of the export")
    with Report(folder) as opened:
        assert len(opened.kernels()) == 2


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def garbled(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:8] + b"\xff" * (len(content) - 16) + content[-8:])


def text_instead(path: Path) -> None:
    path.write_text("name,calls\n")


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def unreadable(path: Path) -> None:
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")


def twice(path: Path) -> None:
    other = {".parquet": ".arrow", ".arrow": ".parquet"}[path.suffix]
    shutil.copy(path, path.with_suffix(other))


WRONG: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut": (cut, "NVTX_EVENTS."),
    "empty": (emptied, "an empty file"),
    "garbled": (garbled, "NVTX_EVENTS."),
    "text": (text_instead, "not a file of "),
    "folder": (folder_instead, "not a file"),
    "unreadable": (unreadable, "cannot be read (permission denied)"),
    "twice": (twice, "holds NVTX_EVENTS twice"),
}


@KIND
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("command", ["analysis", "analysis.kernels", "analysis.trim"])
def test_a_file_that_cannot_be_read_is_one_line(
    kind: str,
    wrong: str,
    command: str,
    report: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = exported(report, kind, tmp_path / "folder")
    how, said = WRONG[wrong]
    how(folder / f"NVTX_EVENTS.{kind}")
    before = contents(tmp_path)
    more = ["--output", str(tmp_path / "small.sqlite")] if command == "analysis.trim" else []
    ended = run_command(command, folder, *more)
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"error: {folder}")
    assert said in line
    assert "; " in line
    assert contents(tmp_path) == before


@KIND
def test_a_folder_of_other_tables_is_no_report(kind: str, tmp_path: Path) -> None:
    write(tmp_path, kind, "people", pa.table({"name": ["x"]}))
    with pytest.raises(ReportError, match="a folder of tables, but not an nsys report; give one"):
        Report(tmp_path)


def test_any_other_folder_is_none(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("x")
    with pytest.raises(ReportError, match=r"a directory, not a report; give the .sqlite file"):
        Report(tmp_path)


def replaced(path: Path) -> None:
    other = path.with_name("other")
    shutil.copy(path, other)
    os.replace(other, path)


def removed(path: Path) -> None:
    path.unlink()


def added(path: Path) -> None:
    shutil.copy(path, path.with_name("NEW" + path.suffix))


@KIND
@pytest.mark.parametrize("how", [replaced, removed, added])
def test_a_folder_that_changes_while_it_is_read_has_no_answer(
    kind: str, how: Callable[[Path], None], report: Path, tmp_path: Path
) -> None:
    folder = exported(report, kind, tmp_path / "folder")
    opened = Report(folder)
    assert opened.metadata
    how(folder / f"StringIds.{kind}")
    with pytest.raises(ReportError, match="while it was read; ask again"):
        opened.__exit__(None, None, None)


@KIND
def test_reading_leaves_nothing_behind(
    kind: str, report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = exported(report, kind, tmp_path / "folder")
    before = contents(tmp_path)
    with Report(folder) as opened:
        opened.kernels()
        opened.ranges()
    assert contents(tmp_path) == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["folder", "r.sqlite"]


def test_neither_duckdb_nor_pandas_is_imported_for_nothing(report: Path, tmp_path: Path) -> None:
    folder = exported(report, PARQUET, tmp_path / "folder")
    for path, wanted in ((report, []), (folder, ["duckdb"])):
        code = (
            "import sys; from analysis.source.report import Report; "
            f"report = Report({str(path)!r}); report.metadata; "
            "print([name for name in ('duckdb', 'pandas') if name in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == str(wanted)


@pytest.mark.slow
def test_three_exports_of_one_recording_give_the_same_answers(tmp_path: Path) -> None:
    nsys = nsys_program.found()
    if nsys is None:
        pytest.skip("no nsys here")
    program = tmp_path / "program.py"
    program.write_text(
        "import nvtx\n"
        "for number in range(20):\n"
        "    with nvtx.annotate('step'), nvtx.annotate('forward', domain='mine', payload=number):\n"
        "        open('/dev/null').close()\n"
    )
    recording = tmp_path / "recording.nsys-rep"
    options = ["--trace=nvtx,osrt", "--sample=none", "--cpuctxsw=none", f"--output={recording}"]
    words = [nsys, "profile", *options, sys.executable, str(program)]
    subprocess.run(words, check=True, capture_output=True)
    places = {kind: tmp_path / kind / "report" for kind in ("sqlite", "parquetdir", "arrowdir")}
    for kind, place in places.items():
        place.parent.mkdir()
        export = [nsys, "export", f"--type={kind}", f"--output={place}", str(recording)]
        subprocess.run(export, check=True, capture_output=True)
    assert pq.read_metadata(places["parquetdir"] / "StringIds.parquet").num_rows
    for command, *more in (
        ("analysis.ranges",),
        ("analysis.ranges", "--instances"),
        ("analysis.nvidia", "--report", "nvtx_sum"),
        ("analysis.nvidia", "--report", "nvtx_pushpop_sum"),
    ):
        said = [
            run_command(command, "report", *more, "--format", "csv", cwd=place.parent)
            for place in places.values()
        ]
        assert said[0].returncode == 0
        assert said[0].stdout.count("\n") > 1
        assert {(each.returncode, each.stdout, each.stderr) for each in said[1:]} == {
            (0, said[0].stdout, said[0].stderr)
        }
