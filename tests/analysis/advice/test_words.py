"""The words of advice: those of PyTorch where the report shows PyTorch, else those of CUDA."""

from collections.abc import Callable
from pathlib import Path

import pytest

from analysis import Report
from analysis.recorded.framework import uses_pytorch
from tests.analysis.advice.test_advise import MS, findings, lines
from tests.made.reports.build_device import PAGEABLE, Call, Copy, add_device_work
from tests.made.reports.build_report import Kernel, Operator, Range, make_report
from tests.made.tools import shared

OF_PYTORCH = (
    *(".item()", "DataLoader", "pin_memory", "non_blocking", "torch", "DDP", "FSDP", "AdamW"),
    *("F.scaled_dot_product", "profiling.spans"),
)
RUN = {"device_name": "NVIDIA A100-SXM4-40GB"}


def synchronising(path: Path, run: dict[str, str]) -> None:
    kernels = [Kernel("a", 0, 100, launch=0), Kernel("b", 200, 300, launch=190)]
    make_report(path, run=run, ranges=[Range("step", 0, 1000)], kernels=kernels)
    add_device_work(path, calls=[Call("cudaStreamSynchronize_v3020", 50, 110)])


def copying(path: Path, run: dict[str, str]) -> None:
    make_report(path, run=run, ranges=[Range("step", 0, 9)], kernels=[Kernel("a", 0, 9, launch=1)])
    pageable = Copy(10, 20 * MS, 10**7, source=PAGEABLE, launch=2, done=20 * MS)
    at_once = Copy(20 * MS, 40 * MS, 10**7, call="cudaMemcpy", launch=8, done=40 * MS)
    add_device_work(path, copies=[pageable, at_once])


def waiting(path: Path, run: dict[str, str]) -> None:
    late = [Kernel("k", 20_000 * n, 20_000 * n + 9, launch=20_000 * n - 5) for n in range(9)]
    busy = Kernel("k", 10 * MS, 10 * MS + 9, launch=10 * MS - 5)
    make_report(path, run=run, ranges=[Range("step", 0, 11 * MS)], kernels=[*late, busy])


def launching(path: Path, run: dict[str, str]) -> None:
    late = [Kernel("k", 20_000 * n, 20_000 * n + 9, launch=20_000 * n - 5) for n in range(1, 9)]
    make_report(path, run=run, ranges=[Range("step", 0, 180_000)], kernels=late)


def talking(path: Path, run: dict[str, str]) -> None:
    kernels = [Kernel("a", 0, 9, launch=1), Kernel("ncclDevKernel_AllReduce", 9, 90, launch=2)]
    make_report(path, run=run, ranges=[Range("step", 0, 5)], kernels=kernels)


def multiplying(path: Path, run: dict[str, str]) -> None:
    kernels = [Kernel("ampere_sgemm_128x64_tn", 0, 20, launch=1)]
    make_report(path, run=run, ranges=[Range("step", 0, 5)], kernels=kernels)


def stepping(path: Path, run: dict[str, str]) -> None:
    kernels = [Kernel("k", 10 * at, 10 * at + 10, launch=at) for at in range(100)]
    ranges = [Range("step", 0, 10**6), Range("Optimizer step", 0, 10**6)]
    make_report(path, run=run, ranges=ranges, kernels=kernels)


def attending(path: Path, run: dict[str, str]) -> None:
    ranges = [Range(part, 10 * at, 10 * at + 9) for at, part in enumerate(("softmax", "loss"))]
    kernels = [Kernel("softmax", 100, 200, launch=1), Kernel("rest", 200, 210, launch=11)]
    make_report(path, run=run, ranges=ranges, kernels=kernels)


def unmarked(path: Path, run: dict[str, str]) -> None:
    make_report(path, run=run, kernels=[Kernel("a", 0, 9, launch=1)])


@pytest.mark.parametrize(
    ("make", "ids"),
    [
        (synchronising, {"synchronisation"}),
        (copying, {"pageable-copies", "synchronous-copies"}),
        (waiting, {"busy-host"}),
        (launching, {"launch-latency"}),
        (talking, {"exposed-collectives"}),
        (multiplying, {"products-without-tf32"}),
        (stepping, {"unfused-optimizer"}),
        (attending, {"unfused-attention"}),
        (unmarked, {"no-ranges"}),
    ],
)
def test_the_words_are_those_of_the_program(
    make: Callable[[Path, dict[str, str]], None], ids: set[str], tmp_path: Path
) -> None:
    make(tmp_path / "cuda.sqlite", RUN)
    make(tmp_path / "torch.sqlite", RUN | {"torch": "2.9.0"})
    plain, torch = (
        {found.id: found for found in findings(tmp_path / f"{name}.sqlite")}
        for name in ("cuda", "torch")
    )
    assert set(plain) == set(torch) == ids
    for number in ids:
        assert not any(word in plain[number].text for word in OF_PYTORCH)
        assert any(word in torch[number].text for word in OF_PYTORCH)
        assert plain[number].time_ns == torch[number].time_ns


@pytest.mark.parametrize(
    "kernel",
    [
        "void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float>>",
        "_ZN2at6native18elementwise_kernelILi128ELi2E",
        "void gather<long, c10::Half>(long)",
        "triton_poi_fused_add_0",
    ],
)
def test_pytorch_shows_in_its_kernels(kernel: str, tmp_path: Path) -> None:
    with Report(make_report(tmp_path / "r.sqlite", kernels=[Kernel(kernel, 0, 9)])) as report:
        assert uses_pytorch(report)


@pytest.mark.parametrize(
    "name",
    ["aten::mm, seq = 3", "ProfilerStep#2", "Optimizer.step#AdamW.step", "autograd::engine::run"],
)
def test_pytorch_shows_in_its_ranges(name: str, tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite", kernels=[Kernel("a", 0, 9)], ranges=[Range(name, 0, 9)]
    )
    with Report(path) as report:
        assert uses_pytorch(report)


def test_pytorch_shows_in_operators(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", operators=[Operator("aten::mm", 0, 9, 9)])
    with Report(path) as report:
        assert uses_pytorch(report)


@pytest.mark.parametrize("name", ["cutlass_80_simt_sgemm", "triton_kernel", "that::native", "c10"])
def test_others_kernels_are_no_sign_of_pytorch(name: str, tmp_path: Path) -> None:
    with Report(make_report(tmp_path / "r.sqlite", kernels=[Kernel(name, 0, 9)])) as report:
        assert not uses_pytorch(report)


def test_a_trimmed_report_of_others_is_no_sign_of_pytorch(tmp_path: Path) -> None:
    run = {"trimmed": "step 1 of 2"}
    with Report(make_report(tmp_path / "r.sqlite", kernels=[Kernel("a", 0, 9)], run=run)) as report:
        assert not uses_pytorch(report)


@pytest.mark.parametrize(
    "name",
    ["cpu-samples-cpp", "mpi-saxpy-2022.2", "registered-strings-cupy", "no-meta-2021"],
)
def test_programs_without_pytorch_get_no_words_of_it(name: str) -> None:
    path = shared.report(name)
    with Report(path) as report:
        assert not uses_pytorch(report)
    said = lines(path)
    assert said
    assert not any(word in line for line in said for word in OF_PYTORCH)


@pytest.mark.parametrize(
    "name",
    ["cpu-samples-4060ti", "forward-2.7b-a100", "fsdp-2xh100-after", "sliced-2xh100"],
)
def test_programs_with_pytorch_are_known(name: str) -> None:
    with Report(shared.report(name)) as report:
        assert uses_pytorch(report)
