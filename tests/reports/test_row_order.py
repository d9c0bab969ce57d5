"""The place of a row in its file decides nothing, nor the kind of the file, nor what is kept of it.

Every question is asked of real reports as they are and of copies with their rows shuffled, and the
answers are the same to the last byte. What a report was asked in SQL is then asked of each reader.
"""

import contextlib
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.source import column_cache
from analysis.source.database import Database
from analysis.source.report import Report
from tests.made.commands.commands import command_module
from tests.made.reports.ask_everything import ask, questions
from tests.made.reports.build_report import Kernel, Range, make_report
from tests.made.reports.folders import ARROW, PARQUET, exported, shuffled
from tests.made.tools import shared

SEED = 20261129
Answer = tuple[int, str, str]
Make = Callable[[Path, Path], Path]

COPIES: dict[str, Make] = {
    "sqlite": lambda report, copy: shuffled(report, copy, SEED),
    PARQUET: lambda report, copy: exported(report, PARQUET, copy, SEED),
    ARROW: lambda report, copy: exported(report, ARROW, copy, SEED),
}
IN_ORDER: dict[str, Make] = {
    PARQUET: lambda report, copy: exported(report, PARQUET, copy),
    ARROW: lambda report, copy: exported(report, ARROW, copy),
}

SOME_COPIES: dict[str, tuple[str, ...]] = {
    "mpi-saxpy-2022.2": ("sqlite", PARQUET),
    "no-cuda-cp1251": ("sqlite", PARQUET, ARROW),
    "no-meta-2021": ("sqlite", ARROW),
    "nvtx-only-2022.4": ("sqlite", PARQUET),
}
"""Small reports, of which several copies are asked everything."""

ONE_COPY = {
    "cuda-graphs-a100": PARQUET,
    "cpu-samples-4060ti": ARROW,
    "cpu-samples-cpp": PARQUET,
    "forward-2.7b-a100": ARROW,
    "fsdp-2xh100-after": PARQUET,
    "registered-strings-cupy": PARQUET,
    "sliced-2xh100": ARROW,
    "train-step-small-a100": "sqlite",
}
"""Larger ones, of which one copy is."""


def answers(report: Path) -> Iterator[tuple[str, list[str], Answer | list[Answer], bytes]]:
    """Yield every question about a report, its answer, and the file that it writes.

    Of a report that was cut the answers to some questions stand for the file: a copy of a folder
    has not the remarks of an exporter in its schema.
    """
    output = report.parent / "written"
    with contextlib.chdir(report.parent):
        for command, arguments in questions(Path(report.name), Path(output.name)):
            output.unlink(missing_ok=True)
            answer: Answer | list[Answer] = ask(command_module(command).main, arguments)
            written = output.read_bytes() if output.exists() else b""
            if command == "analysis.trim" and written:
                words = [output.name, "--format", "csv"]
                cut = ("analysis.kernels", "analysis.ranges", "analysis.copies")
                answer = [ask(command_module(each).main, words) for each in cut]
                written = b""
            yield command, arguments, answer, written


def check_copies(
    report: Path, tmp_path: Path, copies: dict[str, Make], but: tuple[str, ...] = ()
) -> None:
    """Ask everything, but for some commands, about a report and about copies of it."""
    given = tmp_path / "given" / report.name
    given.parent.mkdir(parents=True)
    given.symlink_to(report)
    expected = list(answers(given))
    for kind, make in copies.items():
        copy = tmp_path / f"copy-{kind}" / given.name  # notes name a report without its folder
        copy.parent.mkdir()
        make(report, copy)
        for known, found in zip(expected, answers(copy), strict=True):
            assert found == known or found[0] in but, f"{kind}: {found[:2]}"


def with_ties(path: Path, seed: int) -> Path:
    """Write a report in which much begins and ends at the same time as something else."""
    drawn = random.Random(seed)

    def instants() -> tuple[int, int]:
        begin, end = sorted(drawn.sample(range(0, 1000, 50), 2))
        return begin, end

    kernels, ranges = [], [Range("step", 0, 1000), Range("forward", 0, 1000, thread=7)]
    for number in range(40):
        begin, end = instants()
        name = drawn.choice(["sgemm", "softmax", "add"])
        stream, thread = drawn.choice([7, 13]), drawn.choice([5, 7])
        kernels.append(
            Kernel(name, begin, end, stream=stream, launch=drawn.choice([begin, 0]), thread=thread)
        )
        label = drawn.choice(["forward", "backward", "loss", "attention"])
        ranges.append(Range(label, *instants(), thread=thread, registered=bool(number % 2)))
    return make_report(path, kernels=kernels, ranges=ranges)


