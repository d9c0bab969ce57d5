"""A comparison for a browser: the rows of both reports, and their time lines from one beginning."""

from pathlib import Path

import pytest

from analysis import Report
from analysis.compare.__main__ import main
from analysis.compare.compare import compare
from tests.made.commands.in_process import run_command
from tests.made.reports.build_report import Kernel, Range, make_report
from tests.made.reports.html_page import ReadPage, read_page

AUTOGRAD = 101


def report(path: Path, start: int, took: int) -> Path:
    return make_report(
        path,
        ranges=[
            Range("step", start, start + 300),
            Range("backward", start + 100, start + 200),
            Range("MmBackward0", start + 110, start + 120, thread=AUTOGRAD),
        ],
        kernels=[
            Kernel("sgemm", start + 400, start + 400 + took, launch=start + 10),
            Kernel(path.stem, start + 1000, start + 1100, launch=start + 112, thread=AUTOGRAD),
        ],
    )


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return report(tmp_path / "before.sqlite", 5000, 200), report(tmp_path / "after.sqlite", 70, 50)


def written(pair: tuple[Path, Path], *arguments: str) -> ReadPage:
    file = pair[0].with_name("page.html")
    assert main([*map(str, pair), "--html", str(file), *arguments]) == 0
    return read_page(file.read_text(encoding="ascii"))


def test_both_time_lines_begin_together(pair: tuple[Path, Path]) -> None:
    made = written(pair)
    work = [
        (lane["side"], lane["label"], [(row.name, row.start, row.duration) for row in rows])
        for lane, rows in zip(made.head["lanes"], made.lanes, strict=True)
        if lane["kind"] == "kernels"
    ]
    assert work == [
        ("before", "before · GPU 0 · stream 7", [("sgemm", 400, 200), ("before", 1000, 100)]),
        ("after", "after · GPU 0 · stream 7", [("sgemm", 400, 50), ("after", 1000, 100)]),
    ]
    assert made.head["span_ns"] == 1100


def test_what_launched_a_kernel_is_of_the_same_report(pair: tuple[Path, Path]) -> None:
    made = written(pair)
    launches = [made.launching(row) for row in made.events("kernels")]
    assert [launch and launch.start for launch in launches] == 2 * [10, 112]
    sides = [
        {made.head["lanes"][row.more["lane"] - 1]["side"] for row in rows}
        for lane, rows in zip(made.head["lanes"], made.lanes, strict=True)
        if lane["kind"] == "kernels"
    ]
    assert sides == [{"before"}, {"after"}]
    owned = [row for row in made.events("ranges") if row.more.get("owner")]
    owners = [row.more["owner_lane"] - 1 for row in owned]
    assert [made.head["lanes"][place]["side"] for place in owners] == ["before", "after"]
    named = [made.lanes[row.more["owner_lane"] - 1][row.more["owner"] - 1].name for row in owned]
    assert named == ["backward", "backward"]


def test_the_tables_are_the_rows_of_the_command(pair: tuple[Path, Path]) -> None:
    made = written(pair)
    with Report(pair[0]) as before, Report(pair[1]) as after:
        table = compare(before, after)
    rows = [row for row in table.rows() if row["kind"] == "kernel"]
    found = made.tables["kernels"]
    assert [dict(zip(found["columns"], row, strict=True))["delta_ns"] for row in found["rows"]] == [
        row["delta_ns"] for row in rows
    ]
    assert "range" in made.tables["ranges"]["columns"]
    assert set(made.tables) == {"totals", "categories", "phases", "kernels", "ranges"}
    assert made.head["verdict"] in table.heading.splitlines()[0]
    assert made.head["title"] == "before.sqlite → after.sqlite"


@pytest.mark.parametrize(
    ("given", "status", "problem"),
    [
        (["--html", "page.html", "--kind", "kernel"], 2, "--kind goes without --html"),
        (["--html", "page.html", "--format", "csv"], 2, "--format goes without --html"),
        (["--html", "after.sqlite"], 1, "this is the report itself; choose another --html"),
        (["--html", "."], 1, "a directory; name a file for --html"),
    ],
)
def test_a_comparison_that_cannot_be_written_is_one_line(
    given: list[str], status: int, problem: str, pair: tuple[Path, Path]
) -> None:
    folder = pair[0].parent
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = run_command("analysis.compare", *pair, *given, cwd=folder)
    assert (done.returncode, done.stdout) == (status, "")
    assert problem in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_gate_is_judged_all_the_same(pair: tuple[Path, Path]) -> None:
    file = pair[0].with_name("page.html")
    assert main([*map(str, pair[::-1]), "--html", str(file), "--fail-over", "5"]) == 3
    assert file.exists()
