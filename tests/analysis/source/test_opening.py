import gzip
import json
import os
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from analysis import Report, ReportError
from analysis.show import nsys_program
from analysis.show.output import NSYS_MAGIC
from tests.made.reports.build_report import Kernel, make_report
from tests.made.tools import shared

NSYS = "#!/bin/sh\n"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return make_report(tmp_path / "r.sqlite", kernels=[Kernel("mm", 10, 30)])


@pytest.fixture
def nsys_rep(tmp_path: Path) -> Path:
    path = tmp_path / "run.nsys-rep"
    path.write_bytes(NSYS_MAGIC + b" 2023@4@4" + bytes(100))
    return path


def fake_nsys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program in the place of nsys."""
    program = tmp_path / "bin" / "nsys"
    program.parent.mkdir()
    program.write_text(NSYS + script)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("NSYS", str(program))


def test_a_write_ahead_log_is_read_from_a_copy_and_nothing_is_made_beside_it(
    small: Path, tmp_path: Path
) -> None:
    writer = sqlite3.connect(small)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("UPDATE StringIds SET value = 'from the log' WHERE value = 'mm'")
    writer.commit()
    folder = tmp_path / "copied"
    folder.mkdir()
    for name in ("r.sqlite", "r.sqlite-wal"):
        shutil.copy(small.with_name(name), folder / name)
    writer.close()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with Report(folder / "r.sqlite") as report:
        assert report.kernels()["name"].tolist() == ["from the log"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_database_in_wal_mode_without_a_log_is_read_where_it_is(small: Path) -> None:
    writer = sqlite3.connect(small)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.close()
    with Report(small) as report:
        assert len(report.kernels()) == 1
    assert [path.name for path in small.parent.iterdir()] == ["r.sqlite"]


def test_a_pipe_is_refused_at_once_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(ReportError, match="pipe: a pipe, not a file; write it to a file first"):
        Report(path)
    with pytest.raises(ReportError, match="a device or a socket, not a file"):
        Report("/dev/null")


def test_what_was_redirected_from_a_file_is_a_file(small: Path) -> None:
    with small.open("rb") as stream, Report(f"/dev/fd/{stream.fileno()}") as report:
        assert len(report.kernels()) == 1


def test_a_trace_is_known_by_its_content_and_converted_into_a_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    source = tmp_path / "misnamed.sqlite"
    event = {"ph": "X", "cat": "cpu_op", "name": "aten::mm", "pid": 1, "tid": 1, "ts": 1, "dur": 2}
    source.write_text("\ufeff" + json.dumps({"schemaVersion": 1, "traceEvents": [event]}))
    with Report(source) as report:
        assert report.kernels()[["name", "total_ns"]].to_numpy().tolist() == [["aten::mm", 2000]]
        assert list(temporary.iterdir())
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(
    "content", [b"{}", b"[1, 2", gzip.compress(b"hello", mtime=0), b"\x1f\x8bnot gzip"]
)
def test_json_that_is_no_trace_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(ReportError) as caught:
        Report(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.count(str(path)) == 1
    assert "; " in message
    assert "\n" not in message


def test_an_nsys_rep_is_exported_by_the_nsys_that_is_chosen(
    small: Path, nsys_rep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = f'for word; do case "$word" in --output=*) cp {small} "${{word#--output=}}";; esac; done'
    fake_nsys(tmp_path, monkeypatch, copy)
    with Report(nsys_rep) as report:
        assert report.kernels()["name"].tolist() == ["mm"]
        assert report.path == nsys_rep


@pytest.mark.parametrize("known", ["--include-blobs=", "--lazy="])
def test_payloads_are_exported_where_nsys_can(
    known: str, small: Path, nsys_rep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        f"if [ $2 = --help ]; then echo '{known}'; exit; fi",
        f"echo $* > {tmp_path / 'asked'}; cp {small} ${{3#--output=}}",
    ]
    fake_nsys(tmp_path, monkeypatch, "\n".join(lines))
    with Report(nsys_rep):
        asked = (tmp_path / "asked").read_text().split()
    assert ("--include-blobs=true" in asked) == (known == "--include-blobs=")


def test_an_nsys_that_cannot_export_it_is_quoted(
    nsys_rep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_nsys(tmp_path, monkeypatch, "printf '[1%%\\r[50%%\\rversion mismatch.\\n' >&2; exit 1")
    with pytest.raises(ReportError, match=r"could not export it \(version mismatch\); try an nsys"):
        Report(nsys_rep)


def test_without_nsys_the_message_says_how_to_export(
    nsys_rep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NSYS", "/nowhere/nsys")
    with pytest.raises(ReportError, match=r"no nsys is found here; .*nsys export --type=sqlite"):
        Report(nsys_rep)


def test_a_real_nsys_rep_is_exported(tmp_path: Path) -> None:
    nsys = nsys_program.found()
    if nsys is None:
        pytest.skip("no nsys here")
    import subprocess

    options = ["--trace=nvtx", "--sample=none", "--cpuctxsw=none", "--output", str(tmp_path / "r")]
    subprocess.run([nsys, "profile", *options, "true"], check=True, capture_output=True)
    with Report(tmp_path / "r.nsys-rep") as report:
        assert report.recorder.startswith("nsys 20")
    assert [path.name for path in tmp_path.iterdir()] == ["r.nsys-rep"]


@pytest.mark.parametrize("size", [1, 15, 16, 60, 99, 100, 4096])
def test_a_truncated_file_says_that_it_is(small: Path, size: int) -> None:
    small.write_bytes(small.read_bytes()[:size])
    with pytest.raises(ReportError, match=r": truncated.*; export or copy it again$"):
        Report(small)


def test_a_report_cut_by_one_byte_is_truncated(small: Path) -> None:
    small.write_bytes(small.read_bytes()[:-1])
    with pytest.raises(ReportError, match=r"truncated: \d[\d,]* of \d[\d,]* bytes are there"):
        Report(small)


def test_a_damaged_page_of_a_table_is_found_while_reading(small: Path) -> None:
    content = bytearray(small.read_bytes())
    page = 4096
    for place in range(page, len(content), page):
        content[place : place + 64] = b"\xff" * 64
    small.write_bytes(content)
    with pytest.raises(ReportError, match=r"r.sqlite: damaged \(.*malformed\); export"):  # noqa: SIM117
        with Report(small) as report:
            report.kernels()


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no such file; check the path"):
        Report(tmp_path / "typo.sqlite")
    assert not list(tmp_path.iterdir())


def test_a_database_that_is_no_report_is_told_from_one(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE StringIds (id, value)")
    connection.close()
    with pytest.raises(ReportError, match=r"a SQLite file, but not an nsys report; give one"):
        Report(path)


def test_a_git_lfs_pointer_says_what_to_run() -> None:
    with pytest.raises(ReportError, match=r"a git-lfs pointer, not the report; .*git lfs pull"):
        Report(shared.report("git-lfs-pointer"))
