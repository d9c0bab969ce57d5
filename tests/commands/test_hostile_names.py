"""Whatever a kernel or a range is called, every command shows it as text, in every format."""

import csv
import io
import json
import sqlite3
from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq
import pytest

from analysis.compare import __main__ as compare
from analysis.show.errors import ReportError
from tests.made.commands.commands import COMMANDS, given
from tests.made.reports.build_report import Kernel, Range, make_report

NAMES: list[str | bytes] = [
    "[bold red]not markup[/]",
    "[lambda() (instance 1)]",
    "\x1b[31mred\x1b[0m\x07",
    "two\nlines\r\n",
    'a|b "quoted", \\|',
    "<script>alert(1)</script>",
    "'; DROP TABLE kernels; --",
    "x" * 10_000,
    b"not UTF-8: \xff\xfe",
    "\u202egnp.exe",
]
ATTENTION = ("attention_scores", "softmax", "final_matmul")
FORMATS = ("table", "csv", "json", "markdown", "parquet", "sqlite")


@pytest.fixture
def report(tmp_path: Path) -> Path:
    ranges = [Range("step", 0, 1000), Range("forward", 0, 900)]
    kernels = []
    for number, name in enumerate([*NAMES, *ATTENTION]):
        begin = 10 + 10 * number
        ranges.append(Range(name, begin, begin + 9, payload=5, registered=bool(number % 2)))
        kernels.append(Kernel(name, 2000 + 20 * number, 2010 + 20 * number, launch=begin + 1))
    return make_report(
        tmp_path / "r.sqlite", ranges=ranges, kernels=kernels, gpus=["[red]GPU\x1b[0m"]
    )


@pytest.mark.parametrize("form", FORMATS)
@COMMANDS
def test_a_hostile_name_is_text(
    command: ModuleType,
    form: str,
    report: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [*given(command, report, report, 0), "--format", form]
    output = tmp_path / "summary.db"
    if form in {"parquet", "sqlite"}:
        arguments += ["--output", str(output)]
    several = {"analysis.__main__", "analysis.fleet.__main__"}
    if form in {"csv", "parquet"} and command.__name__ in several:
        pytest.skip("the page and the fleet are several tables and have no csv, nor a Parquet file")
    try:
        status = command.main(arguments)
    except ReportError:
        return  # no copies in this report: no failure of the names
    assert status == 0
    printed = capsys.readouterr()
    steering = {"\x1b", "\x07", "\r", "\u202e"}
    if form in {"table", "markdown"}:
        assert not steering & set(printed.out)
        assert all(len(line) < 2000 or form == "markdown" for line in printed.out.splitlines())
    elif form == "json":
        json.loads(printed.out)
    elif form == "csv":
        rows = list(csv.reader(io.StringIO(printed.out)))
        assert command is compare or len({len(row) for row in rows if row}) == 1
    elif form == "parquet":
        assert pq.read_metadata(output).num_columns
    else:
        with sqlite3.connect(output) as database:
            assert database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    assert not steering & set(printed.err)
