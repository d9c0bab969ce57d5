"""What a selection keeps of a report, and what headings say of the rest."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from analysis import Report
from analysis.advice.advise import Advice
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Options, Selection, StepBounds
from analysis.compare.sides import side
from analysis.page.page import page
from analysis.show.errors import ReportError
from tests.made.reports.build_report import Call, Kernel, Memory, Range, make_report
from tests.made.tools.shared import report

ENGINE = 101
OTHER = 200


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """A warm-up and a step; autograd's thread has ranges, and its work, in the backward of each."""
    ranges, launched = [], []
    for name, begin in (("warmup", 0), ("step", 100)):
        ranges += [
            *(Range(name, begin, begin + 90), Range("forward", begin, begin + 30)),
            *(Range("ffn", begin + 5, begin + 10), Range("backward", begin + 40, begin + 70)),
            Range("ffn.backward", begin + 45, begin + 55, thread=ENGINE),
            Range("product", begin + 46, begin + 50, thread=ENGINE),
            Range("prefetch", begin + 60, begin + 99, thread=ENGINE + 1),
        ]
        launched += [
            Kernel("a", 1000 + begin, 1010 + begin, launch=begin + 6),
            Kernel("b", 1020 + begin, 1050 + begin, launch=begin + 47, thread=ENGINE),
        ]
    return make_report(tmp_path / "r.sqlite", ranges=ranges, kernels=launched)


@pytest.fixture
def ranks(tmp_path: Path) -> Path:
    """Two processes, each on its own GPU; the second has one step more."""
    ranges, launched = [], []
    for process, device, count in ((100, 0, 2), (OTHER, 1, 3)):
        for number in range(count):
            begin = 100 * number
            ranges.append(Range("step", begin, begin + 90, process=process))
            launched.append(
                Kernel("k", begin, begin + 50, device, process, launch=begin + 1, thread=process)
            )
    return make_report(tmp_path / "ranks.sqlite", ranges=ranges, kernels=launched)


def kept_ranges(path: Path, *exclude: str) -> list[str]:
    """Return the names of the ranges that count, each once."""
    with Report(path) as opened:
        chosen = Selected.of(opened, Selection(exclude))
        kept = chosen.attribution.ranges.take(chosen.ranges)
        return sorted({kept.names[number] for number in kept.name.tolist()})


def lines(path: Path, *exclude: str) -> tuple[str, ...]:
    """Return the lines of a heading on what counts."""
    with Report(path) as opened:
        return Selected.of_any(opened, Selection(exclude)).heading_lines


def test_ranges_of_autograds_thread_go_with_the_backward_they_are_in(engine: Path) -> None:
    assert kept_ranges(engine, "backward") == ["ffn", "forward", "prefetch", "step"]
    assert "ffn.backward" in kept_ranges(engine, "forward")
    # What goes on after `backward` has ended is none of it, though it began inside.
    assert kept_ranges(engine, "ffn.backward") == ["backward", "ffn", "forward", "prefetch", "step"]
    assert kept_ranges(engine, "none", "step") == [
        *("backward", "ffn", "ffn.backward", "forward", "prefetch", "product", "warmup"),
    ]


def test_ranges_and_work_that_are_left_out_are_the_same_part(engine: Path) -> None:
    with Report(engine) as opened:
        table = opened.ranges(exclude=["backward"]).set_index("range")
        assert table.loc["step", "kernel_ns"] == 10
        assert int(opened.kernels(exclude=["backward"])["total_ns"].sum()) == 10


@pytest.mark.parametrize(
    "exclude", [("none", "warmup"), ("none", "warm*"), ("warm*",), ("warmup",)]
)
def test_a_warm_up_that_is_named_is_left_out_and_told_once(
    engine: Path, exclude: tuple[str, ...]
) -> None:
    assert lines(engine, *exclude) == ("40 ns, 50.0 % of the work, was warm-up: left out",)
    assert "warmup" not in kept_ranges(engine, *exclude)


