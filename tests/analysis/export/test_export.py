"""The command `export`: a file is written whole or not at all, and no report is touched."""

import sys
from pathlib import Path

import pytest

from analysis.export import __main__ as export
from analysis.export import perfetto_trace
from analysis.show import cli
from tests.made.commands.commands import CANNOT_BE_READ, a_report, contents
from tests.made.reports.build_report import Kernel, Range, make_report

FORMATS = pytest.mark.parametrize("form", export.FORMATS)


def run(*given: str | Path) -> int:
    return cli.run(lambda: export.main(list(map(str, given))))


@FORMATS
def test_a_file_that_is_there_is_replaced_and_the_report_is_only_read(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = a_report(tmp_path / "r.sqlite"), tmp_path / "o"
    before = path.read_bytes()
    output.write_text("old")
    assert run(path, "--format", form, "--output", output) == 0
    assert output.read_bytes() != b"old"
    assert path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["o", "r.sqlite"]
    printed = capsys.readouterr()
    assert printed.out == ""
    assert str(output) in printed.err


@FORMATS
@pytest.mark.parametrize("taken", ["r.sqlite", "other.sqlite", "folder"])
def test_no_report_and_no_folder_is_written_over(
    form: str, taken: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_report(tmp_path / "r.sqlite")
    a_report(tmp_path / "other.sqlite")
    (tmp_path / "folder").mkdir()
    before = contents(tmp_path)
    assert run(path, "--format", form, "--output", tmp_path / taken) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert contents(tmp_path) == before


@FORMATS
@pytest.mark.parametrize("kind", CANNOT_BE_READ)
def test_what_cannot_be_read_is_said_in_one_line_and_leaves_no_file(
    form: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write, said = CANNOT_BE_READ[kind]
    path = write(tmp_path)
    before = contents(tmp_path)
    assert run(path, "--format", form, "--output", tmp_path / "o") == 1
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert contents(tmp_path) == before


def test_an_interrupted_export_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = a_report(tmp_path / "r.sqlite"), tmp_path / "o"
    output.write_text("old")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(perfetto_trace.PerfettoTrace, "_write_work", interrupt)
    assert run(path, "--output", output) == 130
    assert output.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    assert capsys.readouterr().err == "error: interrupted\n"


def test_without_the_package_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_report(tmp_path / "r.sqlite")
    for name in list(sys.modules):
        if name.startswith(("analysis.export.perfetto", "analysis.export.gpu", "perfetto")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "perfetto", None)
    assert run(path, "--output", tmp_path / "o") == 1
    said = capsys.readouterr().err
    assert said == "error: perfetto is not installed; pip install 'spanlight[perfetto]'\n"
    assert run(path, "--format", "chrome", "--output", tmp_path / "o") == 0


def test_a_report_with_nothing_to_show_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(tmp_path / "r.sqlite", threads={1: "main"})
    for form in export.FORMATS:
        assert run(path, "--format", form, "--output", tmp_path / "o") == 1
        assert "in this report" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


@FORMATS
def test_one_report_given_twice_is_refused(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_report(tmp_path / "r.sqlite")
    assert run(path, path, "--format", form, "--output", tmp_path / "o") == 1
    assert "given twice" in capsys.readouterr().err


def test_a_kind_of_time_is_of_folded_stacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run(a_report(tmp_path / "r.sqlite"), "--by", "busy", "--output", tmp_path / "o")
    assert stop.value.code == 2
    assert "--by is of --format folded" in capsys.readouterr().err


def test_rows_whose_times_make_no_sense_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "r.sqlite", kernels=[Kernel("k", 9, 3), Kernel("k", 3, 9)], ranges=[]
    )
    assert run(path, "--output", tmp_path / "o") == 0
    said = capsys.readouterr().err
    assert "1 kernel: " in said
    assert "1 row of CUPTI_ACTIVITY_KIND_KERNEL in r.sqlite left out" in said


def test_names_that_are_no_text_are_shown_as_escapes(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel(b"not UTF-8: \xff", 3, 9, launch=1)],
        ranges=[Range(b"\xfe", 0, 5), Range("\x1b[31m\x00", 0, 5), Range(None, 1, 2)],
    )
    for form in export.FORMATS:
        assert run(path, "--format", form, "--output", tmp_path / "o") == 0
