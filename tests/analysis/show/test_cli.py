import argparse
import json
import shutil
import subprocess
import sys
from itertools import cycle
from pathlib import Path
from types import ModuleType

import pytest

from analysis import kernels
from analysis.compare import __main__ as compare
from analysis.show import cli
from analysis.show.errors import ReportError
from tests.made.commands.commands import CANNOT_BE_READ, COMMANDS, PLACES, a_report, contents, given
from tests.made.reports.build_report import Kernel, Operator, Range, make_report
from tests.made.tools import shared
from tests.made.tools.shared import ROOT


def refused(
    command: ModuleType, path: Path, capsys: pytest.CaptureFixture[str], *arguments: str
) -> str:
    """Run a command that has to fail, and return its line.

    Args:
        command: what to run.
        path: the report that it cannot read.
        capsys: where its line is.
        arguments: all of them; the path if left out.
    """
    before = contents(path.parent) if path.parent.is_dir() else {}
    assert cli.run(lambda: int(command.main(list(arguments or [str(path)])))) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith(f"error: {path}: ")
    assert said.err.count(str(path)) <= 2  # once more in a command to type
    if before:
        assert contents(path.parent) == before
    return said.err


EACH_FILE = [pytest.param(kernels, 0, case, id=case) for case in CANNOT_BE_READ]
"""Every file that cannot be read, given to one command: all share one opening."""

EACH_COMMAND = [
    pytest.param(*place.values, case, id=f"{place.id} {case}")
    for place, case in zip(PLACES, cycle(CANNOT_BE_READ), strict=False)
]
"""Every command and place, each given one of these files, in turn."""