def test_each_name_is_told_with_what_it_takes_of_what_was_left(engine: Path) -> None:
    assert lines(engine, "backward", "backward", "ffn*", "forward")[1:] == (
        "backward left out: 30 ns, 37.5 % of the work",
        "ffn* left out: 10 ns, 12.5 % of the work",
        "forward left out: 0 ns, 0.0 % of the work",
    )


def test_without_kernels_a_heading_speaks_of_copies(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("warmup", 0, 90), Range("load", 100, 190)],
        memory=[Memory(1000, 1010, 8, 1), Memory(1100, 1130, 8, 2)],
        calls=[Call("cudaMemcpyAsync", 10, 11, 1), Call("cudaMemcpyAsync", 110, 111, 2)],
    )
    assert lines(path, "load") == (
        "10 ns, 25.0 % of the copies and sets, was warm-up: left out",
        "load left out: 30 ns, 75.0 % of the copies and sets",
    )


def test_one_name_need_not_be_put_into_a_list(engine: Path) -> None:
    assert Selection(exclude="backward").exclude == ("backward",)
    with Report(engine) as opened:
        assert opened.kernels(exclude="backward").equals(opened.kernels(exclude=["backward"]))


def test_a_range_that_another_thread_ended_holds_no_work(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("forward", 0, 90),
            Range("asynchronous", 0, 90, kind=60, end_thread=ENGINE),
        ],
        kernels=[Kernel("a", 100, 110, launch=5)],
    )
    with Report(path) as opened:
        chosen = Selected.of(opened, Selection(["asynchronous"]))
        assert chosen.work.all()
        assert chosen.ranges.tolist().count(False) == 1


@pytest.mark.parametrize("options", [Options(process=100), Options(device=0)])
def test_steps_are_those_of_the_processes_asked_for(ranks: Path, options: Options) -> None:
    with Report(ranks) as opened:
        whole = Selected.of(opened, Selection()).steps
        assert whole is not None
        assert whole.count == 3
        assert "have from 2 to 3 steps" in whole.notes[0]
        chosen = Selected.of(opened, Selection(**options))
        assert chosen.steps is not None
        assert (chosen.steps.count, chosen.steps.notes) == (2, ())
        one = side(opened, Selection(**options))
        assert (one.gpus, one.contents.count, one.notes) == (1, 2, ())
        assert one.contents.busy_ns.tolist() == [50, 50]
        with pytest.raises(ReportError, match="no such steps: there are 2"):
            Selected.of(opened, replace(Selection(**options), steps=(2, 3)))


@pytest.mark.parametrize("steps", [(0, 1), (1, None)])
def test_steps_are_counted_among_those_of_the_processes(ranks: Path, steps: StepBounds) -> None:
    with Report(ranks) as opened:
        assert (
            " of 2, process 100"
            in Selected.of(opened, Selection(steps=steps, process=100)).place_lines[0]
        )


def test_a_process_without_steps_has_none_to_choose(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 90), Range("load", 0, 90, process=OTHER)],
        kernels=[Kernel("a", 100, 110, launch=5)],
    )
    with (
        Report(path) as opened,
        pytest.raises(ReportError, match="no step ranges in the processes asked for"),
    ):
        Selected.of(opened, Selection(steps=(0, 1), process=OTHER))


def test_a_question_tells_a_bare_report_from_one_of_which_too_little_counts(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("forward", 0, 90), Range("softmax", 0, 20, payload=7)],
        kernels=[
            Kernel("softmax", 100, 110, launch=5),
            Kernel("ncclDevKernel_AllReduce_Sum_f32_RING_LL", 110, 120, launch=30),
        ],
    )
    for question in ("attention", "roofline", "overlap"):
        with Report(path) as opened:
            getattr(opened, question)()
            with pytest.raises(ReportError, match="in the part that counts; leave out less"):
                getattr(opened, question)(exclude=["forward"])


def test_the_page_of_ranges_alone_keeps_to_the_selection() -> None:
    with Report(report("nvtx-only-2022.4")) as opened:
        whole = page(opened)
        name = str(whole.tables[0].columns["range"][0])
        some = page(opened, exclude=[name])
        assert name not in list(some.tables[0].columns["range"])
        assert f"{name} left out" in some.lines
        with pytest.raises(ReportError, match="no NVTX range is called"):
            page(opened, exclude=["nothing of the kind"])


