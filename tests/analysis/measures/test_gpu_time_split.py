"""What a GPU's measured time went into, against looking at every instant and every row."""

import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import Report
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Selection
from analysis.measures import gpu_time_split
from analysis.measures.gpu_time_split import GpuTimeSplit, gpu_time_splits
from analysis.measures.window import MeasuredWindow
from tests.made.reports.build_device import Copy, Overhead, Set, add_device_work
from tests.made.reports.build_report import Graph, Kernel, Operator, Range, make_report
from tests.made.tools import shared

NCCL = "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)"


def measured(report: Report) -> MeasuredWindow:
    """Return the window of a report that counts."""
    return MeasuredWindow(Selected.of(report, Selection()))


def found(path: Path) -> list[GpuTimeSplit]:
    """Return what the GPUs of a report did in the measured window."""
    with Report(path) as report:
        return gpu_time_splits(measured(report))


def parts(each: GpuTimeSplit) -> tuple[int, ...]:
    """Return wall, compute, communication, copies, overhead and idle time."""
    return (
        *(each.wall_ns, each.compute_ns, each.communication_ns),
        *(each.copy_ns, each.overhead_ns, each.idle_ns),
    )


def test_each_instant_counts_once(tmp_path: Path) -> None:
    path = add_device_work(
        make_report(
            tmp_path / "r.sqlite",
            kernels=[Kernel("gemm", 0, 10), Kernel(NCCL, 5, 20), Kernel("gemm", 80, 100)],
            graphs=[Graph(1, 60, 70)],
        ),
        copies=[Copy(15, 30)],
        sets=[Set(65, 75)],
        overhead=[Overhead("CUDA profiling overhead", 25, 40)],
    )
    (each,) = found(path)
    assert parts(each) == (100, 40, 10, 15, 10, 25)
    assert (each.overlapped_communication_ns, each.overlapped_copy_ns) == (5, 10)
    assert each.describe() == (
        "compute 40.0 % · communication not under compute 10.0 % · copies not under a kernel "
        "15.0 % · the profiler's own overhead 10.0 % · idle 25.0 %"
    )


INTERVALS = st.lists(
    st.tuples(
        st.sampled_from(["gemm", NCCL, "copy"]), st.integers(0, 50), st.integers(1, 9),
        st.integers(0, 1),
    ),
    max_size=12,
)  # fmt: skip


@given(INTERVALS, st.tuples(st.integers(0, 40), st.integers(1, 30)) | st.none())
def test_the_parts_are_what_looking_at_every_instant_gives(
    drawn: list[tuple[str, int, int, int]], step: tuple[int, int] | None
) -> None:
    drawn = [("gemm", 20, 1, 0), *drawn]  # a report needs a kernel
    with TemporaryDirectory() as folder:
        path = add_device_work(
            make_report(
                Path(folder) / "r.sqlite",
                kernels=[
                    Kernel(what, at, at + size, device)
                    for what, at, size, device in drawn
                    if what != "copy"
                ],
                ranges=[Range("step", step[0], sum(step))] if step else [],
            ),
            copies=[
                Copy(at, at + size, device=device)
                for what, at, size, device in drawn
                if what == "copy"
            ],
        )
        results = found(path)
    for each in results:
        instants: dict[str, set[int]] = defaultdict(set)
        for what, at, size, device in drawn:
            if device == each.device:
                instants[what] |= set(range(at, at + size))
        every = set().union(*instants.values())
        first, last = min(every), max(every) + 1
        low, high = (step[0], sum(step)) if step else (first, last)
        window = set(range(max(low, first), min(high, last)))
        compute, talk = instants["gemm"] & window, instants[NCCL] & window
        copies = instants["copy"] & window
        assert parts(each) == (
            *(len(window), len(compute), len(talk - compute)),
            *(len(copies - talk - compute), 0, len(window - every)),
        )
        assert each.overlapped_communication_ns == len(talk & compute)
        assert each.overlapped_copy_ns == len(copies & (talk | compute))


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=8), st.integers(1, 1000))
def test_percentages_add_up(times: list[int], whole: int) -> None:
    shares = gpu_time_split.apportioned(times, whole)
    assert sum(shares) == (whole if sum(times) else 0)
    for share, time in zip(shares, times, strict=True):
        assert abs(share * sum(times) - time * whole) <= sum(times)


