"""The CUDA call that the host was in while a GPU was idle, and the kernels that it loaded then."""

import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import Report, gaps
from analysis.measures.host_calls import loading_ns
from analysis.measures.idle import SLOW_CALL_NS, idle_gaps
from tests.made.reports.build_report import Call, Kernel, make_report
from tests.made.tools import shared

OTHER = 101
"""A thread beside the one that launches."""


def calls_of(path: Path) -> list[str]:
    """Return the call of each gap, in order of time."""
    with Report(path) as report:
        rows = list(gaps.gaps(report, min_gap_us=0).rows())
    return [str(row["call"]) for row in sorted(rows, key=lambda row: int(row["start_ns"]))]


def waiting(tmp_path: Path, *calls: Call, launch: int = 195) -> Path:
    """Write a report of two kernels, a gap from 100 to 200 between them, and calls."""
    path = tmp_path / "r.sqlite"
    path.unlink(missing_ok=True)
    kernels = [Kernel("a", 0, 100, launch=0), Kernel("b", 200, 300, launch=launch)]
    return make_report(path, kernels=kernels, calls=calls)


def test_the_call_is_the_one_that_took_most_of_the_gap(tmp_path: Path) -> None:
    load, free = Call("cuLibraryLoadData", 90, 160, 50), Call("cudaFree_v3020", 160, 195, 51)
    assert calls_of(waiting(tmp_path, load, free)) == ["cuLibraryLoadData"]


def test_the_calls_of_one_name_count_together(tmp_path: Path) -> None:
    some = [Call("cudaMalloc_v3020", at, at + 15, at) for at in (110, 130, 150)]
    assert calls_of(waiting(tmp_path, *some, Call("cudaFree_v3020", 165, 190, 7))) == ["cudaMalloc"]


def test_there_is_none_where_the_host_was_longer_outside_of_cuda(tmp_path: Path) -> None:
    assert calls_of(waiting(tmp_path)) == [""]
    assert calls_of(waiting(tmp_path, Call("cudaMalloc", 100, 149, 50))) == [""]
    assert calls_of(waiting(tmp_path, Call("cudaMalloc", 100, 150, 50))) == ["cudaMalloc"]


def test_of_calls_that_nest_the_inner_one_counts(tmp_path: Path) -> None:
    nested = [Call("cudaLaunchKernel", 100, 190, 50), Call("cuModuleLoadData", 105, 185, 51)]
    assert calls_of(waiting(tmp_path, *nested)) == ["cuModuleLoadData"]


def test_another_thread_counts_if_it_gives_this_device_work(tmp_path: Path) -> None:
    """The main thread waits while autograd's is about to launch; a watchdog launches nothing."""
    wait = Call("cudaStreamSynchronize_v3020", 50, 190, 50, thread=OTHER)
    assert calls_of(waiting(tmp_path, wait)) == [""]
    feeding = Call("cudaLaunchKernel_v7000", 0, 1, 1, thread=OTHER)
    path = make_report(
        tmp_path / "both.sqlite",
        kernels=[Kernel("a", 0, 100), Kernel("b", 200, 300, launch=195)],
        calls=[feeding, wait],
    )
    assert calls_of(path) == ["cudaStreamSynchronize"]


def test_a_report_without_calls_has_none(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", kernels=[Kernel("a", 0, 10), Kernel("b", 30, 40)])
    assert calls_of(path) == [""]


def test_a_launch_in_a_gap_of_a_real_report_took_long() -> None:
    """A call of 1.554 ms of the 1.659 ms before an addition, as SQL finds it."""
    path = shared.report("fsdp-2xh100-after")
    with Report(path) as report:
        (row,) = (
            row
            for row in gaps.gaps(report).rows()
            if int(row["duration_ns"]) in range(1_658_000, 1_659_500)
        )
    assert (row["range"], row["call"]) == ("aten::add", "cudaLaunchKernel")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        longest = connection.execute(
            "SELECT value FROM CUPTI_ACTIVITY_KIND_RUNTIME JOIN StringIds ON id = nameId "
            'WHERE start < ?1 + ?2 AND "end" > ?1 AND globalTid / 0x1000000 % 0x1000000 = ?3 '
            'ORDER BY min("end", ?1 + ?2) - max(start, ?1) DESC LIMIT 1',
            (int(row["start_ns"]), int(row["duration_ns"]), int(row["process"])),
        ).fetchone()
    assert longest == ("cudaLaunchKernel_v7000",)


CALLS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 12), st.sampled_from("xyz")), max_size=8
)


@given(CALLS, st.integers(10, 40))
def test_the_call_is_what_looking_at_every_instant_gives(
    drawn: list[tuple[int, int, str]], gap: int
) -> None:
    calls, until = [], 0
    for at, length, name in sorted(drawn):
        if at >= until:
            calls.append(Call(name, at, until := at + length, 50 + at))
    spent: dict[str, int] = defaultdict(int)
    for instant in range(20, 20 + gap):
        spent[next((call.name for call in calls if call.start <= instant < call.end), "")] += 1
    most = max(spent.values())
    best = {name for name, time in spent.items() if time == most}
    with TemporaryDirectory() as folder:
        path = make_report(
            Path(folder) / "r.sqlite",
            kernels=[Kernel("a", 10, 20), Kernel("b", 20 + gap, 90, launch=1000)],
            calls=calls,
        )
        (found,) = calls_of(path)
    assert found in best
    assert found or best == {""}


def loaded(path: Path) -> list[int]:
    """Return for how long kernels were loaded in each gap."""
    with Report(path) as report:
        return [int(time) for time in loading_ns(idle_gaps(report))]


@pytest.mark.parametrize(
    "name",
    [
        *("cuLibraryLoadData", "cuModuleLoadDataEx", "cuModuleLoad", "cudaLibraryLoadData"),
        *("cuLibraryGetKernel", "cuModuleGetFunction", "cuLinkComplete"),
    ],
)
def test_calls_that_load_are_known_by_name(tmp_path: Path, name: str) -> None:
    assert loaded(waiting(tmp_path, Call(name, 90, 160, 50))) == [60]
    assert loaded(waiting(tmp_path, Call("cuModuleGetLoadingMode", 90, 160, 50))) == [0]


@pytest.mark.parametrize(("earlier", "taken"), [("b", 0), ("c", 3 * SLOW_CALL_NS)])
def test_a_first_launch_that_is_slow_loads_its_kernel(
    tmp_path: Path, earlier: str, taken: int
) -> None:
    after = 10 + 3 * SLOW_CALL_NS
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[
            Kernel(earlier, 0, 10, launch=0),
            Kernel("b", after, after + 10, correlation=70),
        ],
        calls=[Call("cudaLaunchKernel_v7000", 5, after, 70)],
    )
    assert loaded(path) == [taken]


def test_threads_are_told_apart(tmp_path: Path) -> None:
    assert loaded(waiting(tmp_path, Call("cuLibraryLoadData", 90, 160, 50, thread=OTHER))) == [0]
