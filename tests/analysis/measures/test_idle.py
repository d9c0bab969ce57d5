"""What a gap was for: the launch that ended it, and what the host did meanwhile."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from analysis import gaps
from analysis.measures.idle import RESUME_NS, SLOW_CALL_NS
from tests.analysis.questions.test_gaps import found
from tests.made.reports.build_device import PAGEABLE, Call, Copy, add_device_work
from tests.made.reports.build_report import Kernel, make_report


def two(tmp_path: Path, *, launch: int | None, thread: int = 100, after: int = 200) -> Path:
    """Write a report with a kernel from 0 to 100 and one from ``after``: a gap between them."""
    return make_report(
        tmp_path / "r.sqlite",
        kernels=[
            Kernel("a", 0, 100, launch=0),
            Kernel("b", after, after + 10, launch=launch, thread=thread),
        ],
    )


def cause(path: Path) -> str:
    """Return why there was the only gap."""
    ((_, _, why, _),) = found(path)
    return why


def test_a_launch_before_the_gap_was_in_time(tmp_path: Path) -> None:
    assert cause(two(tmp_path, launch=100)) == "launch_latency"


def test_a_launch_after_the_gap_began_came_late(tmp_path: Path) -> None:
    assert cause(two(tmp_path, launch=101)) == "host"


@pytest.mark.parametrize(
    "name",
    [
        "cudaStreamSynchronize_v3020",
        "cudaDeviceSynchronize",
        "cudaEventSynchronize",
        "cuCtxSynchronize",
    ],
)
def test_a_host_that_waited_for_the_gpu_is_a_synchronisation(tmp_path: Path, name: str) -> None:
    path = add_device_work(two(tmp_path, launch=190), calls=[Call(name, 50, 110)])
    assert cause(path) == "synchronisation"


def test_a_wait_that_was_over_before_the_gap_does_not_matter(tmp_path: Path) -> None:
    path = add_device_work(two(tmp_path, launch=190), calls=[Call("cudaStreamSynchronize", 5, 99)])
    assert cause(path) == "host"


def test_a_host_that_did_something_else_after_it_had_waited_came_late(tmp_path: Path) -> None:
    call = Call("cudaStreamSynchronize", 50, 110)
    soon = two(tmp_path, launch=110 + RESUME_NS, after=10**8)
    assert cause(add_device_work(soon, calls=[call])) == "synchronisation"
    soon.unlink()
    late = two(tmp_path, launch=111 + RESUME_NS, after=10**8)
    assert cause(add_device_work(late, calls=[call])) == "host"


def test_a_wait_for_half_of_the_delay_is_its_cause(tmp_path: Path) -> None:
    path = add_device_work(
        two(tmp_path, launch=200, after=300), calls=[Call("cudaEventSynchronize", 120, 170)]
    )
    assert cause(path) == "synchronisation"


def test_a_wait_on_another_thread_counts_if_it_ended_before_the_launch(tmp_path: Path) -> None:
    """As autograd's thread launches after the main thread has waited."""
    wait = Call("cudaStreamSynchronize", 50, 110, thread=101)
    assert cause(add_device_work(two(tmp_path, launch=150), calls=[wait])) == "synchronisation"
    (tmp_path / "r.sqlite").unlink()
    still = Call("cudaStreamSynchronize", 50, 160, thread=101)
    assert cause(add_device_work(two(tmp_path, launch=150), calls=[still])) == "host"


def test_a_wait_of_another_process_does_not_count(tmp_path: Path) -> None:
    wait = Call("cudaStreamSynchronize", 50, 110, process=200)
    assert cause(add_device_work(two(tmp_path, launch=150), calls=[wait])) == "host"


def test_a_host_that_waited_in_a_copy_is_a_copy(tmp_path: Path) -> None:
    path = add_device_work(
        two(tmp_path, launch=190),
        copies=[Copy(60, 105, call="cudaMemcpy_v3020", launch=50, done=120)],
    )
    assert found(path) == [(105, 95, "copy", "")]


def test_an_asynchronous_copy_keeps_the_host_only_if_the_memory_is_pageable(tmp_path: Path) -> None:
    pinned = Copy(60, 105, launch=50, done=120)
    assert cause(add_device_work(two(tmp_path, launch=190), copies=[pinned])) == "host"
    (tmp_path / "r.sqlite").unlink()
    pageable = Copy(60, 105, source=PAGEABLE, launch=50, done=120)
    assert cause(add_device_work(two(tmp_path, launch=190), copies=[pageable])) == "copy"


def test_a_copy_whose_own_call_fills_the_gap_is_a_copy(tmp_path: Path) -> None:
    path = add_device_work(
        make_report(tmp_path / "r.sqlite", kernels=[Kernel("a", 0, 100, launch=0)]),
        copies=[Copy(200, 300, source=PAGEABLE, launch=110, done=290)],
    )
    assert cause(path) == "copy"


def test_a_launch_that_takes_long_itself_is_the_host(tmp_path: Path) -> None:
    """It loads the kernel's module first."""
    after = 100 + 2 * SLOW_CALL_NS
    path = add_device_work(
        two(tmp_path, launch=None, after=after),
        calls=[Call("cudaLaunchKernel_v7000", 90, after)],
    )
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE CUPTI_ACTIVITY_KIND_RUNTIME SET correlationId = 2 WHERE start = 90"
        )
    assert cause(path) == "host"


def test_work_without_a_recorded_launch_is_kept_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = two(tmp_path, launch=None)
    assert cause(path) == "unknown"
    assert gaps.main([str(path)]) == 0
    assert "before work whose launch was not recorded: 1 gap\n" in capsys.readouterr().err


def test_a_report_without_any_call_still_has_its_gaps(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", kernels=[Kernel("a", 0, 10), Kernel("b", 30, 40)])
    assert found(path) == [(10, 20, "unknown", "")]
