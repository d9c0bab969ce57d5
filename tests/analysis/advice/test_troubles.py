"""Troubles of training runs, built: the gaps name what the host did, and the advice its cure."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis import Report, budget, gaps
from analysis.__main__ import main as page
from analysis.advice.finding import Finding
from tests.analysis.advice.test_advise import MS, findings
from tests.made.reports.build_device import DEVICE, PAGEABLE, TO_HOST, Copy, add_device_work
from tests.made.reports.build_host import Python, Running, Sample, SystemCall, add_host
from tests.made.reports.build_report import Call, Kernel, Range, make_report
from tests.made.tools import shared

STEPS = 5
STEP = 100 * MS
LATE = 40 * MS
"""How long the GPU is idle in each step, before its only kernel."""

STARTS = [step * STEP for step in range(STEPS)]
RUN = {"torch": "2.9.0"}


def steps(path: Path, *ranges: Range, calls: list[Call] | None = None) -> Path:
    """Write a report of steps of 100 ms, in each a kernel that is launched after 40 ms."""
    return make_report(
        path / "r.sqlite",
        run=RUN,
        kernels=[
            Kernel("a", 0, 1),
            *(Kernel("k", at + LATE, at + STEP, launch=at + LATE - 10_000) for at in STARTS),
        ],
        ranges=[*(Range("step", at, at + STEP - 1) for at in STARTS), *ranges],
        calls=calls or [],
    )


def loading_data(path: Path) -> Path:
    """The main thread waits for a worker's batch in ``poll``."""
    fetching = [Range("next batch", at + MS, at + LATE - MS) for at in STARTS]
    waits = [SystemCall("poll", at + 2 * MS, at + LATE - 2 * MS) for at in STARTS]
    return add_host(steps(path, *fetching), calls=waits)


def sleeping(path: Path) -> Path:
    """The main thread is on no CPU, and another one decodes."""
    running = [Running(at + LATE - MS, at + STEP) for at in STARTS]
    decoding = [
        Sample(at + tenth * 4 * MS, ("jpeg_decode",), "libjpeg.so", thread=101)
        for at in STARTS
        for tenth in range(10)
    ]
    return add_host(steps(path), running=running, samples=decoding)


def waiting_in_python(path: Path) -> Path:
    """A trace with stacks: the main thread takes a batch from a queue."""
    name = "<built-in method acquire of _thread.lock object>"
    return add_host(steps(path), python=[Python(name, at + MS, at + LATE - MS) for at in STARTS])


def collecting(path: Path) -> Path:
    """Python collects garbage in each step, in this helper and that."""
    helpers = ("visit_decref", "dict_traverse", "visit_reachable", "subtype_traverse")
    samples = [
        Sample(at + 10 * MS * turn, (helper, "gc_collect_main", "_PyEval_EvalFrameDefault"))
        for at in STARTS
        for turn, helper in enumerate(helpers)
    ]
    return add_host(steps(path), samples=samples)


def preprocessing(path: Path) -> Path:
    """The main thread itself computes, in a range of its own."""
    augment = [Range("augment", at + MS, at + LATE - MS) for at in STARTS]
    samples = [
        Sample(at + MS * turn, ("resize_bilinear", "main"), "libvision.so")
        for at in STARTS
        for turn in range(2, 38)
    ]
    return add_host(steps(path, *augment), samples=samples)