@pytest.mark.parametrize("kind", ["sqlite", PARQUET, pytest.param(ARROW, marks=pytest.mark.slow)])
def test_what_happens_at_the_same_time_has_an_order_too(kind: str, tmp_path: Path) -> None:
    # NVIDIA's SQL takes what lies first in the file, and ours with it.
    ties = with_ties(tmp_path / "ties.sqlite", SEED)
    check_copies(ties, tmp_path, {kind: COPIES[kind]}, but=("analysis.nvidia",))


def test_a_copy_of_a_small_report_gives_its_answers(tmp_path: Path) -> None:
    check_copies(shared.report("nvtx-only-2022.4"), tmp_path, {ARROW: COPIES[ARROW]})


@pytest.mark.slow
def test_rows_in_order_give_the_same_answers_as_in_none(tmp_path: Path) -> None:
    check_copies(shared.report("no-cuda-cp1251"), tmp_path, IN_ORDER)


@pytest.mark.slow
@pytest.mark.parametrize("name", SOME_COPIES)
def test_copies_of_a_small_report_give_its_answers(name: str, tmp_path: Path) -> None:
    copies = {kind: COPIES[kind] for kind in SOME_COPIES[name]}
    check_copies(shared.report(name), tmp_path, copies)


@pytest.mark.slow
@pytest.mark.parametrize("name", ONE_COPY)
def test_a_shuffled_copy_of_a_report_gives_its_answers(name: str, tmp_path: Path) -> None:
    check_copies(shared.report(name), tmp_path, {ONE_COPY[name]: COPIES[ONE_COPY[name]]})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind"),
    [("cuda-graphs-a100", ""), ("no-meta-2021", PARQUET)],
)
def test_columns_that_are_kept_give_the_same_answers(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / f"{name}.sqlite"
    report.symlink_to(shared.report(name))
    if kind:
        report = COPIES[kind](report, tmp_path / "folder")
    expected = list(answers(report))
    monkeypatch.setenv(column_cache.VARIABLE, column_cache.ALL)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(column_cache, "SETTLED_NS", 0)
    for mapped_bytes in (0, column_cache.MAPPED_BYTES):
        monkeypatch.setattr(column_cache, "MAPPED_BYTES", mapped_bytes)
        for known, found in zip(expected, answers(report), strict=True):
            assert found == known, found[:2]
    assert len(column_cache.kept_reports()) == 1


def rows(report: Report, sql: str, text: Any) -> list[tuple[object, ...]]:
    """Return the rows of a query, in the order of what they hold."""
    table = report.database._table(sql, 0, text)
    columns = [column.array().tolist() for column in table.values()]
    return sorted(zip(*columns, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["cpu-samples-cpp", "cuda-graphs-a100", "mpi-saxpy-2022.2", "registered-strings-cupy"],
)
def test_what_is_asked_in_sql_has_one_answer(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shared.report(name)
    asked: dict[tuple[str, tuple[str, ...] | None], None] = {}
    read = Database._table

    def noting(self: Database, sql: str, rows: int, text: Any) -> Any:
        asked[sql, None if text is None else tuple(text)] = None
        return read(self, sql, rows, text)

    monkeypatch.setattr(Database, "_table", noting)
    for command, arguments in questions(path, tmp_path / "written"):
        ask(command_module(command).main, arguments)
    monkeypatch.undo()
    # How large a file of SQLite is, is asked of SQLite alone.
    queries = [each for each in asked if "pragma" not in each[0] and "rowid" not in each[0]]
    assert len(queries) > 20
    folders = [make(path, tmp_path / kind) for kind, make in COPIES.items() if kind != "sqlite"]
    with Report(path) as report:
        expected = [rows(report, *query) for query in queries]
    for folder in folders:
        with Report(folder) as report:
            for query, known in zip(queries, expected, strict=True):
                if set(re.findall(r'\bFROM "?(\w+)', query[0])) <= set(report.schema):
                    assert rows(report, *query) == known, query[0]
                else:  # nsys leaves a table without rows out
                    assert known in ([], [(0,)]), query[0]
