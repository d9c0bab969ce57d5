"""Troubles as other programs have them: other threads, ranks, devices, ways to wait; no ranges."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis import Report, budget, gaps
from tests.analysis.advice.test_advise import MS, findings
from tests.made.reports.build_device import (
    DEVICE,
    PAGEABLE,
    PINNED,
    TO_HOST,
    Call,
    Copy,
    add_device_work,
)
from tests.made.reports.build_host import Sample, SystemCall, add_host
from tests.made.reports.build_report import Call as Called
from tests.made.reports.build_report import Kernel, Range, make_report

STEP = 100 * MS
STARTS = range(0, 5 * STEP, STEP)
LATE = 40 * MS
RUN = {"torch": "2.9.0"}


def made(
    path: Path, kernels: list[Kernel], *ranges: Range, calls: list[Called] | None = None
) -> Path:
    return make_report(
        path / "r.sqlite", run=RUN, kernels=kernels, ranges=list(ranges), calls=calls or []
    )


def steps(process: int = 100, thread: int = 100) -> list[Range]:
    return [Range("step", at, at + STEP - 1, process=process, thread=thread) for at in STARTS]


def late_kernels(thread: int = 100, device: int = 0) -> list[Kernel]:
    """Return a kernel a step that is launched after 40 ms, and one at the very start."""
    return [
        Kernel("a", 0, 1, launch=0, thread=thread, device=device),
        *(
            Kernel("k", at + LATE, at + STEP, device, launch=at + LATE - 10_000, thread=thread)
            for at in STARTS
        ),
    ]


def pieces(path: Path, call: str, memory: int, *, waits: str = "") -> Path:
    """Write a report in which the host reads four bytes back after each kernel of 1.5 ms."""
    kernels, copies, waited = [], [], []
    for at in range(0, 100 * MS, 2 * MS):
        done = at + 1_906_000
        kernels.append(Kernel("k", at + 400_000, at + 1_900_000, launch=at + 390_000))
        copies.append(
            Copy(
                *(at + 1_901_000, at + 1_903_000, 4, TO_HOST, DEVICE, memory, call),
                launch=at + 410_000,
                done=at + 420_000 if waits else done,
            )
        )
        waited += [Call(waits, at + 421_000, done)] if waits else []
    path = made(path, kernels, Range("step", 0, 50 * MS), Range("step", 50 * MS, 100 * MS))
    return add_device_work(path, copies=copies, calls=waited)


def reading_by_a_copy(path: Path) -> Path:
    return pieces(path, "cudaMemcpy_v3020", PAGEABLE)


def reading_and_waiting_for_the_stream(path: Path) -> Path:
    return pieces(path, "cudaMemcpyAsync_v3020", PAGEABLE, waits="cudaStreamSynchronize_v3020")


def reading_pinned_and_waiting_for_an_event(path: Path) -> Path:
    return pieces(path, "cudaMemcpyAsync_v3020", PINNED, waits="cudaEventSynchronize_v3020")


def loading_data_in_another_thread_than_the_first(path: Path) -> Path:
    """The loop runs on thread 105; thread 100 waits for it to end."""
    path = made(path, late_kernels(thread=105), *steps(thread=105))
    waits = [
        SystemCall("pthread_cond_timedwait", at + 2 * MS, at + LATE - 2 * MS, thread=105)
        for at in STARTS
    ]
    return add_host(path, calls=[*waits, SystemCall("pthread_join", 0, 5 * STEP)])


def loading_data_without_ranges(path: Path) -> Path:
    path = made(path, late_kernels())
    parts = range(2 * MS, LATE - 2 * MS, 5 * MS)
    return add_host(
        path,
        calls=[
            SystemCall("poll", at + part, at + part + 4_900_000) for at in STARTS for part in parts
        ],
    )


def loading_kernels_on_autograds_thread(path: Path) -> Path:
    kernels = [
        Kernel(name, at + start * MS, at + end * MS, launch=at + start * MS - 5000, thread=thread)
        for at in STARTS
        for name, start, end, thread in (("f", 1, 50, 100), (f"b{at}", 90, 101, 101))
    ]
    loads = [
        Called("cuModuleLoadData", at + 51 * MS, at + 89 * MS, 700 + at // STEP, thread=101)
        for at in STARTS
    ]
    return made(path, kernels, *steps(), calls=loads)


def loading_a_kernel_right_after_waiting(path: Path) -> Path:
    """The launch begins 300 µs after the kernel before has ended, and takes 31 ms."""
    kernels, calls = [], []
    for number, at in enumerate(STARTS):
        kernels.append(
            Kernel(f"k{number}", at + 31 * MS, at + STEP - 200_000, correlation=500 + number)
        )
        calls += [
            Called("cudaLaunchKernel_v7000", at + 100_000, at + 31 * MS - 2000, 500 + number),
            Called("cudaDeviceSynchronize", at + 32 * MS, at + STEP - 190_000, 600 + number),
        ]
    return made(path, kernels, *steps(), calls=calls)


def collecting_for_one_of_two_devices(path: Path) -> Path:
    kernels = [Kernel("k", at + MS, at + STEP, launch=at + MS - 5000) for at in STARTS]
    path = made(path, [*kernels, *late_kernels(device=1)], *steps())
    samples = [
        Sample(at + part * MS, ("tupledealloc", "delete_garbage", "gc_collect_generations"))
        for at in STARTS
        for part in range(2, 39)
    ]
    return add_host(path, samples=samples)


def launching_slowly(path: Path) -> Path:
    """150 µs of Python before each launch of a kernel of 10 µs."""
    starts = range(160_000, 90 * MS, 160_000)
    kernels = [Kernel("k", at, at + 10_000, launch=at - 5000) for at in starts]
    return made(path, kernels, Range("step", 0, 90 * MS))


def launching_from_two_threads(path: Path) -> Path:
    """Forward and backward a millisecond each, by the main thread and autograd's in turn."""
    kernels = [
        Kernel("k", at, at + 2000, launch=at - 5000, thread=100 + at // MS % 2)
        for at in range(10_000, 20 * MS, 10_000)
    ]
    return made(path, kernels, Range("step", 0, 10 * MS - 1), Range("step", 10 * MS, 20 * MS - 1))


def waiting_for_a_stream(path: Path) -> Path:
    """The second kernel is launched in time, and waits 20 ms for an event; calls lie between."""
    kernels = [
        kernel
        for at in STARTS
        for kernel in (
            Kernel("a", at, at + 40 * MS, launch=at),
            Kernel("b", at + 60 * MS, at + STEP, launch=at + 10 * MS),
        )
    ]
    calls = [
        Called(name, at + start, at + start + 2000, 900 + at // STEP)
        for at in STARTS
        for name, start in (
            ("cudaStreamWaitEvent_v3020", 9 * MS),
            ("cudaStreamIsCapturing_v10000", 9 * MS + 5000),
        )
    ]
    return made(path, kernels, *steps(), calls=calls)


@pytest.mark.parametrize(
    ("make", "cause", "part", "number", "culprit"),
    [
        *(
            (make, "synchronisation", "synchronisation", "synchronisation", f"for it in {call},")
            for make, call in (
                (reading_by_a_copy, "cudaMemcpy"),
                (reading_and_waiting_for_the_stream, "cudaStreamSynchronize"),
                (reading_pinned_and_waiting_for_an_event, "cudaEventSynchronize"),
            )
        ),
        (
            loading_data_in_another_thread_than_the_first,
            *(
                "host",
                "host_busy",
                "waiting-host",
                "the host waited in pthread_cond_timedwait, most",
            ),
        ),
        (
            loading_data_without_ranges,
            *("host", "host_busy", "waiting-host", "the host waited in poll: have"),
        ),
        (
            loading_kernels_on_autograds_thread,
            *("host", "host_busy", "kernel-loading", "(in cuModuleLoadData), most of it in step"),
        ),
        (
            loading_a_kernel_right_after_waiting,
            *("host", "host_busy", "kernel-loading", "(in cudaLaunchKernel), most of it in step"),
        ),
        (
            collecting_for_one_of_two_devices,
            *("host", "host_busy", "garbage-collection"),
            "GPU 1 was idle for 200.0 ms (20.0 % of the time of 2 GPUs) in 5 gaps",
        ),
        (launching_slowly, "host", "launch_starved", "launch-latency", "(93.7 % of the time) for"),
        (launching_from_two_threads, "host", "launch_starved", "launch-latency", "for launches"),
        (
            waiting_for_a_stream,
            *("stream_wait", "stream_wait", "stream-wait"),
            "100.0 ms (20.0 % of the time) before work that was launched in time",
        ),
    ],
)
def test_gaps_budget_and_advice_agree_on_the_culprit(
    make: Callable[[Path], Path], cause: str, part: str, number: str, culprit: str, tmp_path: Path
) -> None:
    path = make(tmp_path)
    with Report(path) as report:
        most = next(iter(gaps.gaps(report, by="cause").rows()))
        spent: Counter[str] = Counter()
        for row in budget.budget(report).rows():
            spent[str(row["part"])] += int(row["ns"])
    assert most["cause"] == cause
    del spent["not_modelled"]
    assert spent.most_common(1)[0][0] == part
    first = findings(path)[0]
    assert first.id == number
    assert culprit in first.text


def test_the_rank_whose_data_come_late_is_named(tmp_path: Path) -> None:
    """The other one is not idle: it waits for it in the all-reduce."""
    kernels = [
        kernel
        for process, device, late in ((100, 0, 2 * MS), (200, 1, LATE))
        for at in STARTS
        for kernel in (
            Kernel(
                *("k", at + late, at + late + 58 * MS, device, process),
                launch=at + late - 10_000,
                thread=process,
            ),
            Kernel(
                *("ncclDevKernel_AllReduce_Sum_f32", at + late + 58 * MS, at + 99 * MS),
                *(device, process, at + late + 1, process, 9),
            ),
        )
    ]
    path = made(tmp_path, kernels, *steps(100, 100), *steps(200, 200))
    waits = [
        SystemCall("poll", at + 2 * MS, at + LATE - 2 * MS, thread=200, process=200)
        for at in STARTS
    ]
    found = {finding.id: finding.text for finding in findings(add_host(path, calls=waits))}
    assert found["waiting-host"].startswith("GPU 1 in process 200 was idle for 164.0 ms (17.2 %")
    assert "on GPU 1 in process 200, which comes last" in found["exposed-collectives"]


def test_what_lies_before_the_first_step_is_nobodys_fault(tmp_path: Path) -> None:
    before = [Kernel("init", at, at + MS, launch=at) for at in (0, 2000 * MS)]
    kernels = [Kernel("k", at, at + STEP, launch=at) for at in range(3000 * MS, 3500 * MS, STEP)]
    ranges = [Range("step", kernel.start, kernel.end - 1) for kernel in kernels]
    path = made(tmp_path, [*before, *kernels], *ranges)
    with Report(path) as report:
        table = gaps.gaps(report)
        assert not len(table)
        assert "2.998 s of idle time before and after the steps: left out" in table.counted
        assert {row["part"] for row in budget.budget(report).rows()} == {"not_modelled"}
    assert findings(path) == []