def test_the_page_says_that_the_time_of_gpus_has_what_is_left_out(engine: Path) -> None:
    with Report(engine) as opened:
        assert (
            "that is of all work in that time, of backward too"
            in page(opened, exclude=["backward"]).lines
        )
        assert page(opened, exclude=["*"]).advice == Advice(())


def test_a_range_inside_is_found_past_one_that_straddles_the_end(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            *(Range("forward", 0, 50), Range("load", 10, 100, kind=60), Range("linear", 20, 30)),
            Range("optimizer", 60, 80),
        ],
        kernels=[Kernel("a", 100, 110, launch=25), Kernel("b", 110, 120, launch=65)],
    )
    assert kept_ranges(path, "forward") == ["load", "optimizer"]


def test_a_range_of_a_thread_beside_takes_no_phase_with_it(engine: Path) -> None:
    with Report(engine) as opened:
        table = opened.phases(exclude=["prefetch"])
        assert set(table["phase"]) >= {"forward", "backward"}
        (shown,) = (
            each for each in page(opened, exclude=["prefetch"]).tables if "wall_ns" in each.columns
        )
        walls = dict(zip(shown.columns["phase"], shown.columns["wall_ns"], strict=True))
        assert (walls["forward"], walls["backward"]) == (30, 30)


def test_a_glob_takes_whole_steps_as_their_name_does(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            *(Range("step", 0, 90), Range("forward", 0, 30), Range("backward", 40, 80)),
            Range("step_x", 95, 99),
            Range("ffn", 5, 9, thread=ENGINE),
        ],
        kernels=[
            *(Kernel("a", 100, 110, launch=5), Kernel("b", 110, 120, launch=6, thread=ENGINE)),
            Kernel("c", 120, 130, launch=96),
        ],
    )
    with Report(path) as opened:
        for name, kept in (("step", [False, False, True]), ("step*", [False] * 3)):
            assert Selected.of(opened, Selection([name])).work.tolist() == kept
    assert kept_ranges(path, "step*") == []


def test_a_gpu_that_only_copied_was_idle_for_the_rest(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 50), Range("step", 50, 100)],
        kernels=[Kernel("a", 10, 20, launch=5)],
        memory=[Memory(10, 20, 8, 9)],
        calls=[Call("cudaMemcpyAsync", 6, 7, 9)],
    )
    with Report(path) as opened:
        assert side(opened, Selection(device=0)).idle_share == pytest.approx(0.9)
        some = side(opened, Selection(["step"]))
        assert math.isnan(some.idle_share)
        assert "wall time is whole: what is left out is in it (step)" in some.notes


def test_a_warm_up_inside_a_step_is_told_of_that_step(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 90), Range("warmup", 30, 40), Range("step", 100, 190)],
        kernels=[Kernel(str(at), 200 + at, 201 + at, launch=at) for at in (5, 35, 50, 105)],
    )
    with Report(path) as opened:
        for number, words in ((0, ("1 ns, 33.3 % of the work, was warm-up: left out",)), (1, ())):
            chosen = Selected.of(opened, Selection(steps=(number, number + 1)))
            assert chosen.warmup_lines == words


def test_answers_do_not_take_what_is_left_out_for_what_is_not_there(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("warmup", 0, 90), Range("forward", 5, 50)],
        kernels=[Kernel("a", 100, 110, launch=10), Kernel("b", 120, 130, launch=115)],
    )
    with Report(path) as opened:
        text = " ".join(opened.answers()["answer"])
        assert "The part that counts has no forward" in text
        assert "In the part that counts (it has no forward range)" in text
        assert "forward was open" in " ".join(opened.answers(exclude=["none"])["answer"]).lower()


def test_steps_that_are_left_out_are_no_steps(engine: Path) -> None:
    with Report(engine) as opened:
        assert any(line.startswith("step, recorded") for line in page(opened).lines)
        for exclude in (["step"], ["s*"]):
            assert Selected.of(opened, Selection(exclude)).steps is None
            lines = page(opened, exclude=exclude).lines
            assert not any(line.startswith("step, recorded") for line in lines)
