"""Every question asked of one report, and what an answer or a refusal must be like.

An answer's total is that of the rows that make sense, added up here row by row.
"""

import contextlib
import csv
import io
import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from analysis.arithmetic.sensible_times import FARTHEST_NS, LONGEST_NS
from analysis.export.__main__ import FORMATS
from analysis.fleet.tables import TABLES
from analysis.nvidia.__main__ import REPORTS
from analysis.show.command import run
from tests.made.commands.commands import command_module, commands

CHANGES: Final = (
    ["--host", "0.5", "--scale", "*=0.5"],
    ["--remove", "*"],
    ["--graph", "*", "--no-wait", "*", "--overlap", "collective"],
)
"""What is asked of a replay, of whatever there is."""


def check_all_questions(path: Path, what: str) -> None:
    """Ask every question about a report; see the module."""
    before = path.read_bytes()
    output = path.with_name("written.sqlite")
    for command, arguments in questions(path, output):
        status, out, err = ask(command_module(command).main, arguments)
        context = f"{what}: {command} {arguments[1:]}: {status} {err}"
        lines = err.splitlines()
        if status == 1:
            assert not out, context
            assert [line[:7] for line in lines] == ["error: "], context
            assert not output.exists(), context
        else:
            assert status == 0, context
            assert all(line.startswith("note: ") for line in lines), context
            check_figures(out, arguments, context)
            if command == "analysis.kernels":
                check_total(path, out, context)
        assert not {"\x1b", "\r", "\u202e"} & set(err), context
        output.unlink(missing_ok=True)
    assert [each.name for each in path.parent.iterdir()] == [path.name], what
    assert path.read_bytes() == before, what


def questions(path: Path, output: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield every question about a report: a command, and its arguments."""
    report = str(path)
    for module in commands():
        name = module.__name__.removesuffix(".__main__")
        if name == "analysis.nvidia":
            for wanted in REPORTS:
                yield name, [report, "--report", wanted, "--format", "csv"]
        elif name == "analysis":
            yield name, [report]
            yield name, [report, "--format", "json"]
        elif name == "analysis.compare":
            yield name, [report, report, "--format", "csv"]
        elif name == "analysis.fleet":
            for table in TABLES:
                yield name, [report, "--workers", "1", "--show", table, "--format", "csv"]
        elif name == "analysis.kernels":
            yield name, [report, "--exclude", "none", "--format", "csv"]
        elif name == "analysis.whatif":
            for change in CHANGES:
                yield name, [report, *change, "--format", "csv"]
        else:
            yield name, [report, "--format", "csv"]
    yield "analysis", [report, "--html", str(output)]
    yield "analysis.ranges", [report, "--tree"]
    yield "analysis.trim", [report, "--output", str(output)]
    for form in FORMATS:
        yield "analysis.export", [report, "--format", form, "--output", str(output)]


def ask(main: object, arguments: Sequence[str]) -> tuple[int, str, str]:
    """Return how a command ends and what it prints; a warning is an error, as is anything else."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")
        status = run(lambda: main(arguments))  # type: ignore[operator]
    return status, out.getvalue(), err.getvalue()


def check_figures(out: str, arguments: Sequence[str], context: str) -> None:
    """No time, size or share is below zero, but of differences and in NVIDIA's own reports.

    What was faster than the ideal time lost less than nothing, and a blind replay may be longer.
    """
    if arguments[-2:] != ["--format", "csv"] or "--report" in arguments:
        return
    header, *rows = csv.reader(io.StringIO(out))
    for place, column in enumerate(header):
        if (
            "delta" in column
            or column in ("lost_ns", "saved_ns")
            or not column.endswith(("_ns", "share", "flops", "bytes"))
        ):
            continue
        cells = [row[place] for row in rows]
        assert not [cell for cell in cells if cell.startswith("-") or "inf" in cell], context


def check_total(path: Path, out: str, context: str) -> None:
    """The kernels' total is that of the rows that make sense, one by one."""
    rows = list(csv.DictReader(io.StringIO(out)))
    if rows and rows[0]["source"] == "operator":
        return
    expected = 0
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        for table in ("CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_GRAPH_TRACE"):
            if table not in there:
                continue
            fields = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            if not {"start", "end"} <= fields:
                continue
            for start, end in connection.execute(
                f'SELECT start, coalesce("end", start) FROM {table}'
            ):
                assert isinstance(start, int), context
                assert isinstance(end, int), context
                expected += end - start if makes_sense(start, end) else 0
    assert sum(int(row["total_ns"]) for row in rows) == expected, context


def makes_sense(start: int, end: int) -> bool:
    return -FARTHEST_NS <= start <= end <= FARTHEST_NS and end - start <= LONGEST_NS
