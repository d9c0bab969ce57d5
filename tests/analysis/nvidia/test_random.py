"""Our reports beside those of the real nsys, on files that nobody would record."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.made.reports.build_report import Call, Kernel, Memory, Range, make_report
from tests.made.tools import nvidia_tools
from tests.made.tools.nsys_tool import nsys

THREADS = ((100, 100), (100, 101), (200, 100))
REPORTS = (
    "nvtx_gpu_proj_sum",
    "nvtx_kern_sum",
    "nvtx_sum",
    "nvtx_pushpop_sum",
    "cuda_gpu_kern_sum:nvtx-name",
    "cuda_kern_exec_sum:nvtx-name:base",
    "cuda_gpu_mem_time_sum",
    "cuda_gpu_mem_size_sum",
    "cuda_api_sum",
)

FIXED: dict[str, dict[str, Any]] = {
    "two ranges with the same bounds": {
        "kernels": [Kernel("a", 100, 110, launch=20), Kernel("b", 120, 150, launch=30)],
        "ranges": [
            Range("outer", 0, 90),
            Range("x", 10, 50),
            Range("y", 10, 50),
            Range("inside", 15, 40),
        ],
    },
    "ranges that were never closed": {
        "kernels": [Kernel("a", 100, 110, launch=20)],
        "ranges": [Range("outer", 0, None), Range("x", 10, 50), Range("mark", 70, None, kind=34)],
    },
    "no range that was closed": {
        "kernels": [Kernel("a", 100, 110, launch=20)],
        "ranges": [Range("outer", 0, None), Range("x", 10, None)],
    },
    "ranges without a name": {
        "kernels": [Kernel("a", 100, 110, launch=12), Kernel("a", 100, 150, launch=3)],
        "ranges": [Range(None, 0, 40), Range("", 2, 39), Range("q", 10, 30)],
    },
    "styles, and an end on another thread": {
        "kernels": [Kernel("a", 100, 110, launch=12), Kernel("a", 100, 150, launch=3)],
        "ranges": [
            Range("p", 0, 40),
            Range("p", 1, 39, kind=60),
            Range("q", 2, 30, kind=60, end_thread=101),
            Range("t", 2, 30, kind=70),
            Range("u", 3, 29, kind=71),
        ],
    },
    "domains and registered strings": {
        "kernels": [Kernel("a", 100, 110, launch=12)],
        "ranges": [
            Range("p", 0, 40, domain="D"),
            Range("p", 1, 39),
            Range("p", 2, 30, registered=True, domain="D"),
            Range(None, 0, 50, domain="D"),
        ],
    },
    "a graph's nodes, copies and sets": {
        "kernels": [
            Kernel("a", 100, 110, correlation=1),
            Kernel("b", 120, 150, correlation=1),
            Kernel("a", 160, 170, correlation=2),
        ],
        "calls": [Call("cudaGraphLaunch_v10000", 10, 20, 1), Call("cudaLaunchKernel", 22, 28, 2)],
        "ranges": [Range("g", 5, 45), Range("g", 10, 20)],
        "memory": [
            Memory(130, 140, 4500, 1),
            Memory(1, 3, 12, 5, kind=2),
            Memory(1, 3, 12, 5, kind=9),
            Memory(5, 9, 500, 2, kind=None),
        ],
    },
    "ranges that overlap without nesting": {
        "kernels": [Kernel("a", 100, 110, launch=at) for at in (10, 22, 33)],
        "ranges": [
            *(Range("p", 0, 30), Range("q", 8, 50), Range("r", 9, 25), Range("s", 20, 40)),
            *(Range("u", 21, 24), Range("v", 0, 60, kind=60), Range("z", 10, 10)),
        ],
    },
    "equal totals": {
        "kernels": [Kernel(name, 0, 10, launch=3 * at) for at, name in enumerate("cabd")],
        "ranges": [Range(name, 3 * at, 3 * at + 2) for at, name in enumerate("zxyw")],
    },
    "deviations half-way between two prints": {
        "kernels": [Kernel("a", 0, 1000)] * 15 + [Kernel("a", 0, 1001)],
        "ranges": [Range("mark", 0, None, kind=34)],
    },
    "a range that ends too early in a long report": {
        "kernels": [Kernel("a", 100, 110, launch=10)],
        "ranges": [Range("g", 5, 45), Range("h", 1000, 998), Range("z", 0, 10**9)],
    },
}


@pytest.mark.parametrize("case", FIXED)
def test_edge_cases_come_out_as_from_nsys(case: str, tmp_path: Path) -> None:
    program = nsys()
    path = make_report(tmp_path / "r.sqlite", **FIXED[case])
    for report, printed in nvidia_tools.theirs(program, path, REPORTS).items():
        assert nvidia_tools.ours(path, report) == printed, report


times = st.integers(0, 12)
bounds = st.tuples(times, times).map(sorted)
places = st.sampled_from(THREADS)


@st.composite
def ranges(draw: st.DrawFn) -> Range:
    start, end = draw(bounds)
    process, thread = draw(places)
    return Range(
        draw(st.sampled_from(["a", "b", None])),
        start,
        draw(st.sampled_from([end, end, end, None])),
        thread=thread,
        process=process,
        kind=draw(st.sampled_from([59, 59, 60])),
        registered=draw(st.booleans()),
        domain=draw(st.sampled_from(["", "D"])),
        end_thread=draw(st.sampled_from([None, None, None, 101])),
    )


@st.composite
def calls(draw: st.DrawFn) -> Call:
    start, end = draw(bounds)
    process, thread = draw(places)
    name = draw(st.sampled_from(["cudaLaunchKernel_v7000", "cudaFree_v10000", "cuX"]))
    return Call(name, start, end, draw(st.integers(1, 5)), thread, process)


@st.composite
def kernels(draw: st.DrawFn) -> Kernel:
    start, end = draw(bounds)
    process, _ = draw(places)
    device, correlation = draw(st.integers(0, 1)), draw(st.integers(1, 5))
    name = draw(st.sampled_from("km"))
    return Kernel(name, 20 + start, 20 + end, device, process, correlation=correlation)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(ranges(), min_size=1, max_size=20),
    st.lists(calls(), max_size=12),
    st.lists(kernels(), max_size=12),
)
def test_any_file_comes_out_as_from_nsys(
    some: list[Range], called: list[Call], ran: list[Kernel]
) -> None:
    program = nsys()
    with tempfile.TemporaryDirectory() as folder:
        path = make_report(Path(folder) / "r.sqlite", ranges=some, calls=called, kernels=ran)
        for report, printed in nvidia_tools.theirs(program, path, REPORTS[:6]).items():
            assert nvidia_tools.ours(path, report) == printed, report