@pytest.mark.parametrize(("command", "place", "case"), [*EACH_FILE, *EACH_COMMAND])
def test_what_cannot_be_read_is_one_line_and_changes_nothing(
    command: ModuleType,
    place: int,
    case: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("NSYS", "/nowhere/nsys")
    make, expected = CANNOT_BE_READ[case]
    good, path = a_report(tmp_path_factory.mktemp("good") / "good.sqlite"), make(tmp_path)
    line = refused(command, path, capsys, *given(command, path, good, place))
    assert expected in line
    assert "; " in line


@COMMANDS
@pytest.mark.parametrize("name", ["no-cuda-cp1251", "nvtx-only-2022.4"])
def test_a_real_report_without_kernels_is_answered_or_refused_in_one_line(
    command: ModuleType, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "given.sqlite"
    shutil.copyfile(shared.report(name), path)
    before = contents(tmp_path)
    status = cli.run(lambda: int(command.main(given(command, path, path, 0))))
    said = capsys.readouterr()
    assert contents(tmp_path) == before
    assert status == (1 if said.err.startswith("error: ") else 0)
    assert (said.out == "") == (status == 1)


@COMMANDS
def test_every_command_has_help_that_is_its_docstring(
    command: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])
    assert ended.value.code == 0
    assert str(command.__doc__).strip().splitlines()[0] in capsys.readouterr().out


@COMMANDS
@pytest.mark.parametrize(
    "wrong",
    [
        [],
        ["r.sqlite", "--top", "0"],
        ["r.sqlite", "--top", "-3"],
        ["r.sqlite", "--top", "many"],
        ["r.sqlite", "--format", "xml"],
        ["r.sqlite", "--format", "sqlite"],
        ["r.sqlite", "--no-such-option"],
    ],
)
def test_wrong_usage_ends_with_2(
    command: ModuleType, wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    reports = wrong[:1] * (2 if command is compare else 1)
    with pytest.raises(SystemExit) as ended:
        command.main([*reports, *wrong[1:]])
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.endswith(
        f"; see python -m {command.__name__.removesuffix('.__main__')} --help\n"
    )


def test_a_report_with_neither_kernels_nor_operators_cannot_be_ranked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(tmp_path / "r.sqlite", ranges=[Range("step", 0, 9)])
    assert "record it again with --trace=cuda,nvtx" in refused(kernels, path, capsys)


def test_a_device_that_is_not_there_is_answered_with_those_that_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_report(tmp_path / "r.sqlite")
    assert cli.run(lambda: kernels.main([str(path), "--device", "7"])) == 1
    assert capsys.readouterr().err.endswith("r.sqlite: no device 7; this report has: 0\n")


def many_kernels(path: Path) -> Path:
    """Write a report of 30 kernels with names of their own."""
    return make_report(path, kernels=[Kernel(f"k{n:02}", 0, 100 - n) for n in range(30)])


def test_a_table_shows_twenty_rows_and_says_how_many_more_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = many_kernels(tmp_path / "r.sqlite")
    assert kernels.main([str(path)]) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 5 + 20
    assert said.err == "note: 10 more rows; --top 30 shows all\n"


@pytest.mark.parametrize("form", ["csv", "json", "markdown"])
def test_other_formats_show_everything_unless_told(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = many_kernels(tmp_path / "r.sqlite")
    assert kernels.main([str(path), "--format", form]) == 0
    assert "k29" in capsys.readouterr().out
    assert kernels.main([str(path), "--format", form, "--top", "2"]) == 0
    said = capsys.readouterr()
    assert "k01" in said.out
    assert "k02" not in said.out
    assert said.err == "note: 28 more rows; --top 30 shows all\n"


def test_a_share_is_of_everything_and_not_of_the_rows_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(tmp_path / "r.sqlite", kernels=[Kernel("a", 0, 75), Kernel("b", 0, 25)])
    assert kernels.main([str(path), "--format", "json", "--top", "1"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["share"] == 0.75


def test_a_terminal_is_not_steered_by_a_name_in_csv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(tmp_path / "r.sqlite", kernels=[Kernel("a\x1b[2Jb", 0, 1)])
    assert kernels.main([str(path), "--format", "csv"]) == 0
    assert "a\x1b[2Jb" in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert kernels.main([str(path), "--format", "csv"]) == 0
    assert "a\\x1b[2Jb" in capsys.readouterr().out


def test_ctrl_c_is_one_line_and_130(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert cli.run(interrupted) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_an_error_that_is_not_the_users_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        cli.run(lambda: 1 // 0)


def test_a_line_that_names_a_hostile_path_stays_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def failing() -> int:
        raise ReportError("a\nb\x1b[2J", "no such file")

    assert cli.run(failing) == 1
    assert capsys.readouterr().err == "error: a\\nb\\x1b[2J: no such file\n"


def piped(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a pipe in a shell that says how its first part ended."""
    shell = f"set -o pipefail; {command}"
    return subprocess.run(["bash", "-c", shell], cwd=folder, capture_output=True, text=True)


def test_a_pipe_that_is_closed_early_is_no_error(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        operators=[Operator(f"aten::op{n}" + "x" * 500, 0, 9, 9) for n in range(2000)],
    )
    run = f"{sys.executable} -m analysis.kernels {path} --format csv"
    done = piped(f"{run} | head -1", ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("name,category")
    done = piped(f"{run} > /dev/full", ROOT)
    assert done.returncode == 1
    assert done.stderr == (
        "error: output: cannot be written (no space left on device); write elsewhere\n"
    )


def test_a_stdout_that_is_closed_is_one_line(tmp_path: Path) -> None:
    path = a_report(tmp_path / "r.sqlite")
    run = f"{sys.executable} -m analysis.kernels {path}"
    done = piped(f"{run} >&-", ROOT)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: output: cannot be written (it is closed); write elsewhere\n"
    done = piped(f"{run} --format csv --output {tmp_path}/k.csv >&- <&-", ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "k.csv").read_text().startswith("name,category")


def test_with_a_stderr_that_is_closed_notes_do_not_go_to_stdout(tmp_path: Path) -> None:
    path = a_report(tmp_path / "r.sqlite")
    done = piped(f"{sys.executable} -m analysis.kernels {path} --top 1 --format csv 2>&-", ROOT)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2
    assert "note" not in done.stdout


@COMMANDS
def test_an_empty_name_is_no_directory(
    command: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = [""] * (2 if command is compare else 1)
    assert cli.run(lambda: int(command.main(reports))) == 1
    said = capsys.readouterr().err
    assert said == "error: '': an empty name, not a report; give the path of a report\n"


def test_a_stream_that_cannot_show_a_letter_gets_an_escape(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", kernels=[Kernel("核", 0, 1_500)])
    run = f"PYTHONIOENCODING=ascii {sys.executable} -m analysis.kernels {path}"
    done = piped(run, ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u6838" in done.stdout


def test_every_command_has_the_same_four_arguments() -> None:
    made = cli.parser("Ask.\n\nMore.", "prog")
    args = cli.parse(made, ["r.sqlite", "--format", "json"])
    assert isinstance(args, argparse.Namespace)
    assert (args.report, args.format, args.top, args.output) == ("r.sqlite", "json", None, None)


def test_a_real_ctrl_c_while_reading_is_one_line_and_130(tmp_path: Path) -> None:
    path = a_report(tmp_path / "r.sqlite")
    script = (
        "import os, signal, sys\n"
        "from analysis import kernels\n"
        "from analysis.show import cli\n"
        "from analysis.source import database\n"
        "read = database.Database._table\n"
        "def slow(*args):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    return read(*args)\n"
        "database.Database._table = slow\n"
        f"sys.exit(cli.run(lambda: kernels.main([{str(path)!r}])))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted\n")
