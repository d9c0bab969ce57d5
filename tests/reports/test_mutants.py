"""Whatever a file holds, a question ends in an answer or in one line, and the file is as it was.

Hundreds of reports, each a real one with one thing wrong, and a hundred traces. An answer's total
is that of the rows that make sense, added up here row by row.
"""

import contextlib
import csv
import fcntl
import io
import json
import shutil
import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Final
from unittest.mock import patch

import pytest

from analysis.arithmetic.sensible_times import FARTHEST_NS, LONGEST_NS
from analysis.nvidia.__main__ import REPORTS
from analysis.show.command import run
from tests.made.commands.commands import command_module, commands
from tests.made.reports.mutant_traces import first_events, mutant_trace
from tests.made.reports.mutants import (
    BASE_BYTES,
    Mutation,
    cut,
    loosened,
    mutant,
    mutations,
    truncated,
    with_flipped_bytes,
)
from tests.made.tools import shared
from tests.made.tools.shared import ROOT

SAMPLE: Final = "sample"
NAMES: Final = (
    SAMPLE,
    *shared.WITH_KERNELS,
    *shared.WITHOUT_KERNELS,
    *("cpu-samples-4060ti", "cpu-samples-cpp"),
)
OF_EACH: Final = 22
OF_SAMPLE: Final = 60
"""How many mutants are made of a report."""

LARGEST: Final = 1_000_000
"""Bytes of a report that is taken whole."""

pytestmark = pytest.mark.slow


@cache
def base(name: str, folder: Path) -> tuple[Path, list[Mutation]]:
    """Return the report that mutants are made of, and all mutations of it.

    It is made by whichever worker asks first.
    """
    path = folder / f"{name}.sqlite"
    with open(folder / "bases.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            source = ROOT / "nsys_reports" / f"{name}.sqlite" if name == SAMPLE else None
            source = source or shared.report(name)
            draft = path.with_suffix(".draft")
            if name == SAMPLE:
                trim = command_module("analysis.trim").main
                asked = [str(source), "--output", str(draft), "--max-size", f"{BASE_BYTES}B"]
                assert ask(trim, asked)[0] == 0
            elif source.stat().st_size < LARGEST:
                shutil.copyfile(source, draft)
            else:
                cut(source, draft)
            loosened(draft)
            draft.rename(path)
    return path, list(mutations(path))


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the reports that mutants are made of."""
    return tmp_path_factory.mktemp("bases")


@pytest.mark.parametrize(
    ("name", "number"),
    [(name, at) for name in NAMES for at in range(OF_SAMPLE if name == SAMPLE else OF_EACH)],
)
def test_a_mutant_is_answered_or_refused_in_one_line(
    name: str, number: int, bases: Path, tmp_path: Path
) -> None:
    report, all_of_them = base(name, bases)
    path = tmp_path / "given.sqlite"
    if number == 0:
        what = "truncated"
        truncated(report, sum(map(ord, name)), path)
    elif number < 4:
        what = "bytes flipped"
        with_flipped_bytes(report, number, path)
    else:
        # Steps of a prime: neighbours are mutants of one column.
        mutation = all_of_them[(number * 7919 + sum(map(ord, name))) % len(all_of_them)]
        what = mutation.name
        mutant(report, mutation, path)
    check_all_questions(path, what)


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
        elif name == "analysis.kernels":
            yield name, [report, "--exclude", "none", "--format", "csv"]
        else:
            yield name, [report, "--format", "csv"]
    yield "analysis.ranges", [report, "--tree"]
    yield "analysis.trim", [report, "--output", str(output)]


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
    """No time, size or share is below zero, but of differences and in NVIDIA's own reports."""
    if arguments[-2:] != ["--format", "csv"] or "--report" in arguments:
        return
    header, *rows = csv.reader(io.StringIO(out))
    for place, column in enumerate(header):
        if "delta" in column or not column.endswith(("_ns", "share", "flops", "bytes")):
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


@pytest.mark.parametrize("seed", range(50))
@pytest.mark.parametrize("name", ["gpt-8xh100-rank0", "gpt-8xh100-rank1"])
def test_a_mutant_trace_is_converted_or_refused_in_one_line(
    name: str, seed: int, tmp_path: Path
) -> None:
    trace, report = tmp_path / "given.json", tmp_path / "given.sqlite"
    what = mutant_trace(parsed(shared.trace(name)), seed + len(name) * 1000, trace)
    before = trace.read_bytes()
    convert = command_module("profiling.torch_trace").main
    status, out, err = ask(convert, [str(trace), str(report)])
    assert trace.read_bytes() == before
    assert not out
    assert not {"\x1b", "\r"} & set(err), what
    assert not [line for line in err.splitlines() if line.startswith("error: forged")], what
    if status:
        assert status == 1, what
        assert [line[:7] for line in err.splitlines()] == ["error: "], f"{what}: {err}"
        assert not report.exists()
        return
    trace.rename(tmp_path.parent / "trace.json")
    total = kernel_time(before)
    check_all_questions(report, what)
    with closing(sqlite3.connect(report)) as connection:
        has = connection.execute(
            "SELECT 1 FROM sqlite_master WHERE name = 'CUPTI_ACTIVITY_KIND_KERNEL'"
        ).fetchone()
        sql = 'SELECT coalesce(sum("end" - start), 0) FROM CUPTI_ACTIVITY_KIND_KERNEL'
        found = connection.execute(sql).fetchone()[0] if has else 0
    assert found == total, what


@cache
def parsed(trace: Path) -> dict[str, object]:
    return first_events(trace)


def kernel_time(content: bytes) -> int:
    """Return how long a trace's kernels took, of those whose times make sense, in ns."""
    with patch("sys.set_int_max_str_digits"):
        whole = json.loads(content.decode(errors="replace"), parse_float=Decimal, strict=False)
    total = 0
    for event in whole["traceEvents"]:
        if not isinstance(event, dict) or event.get("ph") != "X" or event.get("cat") != "kernel":
            continue
        try:
            start, took = (Decimal(event[field]) * 1000 for field in ("ts", "dur"))
        except (ArithmeticError, KeyError, TypeError, ValueError):
            continue
        fits = -LONGEST_NS <= start <= FARTHEST_NS and 0 <= took <= LONGEST_NS
        # The converter keeps a fraction as it is written, so that may be a name.
        total += int(took) if fits and isinstance(event.get("name"), str | Decimal) else 0
    return total
