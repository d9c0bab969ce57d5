"""Gaps: when a GPU was idle, what for, and where the host was."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import Report, gaps
from analysis.arithmetic.union import IntervalUnion
from analysis.show import cli
from analysis.show.errors import ReportError
from tests.made.reports.build_device import Copy, Overhead, Set, add_device_work
from tests.made.reports.build_report import Graph, Kernel, Operator, Range, make_report
from tests.made.tools import shared
from tests.made.tools.nsys_tool import rule_rows

Row = tuple[int, int, str, str]


def found(path: Path, *exclude: str, device: int | None = None) -> list[Row]:
    """Return start, duration, cause and range of each gap, in order of time."""
    with Report(path) as report:
        table = gaps.gaps(report, min_gap_us=0, device=device, exclude=exclude)
    rows = table.rows()
    return sorted(
        (int(row["start_ns"]), int(row["duration_ns"]), str(row["cause"]), str(row["range"]))
        for row in rows
    )


def test_the_whole_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[
            Kernel("a", 0, 100, launch=0),
            Kernel("b", 130, 200, launch=120),
            Kernel("c", 210, 300, launch=90),
        ],
        ranges=[Range("forward", 0, 50), Range("step", 0, 500), Range("loss", 100, 125)],
    )
    assert gaps.main([str(path), "--min-gap", "0", "--format", "csv"]) == 0
    assert capsys.readouterr().out == (
        "device,start_ns,duration_ns,cause,range,call,symbol,process,module,other_threads\n"
        "0,100,30,host,loss,,,100,,\n"
        "0,200,10,launch_latency,step,,,100,,\n"
    )


def test_the_heading_adds_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[
            Kernel("a", 0, 60_000, launch=0),
            Kernel("b", 90_000, 95_000, launch=70_000),
            Kernel("c", 100_000, 110_000, launch=1),
        ],
    )
    assert gaps.main([str(path)]) == 0
    said = capsys.readouterr()
    assert "GPU 0: idle 35.00 µs of 110.0 µs (31.8 %), in 2 gaps\n" in said.out
    assert "by cause: host 85.7 % · launch_latency 14.3 %\n" in said.out
    assert (
        said.err == "note: 1 gap under 10 µs, 5.000 µs in all, not listed; --min-gap 0 lists all\n"
    )


def test_overlapping_streams_leave_no_gap(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[
            Kernel("a", 0, 100),
            Kernel("b", 10, 20),
            Kernel("c", 90, 150),
            Kernel("d", 150, 160),
        ],
    )
    assert found(path) == []


def test_copies_sets_and_graph_replays_are_busy(tmp_path: Path) -> None:
    path = add_device_work(
        make_report(
            tmp_path / "r.sqlite",
            kernels=[Kernel("a", 0, 10), Kernel("b", 95, 100)],
            graphs=[Graph(1, 40, 90)],
        ),
        copies=[Copy(12, 20)],
        sets=[Set(25, 38)],
    )
    assert [row[:2] for row in found(path)] == [(10, 2), (20, 5), (38, 2), (90, 5)]


def test_devices_and_processes_are_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[
            Kernel("a", 0, 10),
            Kernel("a", 30, 40),
            Kernel("b", 5, 15, device=1),
            Kernel("b", 16, 20, device=1),
            Kernel("c", 10, 20, process=200),
            Kernel("c", 27, 30, process=200),
        ],
    )
    assert [row[:2] for row in found(path)] == [(10, 20), (15, 1), (20, 7)]
    assert [row[:2] for row in found(path, device=1)] == [(15, 1)]
    assert gaps.main([str(path), "--device", "0"]) == 0
    said = capsys.readouterr().out
    assert "GPU 0 in process 100: idle 20 ns of 40 ns (50.0 %), in 1 gap\n" in said
    assert "GPU 0 in process 200: idle 7 ns of 20 ns (35.0 %), in 1 gap\n" in said
    assert "GPU 1" not in said


def test_the_profilers_own_overhead_counts_as_busy_on_all_devices_of_its_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = add_device_work(
        make_report(
            tmp_path / "r.sqlite",
            kernels=[
                *(Kernel("a", 0, 10, device=device) for device in (0, 1)),
                *(Kernel("b", 90, 99, device=device) for device in (0, 1)),
                Kernel("c", 0, 10, process=200),
                Kernel("c", 90, 99, process=200),
            ],
        ),
        overhead=[
            Overhead("CUDA profiling data flush on cudaProfilerStop", 20, 70),
            Overhead("TLS allocation", 72, 80),
        ],
    )
    assert [row[:2] for row in found(path)] == [(10, 10), (10, 10), (10, 80), (70, 20), (70, 20)]
    assert gaps.main([str(path)]) == 0
    assert "100 ns of the profiler's own overhead count as busy" in capsys.readouterr().err


def test_the_range_is_that_of_the_launching_thread_else_of_its_process(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[
            Kernel("a", 0, 100, launch=0),
            Kernel("b", 200, 300, launch=190, thread=101),
            Kernel("c", 400, 500, launch=390, thread=102),
        ],
        ranges=[
            Range("step", 0, 1000),
            Range("backward", 90, 600),
            Range("softmax.backward, seq = 7", 100, 260, thread=101),
            Range("other process", 0, 999, process=200),
        ],
    )
    assert found(path) == [
        (100, 100, "host", "softmax.backward"),
        (300, 100, "host", "backward"),
    ]


def test_gaps_in_warm_up_are_said_and_can_be_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("a", 0, 10), Kernel("b", 30, 50), Kernel("c", 70, 80)],
        ranges=[Range("warmup", 0, 40), Range("step", 40, 90)],
    )
    assert [row[:2] for row in found(path, "none")] == [(10, 20), (50, 20)]
    assert [row[:2] for row in found(path)] == [(50, 20)]
    assert gaps.main([str(path), "--exclude", "none"]) == 0
    assert "1 gap, 20 ns, began in warm-up: included\n" in capsys.readouterr().out
    assert gaps.main([str(path)]) == 0
    assert "1 gap, 20 ns, began in warm-up: left out\n" in capsys.readouterr().out


def test_what_is_left_out_counts_neither_as_idle_nor_as_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("a", 10, 20), Kernel("b", 45, 60), Kernel("c", 80, 110)],
        ranges=[Range("warmup", 0, 40), Range("step", 40, 120)],
    )
    assert gaps.main([str(path), "--exclude", "warmup"]) == 0
    said = capsys.readouterr()
    # From 40 to 110: of the gap from 20 to 45 what lies after the warm-up.
    assert "GPU 0: idle 25 ns of 70 ns (35.7 %), in 2 gaps\n" in said.out
    assert "1 gap, 20 ns, began in warm-up: left out\n" in said.out
    assert "a gap that reaches beyond what counts is listed by its part in it" in said.err


def test_idle_time_before_the_warm_up_does_not_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("a", 0, 10), Kernel("b", 30, 60), Kernel("c", 65, 100)],
        ranges=[Range("warmup", 20, 50)],
    )
    assert gaps.main([str(path), "--min-gap", "0"]) == 0
    said = capsys.readouterr().out
    assert "GPU 0: idle 5 ns of 50 ns (10.0 %), in 1 gap\n" in said
    assert "20 ns of idle time before the end of the warm-up: left out\n" in said


def test_idle_time_of_a_warm_up_between_others_is_left_out(tmp_path: Path) -> None:
    """As in a script that times one size after the other, each with its own warm-up."""
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[
            *(Kernel("a", at, at + 10, launch=at) for at in (0, 50, 65, 105, 150)),
            Kernel("a", 180, 190, launch=180),
        ],
        ranges=[Range("warmup", 0, 40), Range("warmup", 100, 140)],
    )
    with Report(path) as report:
        table = gaps.gaps(report, min_gap_us=0)
    # From 40 on; the gap from 115 to 150 began in the second warm-up, that from 75 before it.
    assert sorted(table.columns["start_ns"]) == [40, 60, 75, 160]
    assert "idle 65 ns of 105 ns" in table.heading
    assert {(int(row["start_ns"]), int(row["duration_ns"])) for row in table.rows()} == {
        *((40, 10), (60, 5), (75, 30), (160, 20))
    }


@pytest.mark.parametrize(
    ("marks", "outside"),
    [
        ([Range("step", 100, 200), Range("step", 200, 300)], "before and after the steps"),
        ([Range("forward", 100, 200), Range("backward", 200, 300)], "before and after the phases"),
    ],
)
def test_idle_time_outside_the_steps_is_told_and_not_listed(
    marks: list[Range], outside: str, tmp_path: Path
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("k", at, at + 50, launch=at) for at in (0, 100, 200, 400)],
        ranges=marks,
    )
    with Report(path) as report:
        table = gaps.gaps(report, min_gap_us=0)
        every = gaps.gaps(report, min_gap_us=0, exclude=["none"])
    assert list(table.columns["start_ns"]) == [150, 250]
    assert "idle 100 ns of 200 ns" in table.heading
    assert f"150 ns of idle time {outside}: left out" in table.counted
    assert sorted(every.columns["start_ns"]) == [50, 150, 250]
    assert "left out" not in " ".join(every.counted)


def test_the_gaps_of_a_step_lie_in_it(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("a", 0, 10), Kernel("b", 30, 60), Kernel("c", 80, 90)],
        ranges=[Range("step", 0, 20), Range("step", 20, 100)],
    )
    with Report(path) as report:
        table = gaps.gaps(report, min_gap_us=0, steps=(1, 2))
        whole = gaps.gaps(report, min_gap_us=0)
    assert list(table.columns["start_ns"]) == [60, 20]
    assert list(table.columns["duration_ns"]) == [20, 10]
    cut = "a gap that reaches beyond what counts is listed by its part in it"
    assert cut in table.notes
    assert cut not in whole.notes


def test_what_leaves_a_gap_out_is_said(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("a", 0, 10), Kernel("b", 30, 60), Kernel("c", 80, 90)],
        ranges=[Range("prefetch", 5, 20, thread=102), Range("step", 0, 100)],
    )
    with Report(path) as report:
        table = gaps.gaps(report, min_gap_us=0, exclude=["prefetch"])
    assert list(table.columns["start_ns"]) == [60]
    words = "a gap is left out where prefetch was open as it began, on any thread of its process"
    assert words in table.notes


def test_that_there_is_no_warm_up_to_leave_out_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(tmp_path / "r.sqlite", kernels=[Kernel("a", 0, 10), Kernel("b", 30, 60)])
    assert gaps.main([str(path), "--exclude", "warmup"]) == 0
    assert "no range is a warm-up: none is left out" in capsys.readouterr().out


def test_idle_time_on_a_real_report_is_of_the_time_after_the_warm_up() -> None:
    """In forward-2.7b the weights are copied for 3.9 s, and the warm-up takes 962 ms."""
    with Report(shared.report("forward-2.7b-a100")) as report:
        table = gaps.gaps(report)
    assert "idle 7.214 ms of 2.525 s (0.3 %)" in table.heading
    assert "770.7 ms of idle time before the end of the warm-up: left out" in table.counted


@pytest.mark.parametrize("form", cli.WITH_HEADING)
def test_people_see_starts_since_the_first_work(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    late = 156_000_000_000
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[
            Kernel("a", late, late + 10_000),
            Kernel("b", late + 40_000, late + 1_200_000),
            Kernel("c", late + 1_230_000, late + 1_240_000),
        ],
    )
    assert gaps.main([str(path), "--format", form]) == 0
    said = capsys.readouterr().out
    assert "start: since the first work, 156.0 s into the recording" in said
    assert "0.010 ms" in said
    assert "1.200 ms" in said
    assert "156,0" not in said


def test_a_cpu_run_needs_a_gpu(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", operators=[Operator("aten::mm", 0, 9, 9)])
    with Report(path) as report, pytest.raises(ReportError, match="no GPU work"):
        gaps.gaps(report)


@pytest.mark.parametrize("wrong", ["-1", "nan", "inf", "long"])
def test_a_threshold_that_is_no_time_is_wrong_usage(wrong: str) -> None:
    with pytest.raises(SystemExit) as ended:
        gaps.main(["r.sqlite", f"--min-gap={wrong}"])
    assert ended.value.code == 2


INTERVALS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 10)), min_size=1, max_size=20)


@given(INTERVALS, st.tuples(st.integers(-5, 60), st.integers(0, 30)))
def test_a_cover_is_what_looking_at_every_instant_gives(
    intervals: list[tuple[int, int]], window: tuple[int, int]
) -> None:
    start, length = np.array(intervals, np.int64).T
    cover = IntervalUnion.of(start, start + length)
    instants = {at for begin, length in intervals for at in range(begin, begin + length)}
    low, high = window[0], window[0] + window[1]
    expected = sum(at in instants for at in range(low, high))
    assert cover.within(np.array([low]), np.array([high])).tolist() == [expected]
    assert cover.busy_ns == len(instants)
    assert all(np.diff(np.stack(cover.gaps), axis=0)[0] > 0)


KERNELS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 8), st.integers(0, 60), st.integers(0, 1)),
    min_size=1,
    max_size=12,
)


@given(KERNELS)
def test_gaps_and_causes_are_what_looking_at_every_instant_gives(
    drawn: list[tuple[int, int, int, int]],
) -> None:
    kernels = [Kernel("k", at, at + size, device, launch=call) for at, size, call, device in drawn]
    expected = []
    for device in {kernel.device for kernel in kernels}:
        mine = [kernel for kernel in kernels if kernel.device == device]
        busy = {at for kernel in mine for at in range(kernel.start, kernel.end)}
        for start in (at + 1 for at in busy if at + 1 not in busy):
            later = [kernel for kernel in mine if kernel.start >= start]
            if later:
                following = min(later, key=lambda kernel: (kernel.start, kernel.launch))
                late = (following.launch or 0) > start
                cause = "host" if late else "launch_latency"
                expected.append((start, following.start - start, cause, ""))
    with TemporaryDirectory() as folder:
        assert found(make_report(Path(folder) / "r.sqlite", kernels=kernels)) == sorted(expected)


@pytest.mark.parametrize("name", [*shared.WITH_KERNELS])
def test_long_gaps_are_those_of_nvidias_rule(name: str, tmp_path: Path) -> None:
    """With its own default of 500 ms, and at 1 ms; graph replays it takes for idle time."""
    for threshold in (500, 1):
        rule = f"gpu_gaps:rows=-1:gap={threshold}"
        theirs = [
            tuple(int(row[field]) for field in ("Start (ns)", "Duration (ns)", "PID", "Device ID"))
            for row in rule_rows(shared.report(name), rule, tmp_path)
        ]
        with Report(shared.report(name)) as report:
            rows = gaps.gaps(report, min_gap_us=threshold * 1000, exclude=("none",)).rows()
        fields = ("start_ns", "duration_ns", "process", "device")
        ours = [tuple(int(row[field]) for field in fields) for row in rows]
        if name == "cuda-graphs-a100":
            assert ours == []
            assert len(theirs) == 9
        else:
            assert ours == theirs


def several(tmp_path: Path) -> Path:
    """Write a report of gaps of 30, 50 and 20 µs, two for a range, one shorter than is listed."""
    starts = [0, 130_000, 280_000, 400_000, 505_000]
    return make_report(
        tmp_path / "r.sqlite",
        kernels=[
            Kernel("k", at, end, launch=max(at - 5_000, 0))
            for at, end in zip(starts, [100_000, 230_000, 380_000, 500_000, 600_000], strict=True)
        ],
        ranges=[Range("load", 90_000, 270_000)],
    )


def test_gaps_are_summed_up_by_what_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(several(tmp_path)), "--by", "cause,range"]
    assert gaps.main([*words, "--format", "csv"]) == 0
    # In all 105 µs are idle: 30 + 50 in the range, 20 outside, and 5 launched in time.
    assert capsys.readouterr().out.splitlines() == [
        "cause,range,count,total_ns,share,largest_ns",
        f"host,load,2,80000,{80 / 105},50000",
        f"host,,1,20000,{20 / 105},20000",
        f"launch_latency,,1,5000,{5 / 105},5000",
    ]
    assert gaps.main(words) == 0
    assert "(no range)" in capsys.readouterr().out


def test_short_gaps_are_summed_up_too_unless_told_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(several(tmp_path)), "--by", "cause", "--format", "csv"]
    assert gaps.main([*words, "--min-gap", "10"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[1:] == [f"host,3,100000,{100 / 105},50000"]
    assert "1 gap under 10 µs, 5.000 µs in all, not listed" in said.err


def test_a_sum_by_every_column_adds_up_to_the_idle_time(tmp_path: Path) -> None:
    with Report(several(tmp_path)) as report:
        for by in ("cause", "call", "range", "symbol", "device", "process", "range,device,cause"):
            rows = list(gaps.gaps(report, by=by).rows())
            assert sum(int(row["total_ns"]) for row in rows) == 105_000
            assert sum(int(row["count"]) for row in rows) == 4
            assert sum(float(row["share"]) for row in rows) == pytest.approx(1)


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ("kernel", "'kernel' is none of cause, call, range, symbol, device, process"),
        ("", "'' is none of cause"),
        ("cause,,call", "'' is none of cause"),
        ("cause,cause", "'cause,cause' names one of them twice"),
    ],
)
def test_a_column_that_gaps_cannot_be_summed_up_by_is_refused(
    asked: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        gaps.main([str(several(tmp_path)), "--by", asked])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert problem in line
    with Report(tmp_path / "r.sqlite") as report, pytest.raises(ValueError, match=r"none of|twice"):
        gaps.gaps(report, by=asked)
