"""Advice by the wall time of the GPUs: what no kernel runs beside, and what comes first."""

from dataclasses import replace
from pathlib import Path

from tests.analysis.advice.test_advise import MS, lines, one
from tests.made.reports.build_device import DEVICE, PAGEABLE, TO_HOST, WITHIN, Copy, add_device_work
from tests.made.reports.build_report import Kernel, Range, make_report
from tests.made.tools import shared


def copying(tmp_path: Path, *copies: Copy) -> str:
    """Write a report of one kernel of 10 ms and some copies, and return the line on copies."""
    path = tmp_path / "r.sqlite"
    path.unlink(missing_ok=True)
    make_report(path, ranges=[Range("step", 0, 5)], kernels=[Kernel("a", 0, 10 * MS, launch=1)])
    return one(add_device_work(path, copies=copies), "copies take")


def test_copies_under_no_kernel_are_named_with_kind_and_rate(tmp_path: Path) -> None:
    # 4 of the first one's 28 ms are under the kernel: 24 and 6 of 40 ms are exposed.
    to_device = Copy(6 * MS, 34 * MS, 28 * 10**7, launch=2)
    back = Copy(34 * MS, 40 * MS, 10, kind=TO_HOST, launch=3)
    assert copying(tmp_path, to_device, back).startswith(
        "copies take 30.00 ms, 75.0 % of the wall time, with no kernel running beside them, most "
        "of it Host-to-Device of pinned memory, 280.0 MB at 10.00 GB/s: keep on the GPU"
    )
    assert "copy less often" in copying(tmp_path, replace(to_device, kind=TO_HOST))
    within = replace(to_device, kind=WITHIN, source=DEVICE)
    assert "most of it Device-to-Device, 280" in copying(tmp_path, within)
    assert copying(tmp_path, replace(to_device, start=0, end=10 * MS)) == ""  # all under it
    assert copying(tmp_path, replace(to_device, source=PAGEABLE)) == ""  # a line of its own


def test_the_time_of_several_gpus_is_said_to_be_theirs_together(tmp_path: Path) -> None:
    """Each GPU copies for 80 of 100 ms, and idles before: 160 ms in a recording of 100."""
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 5)],
        kernels=[Kernel("a", 0, 20 * MS, device=device, launch=1) for device in (0, 1)],
    )
    copies = [Copy(20 * MS, 100 * MS, 10**8, launch=2, device=device) for device in (0, 1)]
    assert one(add_device_work(path, copies=copies), "copies take").startswith(
        "copies take 160.0 ms on 2 GPUs together, 80.0 % of the wall time, with no kernel"
    )


def test_copies_of_a_real_report_take_no_longer_than_there_were_gpus() -> None:
    assert one(shared.report("sliced-2xh100"), "copies take").startswith(
        "copies take 1.881 s on 2 GPUs together, 97.0 % of the wall time, with no kernel"
    )


def test_what_takes_most_of_the_wall_time_comes_first(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        run={"device_name": "NVIDIA A100-SXM4-40GB"},
        ranges=[Range("step", 0, 5)],
        kernels=[Kernel("ampere_sgemm_128x64_tn", 0, 20 * MS, launch=1)],
    )
    add_device_work(path, copies=[Copy(20 * MS, 100 * MS, 10**8, launch=2)])
    first, second = lines(path)
    assert first.startswith("copies take 80.00 ms, 80.0 % of the wall time")
    assert "(100.0 % of the kernels' time, 20.0 % of the wall time)" in second


def test_products_that_take_little_of_the_wall_time_get_none(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        run={"device_name": "NVIDIA A100-SXM4-40GB"},
        ranges=[Range("step", 0, 5)],
        kernels=[Kernel("ampere_sgemm_128x64_tn", 0, 2 * MS, launch=1)],
    )
    add_device_work(path, copies=[Copy(2 * MS, 100 * MS, 10**8, launch=2)])
    assert one(path, "TF32") == ""


def talking(tmp_path: Path, *waits: int) -> str:
    """Write a report of GPUs that each wait for the others at the end of 80 ms."""
    kernels = []
    for device, wait in enumerate(waits):
        start = 80 * MS - wait
        kernels += [
            Kernel("mm", 0, start, device=device, launch=1),
            Kernel("ncclDevKernel_AllReduce", start, 90 * MS, device=device, launch=2, stream=8),
            Kernel("mm", 80 * MS, 100 * MS, device=device, launch=3),
        ]
    path = tmp_path / "r.sqlite"
    path.unlink(missing_ok=True)
    return one(make_report(path, ranges=[Range("step", 0, 5)], kernels=kernels), "collectives")


def test_collectives_under_no_other_kernel_are_named_with_what_is_hidden(tmp_path: Path) -> None:
    assert talking(tmp_path, 10 * MS) == (
        "collectives take 10.00 ms, 10.0 % of the wall time, with no other kernel running beside "
        "them (50.0 % of their time is hidden under computation): begin them earlier and in "
        "smaller pieces, on a stream of their own"
    )
    assert talking(tmp_path, 4 * MS) == ""
    assert "comes last" not in talking(tmp_path, 10 * MS, 9 * MS)


def test_the_gpu_that_waits_least_is_the_one_that_is_late(tmp_path: Path) -> None:
    assert talking(tmp_path, 20 * MS, 5 * MS).endswith(
        "; they take 20.0 % on GPU 0 in process 100 and 5.0 % on GPU 1 in process 100, which comes "
        "last and keeps the others waiting: give it less to do"
    )