def test_a_gpu_lags_behind_its_host(tmp_path: Path) -> None:
    """The window ends with the last work launched in it and begins when what came before ends."""
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("warmup", 0, 20), Range("step", 20, 60)],
        kernels=[
            Kernel("late warm-up", 5, 30, launch=3),
            Kernel("gemm", 40, 50, launch=25),
            Kernel("gemm", 70, 90, launch=50),
            Kernel("after", 95, 100, launch=85),
        ],
    )
    with Report(path) as report:
        window = measured(report)
        (each,) = gpu_time_splits(window)
        (rest,) = gpu_time_split.splits_outside_window(window)
        assert window.windows.tolist() == [[30, 90]]
        assert int(window.idle.duration_ns.sum()) == each.idle_ns
        assert window.wall_ns == each.wall_ns
    assert parts(each) == (60, 30, 0, 0, 0, 30)
    assert parts(rest) == (35, 30, 0, 0, 0, 5)


def test_a_run_on_a_cpu_has_no_gpu(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", operators=[Operator("aten::mm", 0, 9, 9)])
    assert found(path) == []


def test_idle_time_is_shared_out_among_the_phases(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("step", 0, 100),
            Range("forward", 10, 50),
            Range("backward", 40, 70, thread=101),  # 40 to 50 is forward's
            Range("optimizer", 75, 90),
        ],
        kernels=[Kernel("k", 0, 5), Kernel("k", 30, 35), Kernel("k", 60, 62), Kernel("k", 95, 99)],
    )
    with Report(path) as report:
        window = measured(report)
        times = gpu_time_split.idle_by_phase(window)
        (each,) = gpu_time_splits(window)
    assert times == {"forward": 35, "backward": 18, "optimizer": 15, "elsewhere": 15}
    assert sum(times.values()) == each.idle_ns


def test_the_idle_time_of_a_real_step_by_phase() -> None:
    with Report(shared.report("train-step-small-a100")) as report:
        window = measured(report)
        times = gpu_time_split.idle_by_phase(window)
    tenths = {phase: round(time / 1e5) / 10 for phase, time in times.items()}
    assert tenths == {"forward": 21.7, "backward": 17.2, "optimizer": 47.3, "elsewhere": 0.0}


def swept(path: Path, device: int) -> tuple[int, int, int, int]:
    """Return compute, communication, copies and idle time of a GPU, from rows, event by event."""
    rows = []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        rows += connection.execute(
            "SELECT start, end, CASE WHEN value LIKE '%nccl%' THEN 1 ELSE 0 END "
            "FROM CUPTI_ACTIVITY_KIND_KERNEL JOIN StringIds ON id = demangledName "
            "WHERE deviceId = ?",
            (device,),
        ).fetchall()
        for table in ("MEMCPY", "MEMSET"):
            rows += connection.execute(
                f"SELECT start, end, 2 FROM CUPTI_ACTIVITY_KIND_{table} WHERE deviceId = ?",
                (device,),
            ).fetchall()
    events = sorted(
        [(start, 1, kind) for start, _, kind in rows] + [(end, -1, kind) for _, end, kind in rows]
    )
    running, times, before = [0, 0, 0], [0, 0, 0, 0], events[0][0]
    for instant, change, kind in events:
        what = next((place for place in range(3) if running[place]), 3)
        times[what] += instant - before
        running[kind] += change
        before = instant
    return times[0], times[1], times[2], times[3]


@pytest.mark.parametrize(
    "name", ["sliced-2xh100", "fsdp-2xh100-after", "fsdp-2xh100-before", "train-step-small-a100"]
)
def test_real_reports_are_what_a_sweep_over_their_rows_gives(name: str) -> None:
    """None of them has steps; the third has phases around all of its work."""
    path = shared.report(name)
    for each in found(path):
        assert (*parts(each)[1:4], each.idle_ns) == swept(path, each.device)
        assert each.overhead_ns == 0


def test_what_was_found_by_hand_in_real_reports() -> None:
    """Exposed NCCL of FSDP and of one rank of eight; weights that are copied instead of kept."""
    exposed = [each.communication_ns for each in found(shared.report("fsdp-2xh100-after"))]
    assert [round(time / 1e4) / 100 for time in exposed] == [9.99, 23.75]
    (trace,) = found(shared.trace("gpt-8xh100-rank0"))
    assert round(trace.communication_ns / 1e4) / 100 == 40.66
    assert round(trace.wall_ns / 1e6) == 176
    sliced = found(shared.report("sliced-2xh100"))
    assert [round(each.compute_ns / 1e5) / 10 for each in sliced] == [22.4, 22.4]
    assert all(each.copy_ns > 920_900_000 for each in sliced)


def test_the_page_of_a_busy_gpu_does_not_call_it_idle() -> None:
    """Its loading and warm-up left it idle for 1.3 s, its measured loop for 7 ms of 2.5 s."""
    (each,) = found(shared.report("forward-2.7b-a100"))
    assert each.share(each.idle_ns) < 0.005
