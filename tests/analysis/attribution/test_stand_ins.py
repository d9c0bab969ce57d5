"""What stands in for phases where there are none: the steps, else the outermost ranges."""

from pathlib import Path
from typing import Any

import pytest

from analysis import Report, kernels, phases
from analysis.attribution import work_phases
from analysis.attribution.launches import Attribution
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Selection
from profiling import names
from tests.made.reports.build_report import Kernel, Range, make_report
from tests.made.tools import shared

ENGINE = 101


def names_of(path: Path, **chosen: Any) -> list[tuple[str, int]]:
    """Return the names and times of work that is selected; warm-up counts unless it is left out."""
    exclude = ("none", *chosen.pop("exclude", ()))
    with Report(path) as report:
        table = kernels.ranking(report, exclude=exclude, **chosen)
    return [(str(row["name"]), int(row["total_ns"])) for row in table.rows()]


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    """Steps without phases, whose work autograd's thread launches in ranges of its own."""
    made = [
        Range("ProfilerStep#1", 100, 190),
        Range("CompiledFunction", 105, 130),
        Range("CompiledFunctionBackward", 140, 170, thread=ENGINE),
        Range("ProfilerStep#2", 190, 280),
        Range("CompiledFunctionBackward", 230, 260, thread=ENGINE),
        Range("save", 300, 310),
    ]
    launched = [
        Kernel("forward", 1000, 1001, launch=110),
        Kernel("backward", 1001, 1003, launch=150, thread=ENGINE),
        Kernel("backward", 1003, 1007, launch=240, thread=ENGINE),
        Kernel("stray", 1007, 1015, launch=270, thread=ENGINE),
        Kernel("save", 1015, 1031, launch=305),
    ]
    return make_report(tmp_path / "r.sqlite", ranges=made, kernels=launched)


def test_without_phases_a_step_has_what_any_thread_launched_in_it(
    compiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Report(compiled) as report:
        table = phases.by_category(report)
    found = {row["phase"]: 0 for row in table.rows()}
    for row in table.rows():
        found[row["phase"]] += int(row["kernel_ns"])
    assert found == {"step": 1 + 2 + 4 + 8, "outside steps": 16, "all": 31}
    assert work_phases.ONLY_STEPS in table.notes
    assert "3 launches placed by the thread that waited" in table.heading
    assert names_of(compiled, within="step") == names_of(compiled, steps=(None, None))
    assert names_of(compiled, within="ProfilerStep#2") == names_of(compiled, steps=(1, 2))
    assert names_of(compiled, within="CompiledFunctionBackward") == [("backward", 6)]


def test_a_step_has_what_a_phase_of_another_thread_launched(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 90), Range("backward", 40, 70, thread=ENGINE)],
        kernels=[Kernel("k", 100, 103, launch=50, thread=ENGINE)],
    )
    assert names_of(path, within="step") == names_of(path, steps=(0, 1)) == [("k", 3)]


def test_steps_in_warm_up_alone_are_no_stand_in_for_phases(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("warmup", 0, 50), Range("step", 5, 45), Range("loop", 60, 90)],
        kernels=[Kernel("a", 100, 101, launch=10), Kernel("b", 101, 103, launch=70)],
    )
    with Report(path) as report:
        assert work_phases.phases_of_work(Attribution.of(report)).labels == ["loop", "other"]


def test_the_steps_of_a_real_trace_have_all_that_was_launched_in_them() -> None:
    """Against SQL that compares each launch with each step, whatever the thread."""
    in_a_step = """
        SELECT count(*) AS calls, sum(end - start) AS total_ns FROM CUPTI_ACTIVITY_KIND_KERNEL k
        WHERE EXISTS (SELECT 1 FROM CUPTI_ACTIVITY_KIND_RUNTIME r, NVTX_EVENTS s
            LEFT JOIN StringIds i ON i.id = s.textId
            WHERE r.correlationId = k.correlationId
            AND coalesce(s.text, i.value) GLOB 'ProfilerStep#*'
            AND s.start <= r.start AND r.start < s.end)"""
    with Report(shared.trace("gpt-8xh100-rank0")) as report:
        ((calls,), (time,)) = report.columns(in_a_step).values()
        found = phases.by_category(report).rows()
        steps_ = kernels.ranking(report, by="category", steps=(0, 4)).rows()
        within = kernels.ranking(report, by="category", within="step").rows()
    step = [row for row in found if row["phase"] in names.PHASES]  # other has no recorded launch
    assert sum(int(row["calls"]) for row in step) == calls
    assert sum(int(row["kernel_ns"]) for row in step) == time
    assert steps_ == within
    assert (calls, round(time / 1e6, 1)) == (2674, 160.7)


@pytest.mark.parametrize(
    ("name", "outermost"),
    [
        ("forward-2.7b-a100", "benchmark_loop"),
        ("fsdp-2xh100-after", "FlashAttnFunc"),
        ("sliced-2xh100", "aten::linear"),
    ],
)
def test_real_reports_without_steps_show_their_outermost_ranges(name: str, outermost: str) -> None:
    with Report(shared.report(name)) as report:
        table = phases.by_category(report)
    assert work_phases.NO_PHASES in table.notes
    assert table.rows()[0]["phase"] == outermost


def test_ranges_that_stand_in_for_phases_are_in_order_of_their_kernels_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The longest on the host launches least; none of them may vanish into `other`."""
    count = work_phases.MOST_LISTED + 3
    made = [Range(f"r{place}", 1000 * place, 1000 * place + 500 - place) for place in range(count)]
    launched = [
        Kernel("k", 10**6 + 1000 * place, 10**6 + 1000 * place + place + 1, launch=1000 * place + 9)
        for place in range(count)
    ]
    launched.append(Kernel("orphan", 10**7, 10**7 + 7, launch=999))
    path = make_report(tmp_path / "r.sqlite", ranges=made, kernels=launched)
    with Report(path) as report:
        rows = phases.by_category(report).rows()
        overview = phases.overview(Selected.of(report, Selection()))
    times = {row["phase"]: row["kernel_ns"] for row in rows}
    assert list(times) == [*(f"r{place}" for place in reversed(range(count))), "other", "all"]
    assert times["other"] == 7
    assert overview is not None
    last = [(row["phase"], row["instances"], row["kernel_ns"]) for row in overview.rows()[-2:]]
    assert last == [("(3 more ranges)", 3, 1 + 2 + 3), ("other", 0, 7)]
    assert phases.main([str(path)]) == 0
    said = capsys.readouterr()
    assert "(3 more ranges)" in said.out
    assert "(3 more ranges) took 6 ns together" in said.err
    assert phases.main([str(path), "--format", "csv"]) == 0
    assert "r0,other,1,1," in capsys.readouterr().out


def test_one_range_too_many_keeps_its_own_row(tmp_path: Path) -> None:
    count = work_phases.MOST_LISTED + 1
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range(f"r{place}", 10 * place, 10 * place + 5) for place in range(count)],
        kernels=[Kernel("k", 1000, 1001, launch=2)],
    )
    with Report(path) as report:
        found = work_phases.phases_of_work(Attribution.of(report))
    assert found.folded() is found
    assert found.rest is None
