import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from analysis import Report
from analysis.recorded import ranges as nvtx
from analysis.recorded.ranges import Ranges
from tests.made.reports.build_report import Kernel, Range, make_report
from tests.made.tools import shared


def loaded(path: Path) -> Ranges:
    """Return the ranges of a report."""
    with Report(path) as report:
        return nvtx.load(report)


def named(found: Ranges) -> list[str]:
    """Return the name of each range."""
    return [found.names[number] for number in found.name.tolist()]


def test_ranges_are_ordered_by_thread_then_start_the_longer_first(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("late", 30, 40),
            Range("short", 10, 20),
            Range("long", 10, 50),
            Range("other", 0, 5, thread=99),
        ],
    )
    found = loaded(path)
    assert named(found) == ["other", "long", "short", "late"]
    assert found.names == sorted(found.names)
    assert found.wall_ns.tolist() == [5, 40, 10, 10]
    assert found.process.tolist() == [100] * 4


def test_registered_names_texts_and_none_are_told_apart(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("text", 0, 9),
            Range("registered", 1, 8, registered=True),
            Range(None, 2, 7),
            Range("text", 3, 6, registered=True),
        ],
    )
    assert named(loaded(path)) == ["text", "registered", "", "text"]


def test_an_id_of_no_string_leaves_the_text(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite", ranges=[Range("gone", 0, 9, registered=True), Range("x", 1, 8)]
    )
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM StringIds")
        connection.commit()
    assert named(loaded(path)) == ["", "x"]


def test_an_unclosed_range_lasts_to_the_last_instant_of_any(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", ranges=[Range("open", 4, None), Range("x", 1, 30)])
    found = loaded(path)
    assert dict(zip(named(found), found.end_ns.tolist(), strict=True)) == {"x": 30, "open": 30}
    assert found.unclosed == 1


def test_style_and_an_end_on_another_thread_are_known(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("push", 0, 9),
            Range("start", 1, 8, kind=60),
            Range("elsewhere", 2, 7, kind=60, end_thread=101),
            Range("same", 3, 6, kind=60, end_thread=100),
        ],
    )
    found = loaded(path)
    assert found.start_end.tolist() == [False, True, True, True]
    assert found.elsewhere.tolist() == [False, False, True, False]
    assert named(found.take(found.elsewhere)) == ["elsewhere"]


def test_marks_and_domains_are_no_ranges(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("mark", 5, None, kind=34), Range("x", 0, 9, domain="D", payload=7)],
    )
    found = loaded(path)
    assert (named(found), found.payload.tolist(), found.unclosed) == (["x"], [7], 0)


def test_a_report_without_nvtx_has_no_ranges(tmp_path: Path) -> None:
    assert not len(loaded(make_report(tmp_path / "r.sqlite", kernels=[Kernel("k", 0, 1)])))


@pytest.mark.parametrize(
    ("name", "ranges", "names"),
    [("registered-strings-cupy", 786, 222), ("train-step-small-a100", 17334, 17279)],
)
def test_every_range_of_a_real_report_is_there(name: str, ranges: int, names: int) -> None:
    found = loaded(shared.report(name))
    assert (len(found), len(found.names)) == (ranges, names)


def test_many_texts_are_coded_like_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_report(
        tmp_path / "r.sqlite", ranges=[Range(f"n{at % 3}", at, at + 1) for at in range(9)]
    )
    few = named(loaded(path))
    monkeypatch.setattr("analysis.source.database.FEW_ROWS", 2)
    monkeypatch.setattr("analysis.source.database.BATCH_ROWS", 4)
    assert named(loaded(path)) == few == ["n0", "n1", "n2"] * 3
