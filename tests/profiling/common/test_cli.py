"""What the measuring commands share: how arguments are read, and how a command ends."""

import argparse
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analysis.show.errors import ReportError, one_line
from analysis.show.table import Table
from profiling.common import cli
from profiling.common.errors import LaunchError, UsageError
from tests.made.runs.launched import ROOT

Reader = Callable[[str], object]


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (cli.count, "1", 1),
        (cli.count, "007", 7),
        (cli.count_or_zero, "0", 0),
        (cli.seed, "0", 0),
        (cli.seed, str((1 << 63) - 1), (1 << 63) - 1),
        (cli.positive, "3e-4", 3e-4),
        (cli.comma_separated(cli.count), "128, 256,128", (128, 256)),
        (cli.comma_separated(cli.one_of("a", "b")), "b,a", ("b", "a")),
    ],
)
def test_values_are_read(read: Reader, text: str, expected: object) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (cli.count, ["0", "-1", "1.5", "x", "", " 1", "1_000", "٣", "1e3", "9" * 19]),
        (cli.count_or_zero, ["-1", "0.0", "none"]),
        (cli.seed, ["-1", str(1 << 63), "9" * 5000]),
        (cli.positive, ["0", "-1", "nan", "inf", "1e999", "x", ""]),
        (cli.comma_separated(cli.count), ["", "1,,2", "1,0", ","]),
        (cli.one_of("a", "b"), ["c", "", "A"]),
    ],
)
def test_what_is_no_such_value_is_refused_by_its_own_name(read: Reader, words: list[str]) -> None:
    for word in words:
        with pytest.raises(argparse.ArgumentTypeError) as refused:
            read(word)
        assert "\n" not in str(refused.value)


def test_wrong_usage_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    parser = cli.Parser("profiling.some", "What it does.\n\n    python -m profiling.some")
    parser.add_argument("--steps", type=cli.count)
    for argv in (["--steps", "0"], ["--ste", "1"], ["a\nb\x1b[31m"]):
        with pytest.raises(SystemExit) as ended:
            parser.parse_args(argv)
        assert ended.value.code == 2
        said = capsys.readouterr()
        assert (said.out, said.err.count("\n")) == ("", 1)
        assert said.err.startswith("error: ")
        assert "\x1b" not in said.err


def test_the_help_is_the_docstring(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.Parser("profiling.some", "What it does, 100 % of it.").parse_args(["--help"])
    said = capsys.readouterr().out
    assert said.startswith("usage: python -m profiling.some")
    assert "What it does, 100 % of it." in said


def raising(error: BaseException) -> Callable[[], int]:
    def main() -> int:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UsageError("no such size; there are: a"), 2, "no such size; there are: a"),
        (LaunchError("no GPU; use a CPU"), 1, "no GPU; use a CPU"),
        (ReportError("x", "gone", "look"), 1, "x: gone; look"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 1, "out of memory; buy more"),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 2 GiB.\nmore"),
            1,
            "out of memory (CUDA out of memory. Tried to allocate 2 GiB.); buy more",
        ),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            1,
            "out of memory (DefaultCPUAllocator: can't allocate memory); buy more",
        ),
    ],
)
def test_every_failure_is_one_line_with_its_status(
    error: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    advised = cli.memory_advice("buy more")(raising(error))
    assert cli.run(advised) == status
    assert capsys.readouterr() == ("", f"error: {line}\n")


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    for error in (RuntimeError("shapes cannot be multiplied"), KeyError("x"), ValueError("y")):
        with pytest.raises(type(error)):
            cli.run(raising(error))


def test_the_status_of_a_command_is_passed_on() -> None:
    assert [cli.run(lambda status=status: status) for status in (0, 3)] == [0, 3]  # type: ignore[misc]


def test_a_pipe_that_is_closed_early_is_no_error() -> None:
    code = (
        "import sys\nfrom profiling.common import cli\n"
        "def main():\n    print('line\\n' * 100_000)\n    return 0\n"
        "sys.exit(cli.run(main))"
    )
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, cwd=ROOT, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_letter_the_terminal_has_not_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)

    def main() -> int:
        print("µ")
        return 0

    assert cli.run(main) == 0
    assert raw.getvalue() == b"\\xb5\n"


def test_a_table_goes_where_the_options_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = cli.Parser("profiling.some", "")
    cli.add_output(parser)
    many = Table("t", {"name": [str(i) for i in range(40)], "mean_ns": np.arange(40.0)})
    cli.write(many, parser.parse_args([]))
    assert len(capsys.readouterr().out.splitlines()) == 42  # all rows: nothing is cut
    output = tmp_path / "t.csv"
    cli.write(many, parser.parse_args(["--format", "csv", "--output", str(output)]))
    assert output.read_text().splitlines()[:2] == ["name,mean_ns", "0,0.0"]
    with pytest.raises(SystemExit):
        parser.parse_args(["--format", "sqlite"])
    with pytest.raises(ReportError):
        cli.write(many, parser.parse_args(["--output", str(tmp_path / "no" / "t.csv")]))


def test_the_command_line_is_kept_as_it_was_typed() -> None:
    assert (
        cli.command_line("profiling.x", ["--size", "tiny"]) == "python -m profiling.x --size tiny"
    )


def test_an_error_neither_breaks_its_line_nor_steers_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.failed("a\nb\x1b[31m", 3) == 3
    assert capsys.readouterr().err == "error: a\\nb\\x1b[31m\n"
    assert one_line("plain µ") == "plain µ"
