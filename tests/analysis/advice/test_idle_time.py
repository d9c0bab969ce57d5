"""Advice on idle time: where the host was, in which call, and whose fault it is."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from analysis.advice.finding import Finding
from tests.analysis.advice.test_advise import MS, findings
from tests.made.reports.build_device import PAGEABLE, TO_HOST, Copy, add_device_work
from tests.made.reports.build_report import Call, Kernel, Operator, Range, make_report


def of(path: Path, number: str) -> Finding | None:
    """Return the finding of one rule, None where it found nothing."""
    found = [finding for finding in findings(path) if finding.id == number]
    assert len(found) <= 1
    return found[0] if found else None


def late(tmp_path: Path, *waits: tuple[str, int]) -> Path:
    """Write a report with a gap of so many ms for each wait, in a range where it has a name."""
    kernels, ranges, at = [Kernel("k", 0, 10 * MS, launch=0)], [], 10
    for name, wait in waits:
        if name:
            ranges.append(Range(name, at * MS, (at + wait) * MS))
        at += wait
        kernels.append(Kernel("k", at * MS, (at + 10) * MS, launch=at * MS - 1000))
        at += 10
    return make_report(tmp_path / "r.sqlite", ranges=ranges, kernels=kernels)


def told(tmp_path: Path, *waits: tuple[str, int]) -> Finding:
    """Return the finding on a host that came late."""
    found = of(late(tmp_path, *waits), "busy-host")
    assert found is not None
    return found


def test_most_time_in_no_range_is_said_as_such(tmp_path: Path) -> None:
    found = told(tmp_path, ("", 93), ("softmax", 7))
    assert "something else, 93.0 % of it in no range and 7.0 % in softmax: do" in found.text
    assert found.range is None


def test_a_runner_up_that_is_little_is_not_named(tmp_path: Path) -> None:
    assert "else, 97.0 % of it in no range: do" in told(tmp_path, ("", 97), ("softmax", 3)).text


def test_time_in_no_range_is_said_beside_the_range_that_holds_most(tmp_path: Path) -> None:
    found = told(tmp_path, ("load", 70), ("", 30))
    assert "something else, most of it in load, 30.0 % of it in no range: do" in found.text
    assert found.range == "load"


def test_ranges_that_hold_most_only_together_are_no_one_range(tmp_path: Path) -> None:
    found = told(tmp_path, ("load", 40), ("save", 40), ("log", 20))
    assert "most of it in load and save: do" in found.text
    assert found.range is None


def test_time_spread_over_many_ranges_is_said_to_be(tmp_path: Path) -> None:
    found = told(tmp_path, ("first", 11), *((f"step {number}", 10) for number in range(9)))
    assert "spread over 10 ranges, the most in first (10.9 %): do" in found.text


def test_a_long_name_is_cut_in_the_middle(tmp_path: Path) -> None:
    name = str({"phase": "load", "options": {"a": 1, "b": [1, 2, 3], "c": "d" * 60}, "end": True})
    found = told(tmp_path, (name, 50))
    assert "most of it in {'phase': 'load', 'o…ddd'}, 'end': True}: do" in found.text
    assert found.range == name


def loading(tmp_path: Path, *calls: Call, name: str = "b", launch: int = 95) -> Path:
    """Write a report of a kernel to 10 ms and one from 100 ms, and calls between."""
    return make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 120 * MS), Range("softmax", 11 * MS, 99 * MS)],
        kernels=[
            Kernel("a", 0, 10 * MS, launch=0),
            Kernel(name, 100 * MS, 110 * MS, correlation=70),
        ],
        calls=[*calls, Call("cudaLaunchKernel_v7000", launch * MS, 100 * MS, 70)],
    )


CURE = (
    "warm up with more steps, load all kernels at the start (CUDA_MODULE_LOADING=EAGER), or leave "
    "these steps out (--steps)"
)


def test_kernels_being_loaded_are_no_data_loaders_fault(tmp_path: Path) -> None:
    """Of 90 ms the library takes 60 and the first launch of a kernel 20."""
    library = Call("cuLibraryLoadData", 15 * MS, 75 * MS, 60)
    path = loading(tmp_path, library, launch=80)
    (found,) = findings(path)
    assert found.id == "kernel-loading"
    assert found.time_ns == 90 * MS
    assert found.text == (
        "the GPU was idle for 90.00 ms (81.8 % of the time) while the host loaded kernels on their "
        f"first use (in cuLibraryLoadData), most of it in softmax: {CURE}"
    )


def test_a_slow_first_launch_loads_its_kernel(tmp_path: Path) -> None:
    found = of(loading(tmp_path, launch=30), "kernel-loading")
    assert found is not None
    assert "first use (in cudaLaunchKernel)" in found.text


@pytest.mark.parametrize(
    ("name", "launch", "says"),
    [
        ("a", 30, "while the host was in cudaLaunchKernel, most of it in softmax: do that"),
        ("b", 70, "while the host did something else, most of it in softmax: do that ahead"),
    ],
)
def test_a_host_that_loads_little_is_busy_with_something_else(
    name: str, launch: int, says: str, tmp_path: Path
) -> None:
    path = loading(tmp_path, name=name, launch=launch)
    found = of(path, "busy-host")
    assert found is not None
    assert says in found.text
    assert of(path, "kernel-loading") is None


def test_a_host_that_allocates_is_told_to_allocate_before(tmp_path: Path) -> None:
    found = of(loading(tmp_path, Call("cudaMalloc_v3020", 12 * MS, 90 * MS, 60)), "busy-host")
    assert found is not None
    assert "while the host was in cudaMalloc, most of it in softmax: allocate once" in found.text


def test_only_the_idle_time_of_the_chosen_copies_counts(tmp_path: Path) -> None:
    """A few bytes of pageable memory, and a large copy of pinned memory that the GPU waits for."""
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 200 * MS)],
        kernels=[Kernel("a", 0, 10 * MS, launch=0), Kernel("b", 60 * MS, 99 * MS, launch=59 * MS)],
    )
    pinned = Copy(10 * MS, 20 * MS, 10**8, call="cudaMemcpy", launch=5 * MS, done=58 * MS)
    tiny = Copy(20 * MS, 20 * MS + 100, 16, source=PAGEABLE, launch=58 * MS, done=58 * MS + 500)
    add_device_work(path, copies=[pinned, tiny])
    assert of(path, "pageable-copies") is None
    found = of(path, "synchronous-copies")
    assert found is not None
    # The 40 ms from 20 to 60 but for the 100 ns in which the other copy ran.
    assert found.time_ns == 50 * MS - 100
    assert found.text == (
        "1 synchronous copy, 100.0 MB at 10.00 GB/s, kept the host waiting for 48.00 ms, took "
        "10.1 % of the wall time with no kernel running beside them, and left the GPU idle for "
        "another 40.4 % of the wall time: copy asynchronously (cudaMemcpyAsync)"
    )


def test_the_time_a_copy_waits_for_kernels_is_told_apart(tmp_path: Path) -> None:
    """Of 2.5 s in the call 2.1 s are the kernel that it waits for, and 0.4 s the copy."""
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 2600 * MS)],
        kernels=[Kernel("a", 0, 2100 * MS, launch=0)],
    )
    back = Copy(
        *(2100 * MS, 2500 * MS, 10**9),
        kind=TO_HOST,
        target=PAGEABLE,
        call="cudaMemcpy_v3020",
        launch=1,
        done=2500 * MS,
    )
    found = of(add_device_work(path, copies=[back]), "pageable-copies")
    assert found is not None
    assert found.time_ns == 400 * MS
    assert (
        "kept the host waiting for 400.0 ms (2.100 s more it waited for the kernels" in found.text
    )


def test_a_copy_of_a_few_bytes_is_a_wait(tmp_path: Path) -> None:
    """As ``loss.item()`` is: pinning its 4 bytes gains nothing."""
    path = make_report(
        tmp_path / "r.sqlite",
        run={"torch": "2.9.0"},
        ranges=[Range("step", 0, 200 * MS)],
        kernels=[
            Kernel("a", 0, 50 * MS, launch=0),
            Kernel("b", 60 * MS, 99 * MS, launch=50 * MS + 900_000),
        ],
    )
    loss = Copy(
        *(50 * MS, 50 * MS + 2000, 4), kind=TO_HOST, target=PAGEABLE, launch=9, done=50 * MS + 9000
    )
    (found,) = findings(add_device_work(path, copies=[loss]))
    assert found.id == "synchronisation"
    assert found.time_ns == 10 * MS - 2000
    assert "after the host had waited for it in cudaMemcpyAsync" in found.text
    assert found.text.endswith("leave .item(), .cpu() and synchronize() out of the loop")


@pytest.mark.parametrize(("share", "told"), [(6, False), (12, True)])
def test_a_small_share_of_a_cpus_time_is_no_reason_to_fuse(
    share: int, told: bool, tmp_path: Path
) -> None:
    small = [Operator("aten::mul_", 10 * at, 10 * at + share, share) for at in range(100)]
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 20_000), Range("optimizer", 0, 1_000)],
        operators=[*small, Operator("aten::mm", 2000, 12_000 - 100 * share, 10_000 - 100 * share)],
    )
    assert (of(path, "unfused-optimizer") is not None) == told


def test_steps_are_not_offered_where_there_are_none(tmp_path: Path) -> None:
    path = loading(tmp_path, Call("cuLibraryLoadData", 12 * MS, 72 * MS, 71))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE NVTX_EVENTS SET text = 'part' WHERE text = 'step'")
        connection.commit()
    (found,) = [each for each in findings(path) if each.id == "kernel-loading"]
    assert "(CUDA_MODULE_LOADING=EAGER)" in found.text
    assert "--steps" not in found.text