def loading_kernels(path: Path) -> Path:
    """A library is loaded in the first three steps."""
    loads = [
        Call("cuLibraryLoadData", at + 2 * MS, at + LATE - MS, 900 + at // STEP)
        for at in STARTS[:3]
    ]
    return steps(path, calls=loads)


def looking_at_the_loss(path: Path) -> Path:
    """Four bytes are copied to the host in each step, and the next launch comes after."""
    made = make_report(
        path / "r.sqlite",
        run=RUN,
        kernels=[Kernel("k", at + 10 * MS, at + STEP, launch=at + 9 * MS) for at in STARTS],
        ranges=[Range("step", at, at + STEP - 1) for at in STARTS],
    )
    loss = [
        Copy(
            *(at + STEP + 1000, at + STEP + 3000, 4, TO_HOST, DEVICE, PAGEABLE),
            launch=at + 11 * MS,
            done=at + STEP + 8 * MS + 500_000,
        )
        for at in STARTS[:-1]
    ]
    return add_device_work(made, copies=loss)


def launching_little(path: Path) -> Path:
    """Kernels of 2 µs are launched every 10 µs."""
    kernels = [Kernel("k", at, at + 2000, launch=at - 5000) for at in range(10_000, MS, 10_000)]
    return make_report(
        path / "r.sqlite", run=RUN, kernels=kernels, ranges=[Range("step", 0, MS - 1)]
    )


def copying_pageable(path: Path) -> Path:
    """Batches of 100 MB are copied from pageable memory."""
    batches = [
        Copy(
            *(at + 5 * MS, at + LATE - MS, 10**8),
            source=PAGEABLE,
            launch=at + MS,
            done=at + LATE - MS,
        )
        for at in STARTS
    ]
    return add_device_work(steps(path), copies=batches)


def reducing(path: Path) -> Path:
    """Gradients are reduced after the backward pass, with nothing beside it."""
    kernels = [
        kernel
        for at in STARTS
        for kernel in (
            Kernel("k", at, at + 60 * MS, launch=at),
            Kernel("ncclDevKernel_AllReduce_Sum", at + 60 * MS, at + STEP, launch=at + 1, stream=9),
        )
    ]
    ranges = [Range("step", at, at + STEP - 1) for at in STARTS]
    return make_report(path / "r.sqlite", run=RUN, kernels=kernels, ranges=ranges)


Gap = tuple[str, str, str]


def gap_of_most_time(path: Path) -> Gap:
    """Return cause, call and symbol of the gaps that most idle time is in."""
    with Report(path) as report:
        row = next(iter(gaps.gaps(report, by="cause,call,symbol").rows()))
    return str(row["cause"]), str(row["call"]), str(row["symbol"])


@pytest.mark.parametrize(
    ("make", "gap", "number", "culprit", "cure"),
    [
        (loading_data, ("host", "poll", ""), "waiting-host", "waited in poll", "num_workers"),
        (
            sleeping,
            ("host", "", "not scheduled"),
            "waiting-host",
            "was not scheduled (it slept or waited), other threads of its process in jpeg_decode",
            "num_workers",
        ),
        (
            waiting_in_python,
            ("host", "", "<built-in method acquire of _thread.lock object>"),
            "waiting-host",
            "waited in <built-in m",
            "num_workers",
        ),
        (
            collecting,
            ("host", "", "gc_collect_main"),
            "garbage-collection",
            "Python collected garbage",
            "gc.freeze()",
        ),
        (
            preprocessing,
            ("host", "", "resize_bilinear"),
            "busy-host",
            "was in resize_bilinear, most of it in augment",
            "DataLoader workers",
        ),
        (
            loading_kernels,
            ("host", "cuLibraryLoadData", ""),
            "kernel-loading",
            "(in cuLibraryLoadData)",
            "warm up with more steps",
        ),
        (
            looking_at_the_loss,
            ("synchronisation", "cudaMemcpyAsync", ""),
            "synchronisation",
            "in cudaMemcpyAsync",
            ".item()",
        ),
        (launching_little, ("host", "", ""), "launch-latency", "for launches", "CUDA graphs"),
        (
            copying_pageable,
            ("copy", "cudaMemcpyAsync", ""),
            "pageable-copies",
            "5 copies of pageable memory",
            "pin_memory",
        ),
    ],
)
def test_the_culprit_is_named_and_its_cure(
    make: Callable[[Path], Path], gap: Gap, number: str, culprit: str, cure: str, tmp_path: Path
) -> None:
    path = make(tmp_path)
    assert gap_of_most_time(path) == gap
    first: Finding = findings(path)[0]
    assert first.id == number
    assert culprit in first.text
    assert cure in first.text


@pytest.mark.parametrize(
    ("make", "part"),
    [
        *((make, "host_busy") for make in (loading_data, sleeping, collecting, loading_kernels)),
        (looking_at_the_loss, "synchronisation"),
        (launching_little, "launch_starved"),
        (copying_pageable, "copies"),
        (reducing, "communication"),
    ],
)
def test_the_budget_has_most_of_what_is_no_work_under_the_same_cause(
    make: Callable[[Path], Path], part: str, tmp_path: Path
) -> None:
    spent: Counter[str] = Counter()
    with Report(make(tmp_path)) as report:
        for row in budget.budget(report).rows():
            spent[str(row["part"])] += int(row["ns"])
    del spent["not_modelled"]
    assert spent.most_common(1)[0][0] == part


def test_a_host_that_makes_small_calls_after_a_long_wait_did_something_else(
    tmp_path: Path,
) -> None:
    """As PyTorch does before a launch, such as asking whether the stream is captured."""
    asking = [
        Call("cudaStreamIsCapturing", at + LATE - 30_000, at + LATE - 29_000, 900 + at // STEP)
        for at in STARTS
    ]
    with Report(steps(tmp_path, calls=asking)) as report:
        spent = {str(row["part"]): int(row["ns"]) for row in budget.budget(report).rows()}
    assert spent["host_busy"] >= LATE - 1
    assert "launch_starved" not in spent


def test_an_exposed_all_reduce_is_no_idle_time(tmp_path: Path) -> None:
    path = reducing(tmp_path)
    with Report(path) as report:
        assert len(gaps.gaps(report)) == 0
    assert findings(path)[0].id == "exposed-collectives"
    assert "bucket_cap_mb" in findings(path)[0].text


def test_two_troubles_of_one_run_are_told_apart(tmp_path: Path) -> None:
    """Of 40 ms a step the host waits for data in two steps and collects garbage in three."""
    waits = [SystemCall("read", at + MS, at + LATE - MS) for at in STARTS[:2]]
    samples = [Sample(at + 20 * MS, ("gc_collect_main",)) for at in STARTS[2:]]
    path = add_host(steps(tmp_path), calls=waits, samples=samples)
    found = {finding.id: finding for finding in findings(path)}
    assert found["garbage-collection"].time_ns == 3 * LATE
    assert found["waiting-host"].time_ns == 2 * LATE - 1
    assert "busy-host" not in found


def test_most_time_without_a_sample_is_said_as_such(tmp_path: Path) -> None:
    path = add_host(steps(tmp_path), samples=[Sample(LATE + MS, ("f",))])
    assert "the host did something else (100.0 % of it in no call and no sample)" in (
        findings(path)[0].text
    )


def test_a_program_without_pytorch_is_told_of_no_data_loader(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("a", 0, 10), Kernel("b", 50 * MS, 60 * MS, launch=49 * MS)],
    )
    add_host(path, calls=[SystemCall("read", MS, 49 * MS)])
    (found, _) = findings(path)
    assert found.id == "waiting-host"
    assert found.text.endswith(
        "have what comes next ready before it is needed, on another thread, and let this one sleep "
        "and wait for nothing"
    )


def test_what_the_host_did_after_it_had_waited_is_told() -> None:
    found = {finding.id: finding for finding in findings(shared.report("cpu-samples-cpp"))}
    assert "cudaDeviceSynchronize, 50.7 % of it in write then:" in found["synchronisation"].text


@pytest.mark.parametrize(
    ("name", "longest"),
    [
        (
            "cpu-samples-4060ti",
            "idle longest: 46.16 ms in [kernel.kallsyms] (layer_0_computation) · 1.314 ms not "
            "scheduled (ensure_layer_3_weights) · 1.303 ms not scheduled (ensure_layer_3_weights)",
        ),
        (
            "cpu-samples-cpp",
            "idle longest: 2.559 ms in __gnu_cxx::__enable_…le*, double const&) · 1.148 ms in "
            "write · 1.108 ms in write",
        ),
    ],
)
def test_the_page_names_what_the_host_did_in_the_largest_gaps(
    name: str, longest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert page([str(shared.report(name)), "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert longest in told["about"]


def test_a_host_that_is_not_scheduled_is_no_data_loaders_fault_alone(tmp_path: Path) -> None:
    (found, *_) = findings(shared.report("cpu-samples-4060ti"))
    assert found.id == "waiting-host"
    assert "while the host was not scheduled (it slept or waited), spread over 8" in found.text
