"""One selection: whatever is asked of a report with a warm-up, the same work counts."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from analysis import Report
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Options, Selection
from analysis.measures.gpu_time_split import gpu_time_splits
from analysis.measures.step_budget import FIRST_CAUSE, PARTS
from analysis.measures.window import MeasuredWindow
from analysis.page.page import page
from analysis.show.render import percent
from tests.made.reports.build_report import Kernel, Range, make_report
from tests.made.tools import shared
from tests.made.tools.shared import ROOT

ENGINE = 101
WITH_WARMUP = ("forward-2.7b-a100", "sample", "built")
Rows = list[dict[str, Any]]


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """Two warm-up steps and three steps, their backward pass launched by another thread."""
    ranges, launched = [], []
    for number, name in enumerate(["warmup", "warmup", "step", "step", "step"]):
        begin, device = 100 * number, 10_000 + 1000 * number
        ranges += [
            Range(name, begin, begin + 90),
            Range("forward", begin, begin + 30),
            Range("softmax", begin + 10, begin + 20),
            Range("backward", begin + 40, begin + 70),
            Range("optimizer", begin + 75, begin + 88),
        ]
        launched += [
            Kernel("sgemm", device, device + 11 + number, launch=begin + 5),
            Kernel("softmax", device + 20, device + 23, launch=begin + 15),
            Kernel("sgemm", device + 40, device + 70, launch=begin + 50, thread=ENGINE),
            Kernel("adam", device + 80, device + 85 + number, launch=begin + 80),
        ]
    return make_report(tmp_path / "r.sqlite", ranges=ranges, kernels=launched)


@pytest.fixture(params=WITH_WARMUP)
def path(request: pytest.FixtureRequest, built: Path) -> Path:
    """A report with a warm-up."""
    if request.param == "built":
        return built
    if request.param == "sample":
        return ROOT / "nsys_reports" / "sample.sqlite"
    return shared.report(request.param)


def rows(report: Report, question: str, *others: Report, **options: Any) -> Rows:
    """Return the rows of an answer."""
    answer: Rows = getattr(report, question)(*others, **options).to_dict("records")
    return answer


def test_kernels_and_compare_agree_on_every_kernel(path: Path) -> None:
    with Report(path) as report, Report(path) as same:
        ranked = {row["name"]: row for row in rows(report, "kernels")}
        compared = [
            row for row in rows(report, "compare", same) if row["kind"] in {"kernel", "operator"}
        ]
        (wall,) = (row for row in rows(report, "compare", same) if row["name"] == "wall")
    steps = round(wall["total_before_ns"] / wall["before_ns"])
    assert {name for row in compared for name in row["recorded_before"].split(" + ")} == {*ranked}
    for row in compared:
        names = row["recorded_before"].split(" + ")
        total = sum(ranked[name]["total_ns"] for name in names)
        assert abs(row["before_ns"] * steps - total) <= steps
        assert row["total_before_ns"] == total


def test_categories_are_the_same_of_kernels_phases_and_compare(path: Path) -> None:
    with Report(path) as report, Report(path) as same:
        ranked = {row["name"]: row["total_ns"] for row in rows(report, "kernels", by="category")}
        by_phase: Counter[str] = Counter()
        for row in rows(report, "phases"):
            if row["phase"] == "all":
                by_phase[row["category"]] += row["kernel_ns"]
        compared = {
            row["name"]: row["total_before_ns"]
            for row in rows(report, "compare", same)
            if row["kind"] == "category"
        }
    assert dict(by_phase) == ranked == compared


def test_the_page_shows_what_the_questions_answer(path: Path) -> None:
    with Report(path) as report:
        shown = {table.name: table.rows() for table in page(report, top=10_000).tables}
        ranked = {row["name"]: row["total_ns"] for row in rows(report, "kernels")}
        categories = {
            row["name"]: row["total_ns"] for row in rows(report, "kernels", by="category")
        }
        phases: defaultdict[str, int] = defaultdict(int)
        for row in rows(report, "phases"):
            phases[row["phase"]] += row["kernel_ns"]
    assert {row["name"]: row["total_ns"] for row in shown["top_kernels"]} == ranked
    assert {row["name"]: row["total_ns"] for row in shown["categories"]} == categories
    on_page = {row["phase"]: row["kernel_ns"] for row in shown["phases"] if row["kernel_ns"]}
    assert on_page == {phase: time for phase, time in phases.items() if phase != "all"}
    assert sum(map(int, on_page.values())) == sum(ranked.values())


def test_ranges_leave_out_the_same_warm_up(path: Path) -> None:
    with Report(path) as report:
        counted = rows(report, "ranges", instances=True)
        every = rows(report, "ranges", instances=True, exclude=["none"])
        outermost = sum(row["self_ns"] for row in counted)
        whole = sum(row["total_ns"] for row in rows(report, "kernels"))
        placed = sum(
            row["kernel_ns"] for row in rows(report, "coverage") if row["relation"] == "own"
        )
    windows = [
        (row["start_ns"], row["start_ns"] + row["wall_ns"])
        for row in every
        if row["range"] in {"warmup", "warm-up", "warm_up", "Warm-up"}
    ]
    assert windows
    kept = [
        row["start_ns"]
        for row in every
        if not any(begin <= row["start_ns"] < end for begin, end in windows)
    ]
    assert [row["start_ns"] for row in counted] == kept
    assert outermost == placed <= whole


def test_ranges_and_the_roofline_count_the_same_flops(tmp_path: Path) -> None:
    """Of a step also those that autograd's thread launches meanwhile; none of the warm-up's."""
    ranges = []
    for name, begin in (("warmup", 10), ("step", 110)):
        ranges += [
            Range(name, begin, begin + 90),
            Range("forward", begin, begin + 30),
            Range("softmax", begin + 10, begin + 20, payload=5),
            Range("backward", begin + 40, begin + 70),
            Range("softmax.backward", begin + 45, begin + 60, thread=ENGINE, payload=8),
        ]
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("loop", 0, 210), *ranges],
        kernels=[
            Kernel("softmax", 1000, 1010, launch=125),
            Kernel("softmax", 1010, 1020, launch=160, thread=ENGINE),
        ],
    )
    with Report(path) as report:
        of_ranges = {row["range"]: row["flops"] for row in rows(report, "ranges")}
        of_roofline = {row["range"]: row["flops"] for row in rows(report, "roofline")}
    assert (
        of_ranges
        == of_roofline
        == {
            "loop": 5,
            "step": 13,
            "forward": 5,
            "backward": 8,
            "softmax": 5,
            "softmax.backward": 8,
        }
    )


@pytest.mark.parametrize("chosen", [Options(), Options(exclude=["attention"])])
@pytest.mark.parametrize("name", ["forward-2.7b-a100", "train-step-small-a100"])
def test_gaps_budget_page_and_compare_look_at_the_same_time(name: str, chosen: Options) -> None:
    """Their idle time is the same to the nanosecond, and is of the same stretch of time."""
    with Report(shared.report(name)) as report, Report(shared.report(name)) as same:
        spent: Counter[str] = Counter()
        for row in rows(report, "budget", **chosen):
            spent[row["part"]] += row["ns"]
        listed = rows(report, "gaps", min_gap_us=0, **chosen)
        compared = {row["name"]: row["before_ns"] for row in rows(report, "compare", same)}
        on_page = page(report, **chosen).verdict
        (split,) = gpu_time_splits(MeasuredWindow(Selected.of(report, Selection(**chosen))))
    idle = sum(spent[part] for part in PARTS[FIRST_CAUSE:])
    assert sum(row["duration_ns"] for row in listed) == idle
    assert spent.total() == split.wall_ns == compared["wall"]
    assert f"idle {percent(split.idle_ns / split.wall_ns)}" in on_page
    if not chosen:
        assert split.idle_ns == idle
        assert compared["wall"] - compared["busy"] == idle
