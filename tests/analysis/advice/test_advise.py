"""Advice: a line where there is evidence, and none where there is not."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from analysis import Report
from analysis.advice import findings as rules
from analysis.advice.finding import Finding
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Selection
from analysis.measures.window import MeasuredWindow
from analysis.show.called import by_name
from tests.made.reports.build_device import PAGEABLE, Call, Copy, add_device_work
from tests.made.reports.build_report import Graph, Kernel, Operator, Range, make_report
from tests.made.tools import shared

MS = 1_000_000


def findings(path: Path) -> list[Finding]:
    """Return the advice on a report."""
    with Report(path) as report:
        return rules.findings(MeasuredWindow(Selected.of(report, Selection())))


def lines(path: Path) -> list[str]:
    """Return the texts of the advice on a report."""
    return [finding.text for finding in findings(path)]


def one(path: Path, word: str) -> str:
    """Return the only line with this word, "" where there is none."""
    found = [line for line in lines(path) if word in line]
    assert len(found) <= 1
    return found[0] if found else ""


def busy(tmp_path: Path, *names: str, run: dict[str, str] | None = None) -> Path:
    """Write a report of a step whose kernels, of 10 ms each, follow one another."""
    return make_report(
        tmp_path / "r.sqlite",
        run=run,
        ranges=[Range("step", 0, 100 * MS)],
        kernels=[
            Kernel(name, number * 10 * MS, (number + 1) * 10 * MS, launch=number)
            for number, name in enumerate(names)
        ],
    )


def test_a_run_that_lacks_nothing_gets_no_line(tmp_path: Path) -> None:
    assert lines(busy(tmp_path, "nvjet_tst_a", "flash_fwd_kernel", "elementwise")) == []


def test_synchronous_copies_are_named_with_the_time_they_took(tmp_path: Path) -> None:
    copy = Copy(10 * MS, 20 * MS, 10**7, call="cudaMemcpy", launch=9 * MS, done=21 * MS)
    path = add_device_work(busy(tmp_path, "a"), copies=[copy])
    # Of the call's 12 ms the first it waited for the kernel.
    assert one(path, "synchronous copy") == (
        "1 synchronous copy, 10.00 MB at 1.000 GB/s, kept the host waiting for 11.00 ms, and took "
        "50.0 % of the wall time with no kernel running beside them: copy asynchronously "
        "(cudaMemcpyAsync)"
    )


def test_pageable_memory_is_named_with_its_rate(tmp_path: Path) -> None:
    copy = Copy(10 * MS, 20 * MS, 10**7, source=PAGEABLE, launch=9 * MS, done=21 * MS)
    path = add_device_work(busy(tmp_path, "a"), copies=[copy])
    assert one(path, "pageable").startswith(
        "1 copy of pageable memory, 10.00 MB at 1.000 GB/s, kept the host waiting for 11.00 ms, "
        "and took 50.0 % of the wall time with no kernel running beside them: pin the memory"
    )


@pytest.mark.parametrize("launch", [1, 150 * MS])
def test_copies_that_are_short_or_outside_the_steps_get_none(tmp_path: Path, launch: int) -> None:
    time = 10_000 if launch == 1 else 10 * MS
    copy = Copy(10 * MS, 10 * MS + time, 64, source=PAGEABLE, launch=launch, done=launch + time)
    assert lines(add_device_work(busy(tmp_path, "a"), copies=[copy])) == []


def apart(tmp_path: Path, gap_ns: int, count: int, ranges: Iterable[Range] = ()) -> Path:
    """Write a report of kernels that take as long as the gaps between them, launched late."""
    period = 2 * gap_ns
    end = period * count
    return make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, end), *ranges],
        kernels=[
            Kernel("k", at, at + gap_ns, launch=max(at - 5, 0)) for at in range(0, end, period)
        ],
    )


def test_a_gpu_that_waits_for_launches_is_launch_bound(tmp_path: Path) -> None:
    line = one(apart(tmp_path, 10_000, 100), "for launches")
    assert line.startswith("the GPU waited 990.0 µs (49.7 % of the time) for launches, most of it")
    assert "in step: launch less (fused kernels, CUDA graphs) or" in line


def test_the_launch_bound_ranges_are_named(tmp_path: Path) -> None:
    slow = [Kernel("k", at, at + 1000, launch=at - 5) for at in range(10_000, 200_000, 10_000)]
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 300_000), Range("ffn", 1, 195_000), Range("aten::mm", 2, 99_000)],
        kernels=slow,
    )
    # The step lost no more than the ffn in it: the same twice.
    assert "; launch-bound: ffn: launch less" in one(path, "for launches")


def test_a_range_and_what_is_all_of_it_are_named_once(tmp_path: Path) -> None:
    slow = [Kernel("k", at, at + 1000, launch=at - 5) for at in range(10_000, 200_000, 10_000)]
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("step", 0, 500_000),
            Range("optimizer step", 1, 195_000),
            Range("Optimizer.step#AdamW.step", 2, 194_000),
            Range("ffn", 300_000, 400_000),
        ],
        kernels=[
            *slow,
            *(Kernel("k", at, at + 1000, launch=at - 5) for at in range(310_000, 400_000, 10_000)),
        ],
    )
    line = one(path, "for launches")
    assert "AdamW" not in line
    assert "optimizer" in line
    assert "ffn" in line


def test_a_host_that_is_busy_elsewhere_gets_another_cure(tmp_path: Path) -> None:
    path = apart(tmp_path, 10 * MS, 5, [Range("data loading", 0, 100 * MS)])
    assert one(path, "for launches") == ""
    line = one(path, "something else")
    assert line.startswith(
        "the GPU was idle for 40.00 ms (44.4 % of the time) in 4 gaps of 1.000 ms"
    )
    assert "most of it in data loading: do that ahead" in line


def test_waiting_for_the_gpu_is_named_with_the_range(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 1000), Range("logging", 90, 200)],
        kernels=[Kernel("a", 0, 100, launch=0), Kernel("b", 200, 300, launch=190)],
    )
    add_device_work(path, calls=[Call("cudaStreamSynchronize_v3020", 50, 110)])
    assert one(path, "had waited").startswith(
        "the GPU was idle for 100 ns (33.3 %) after the host had waited for it in "
        "cudaStreamSynchronize, most of it in logging: leave such waits out of the loop"
    )


def test_the_idle_time_of_two_gpus_is_said_to_be_theirs_together(tmp_path: Path) -> None:
    """Each idles for 40 ms of the 80 ms in which it is looked at."""
    both = [
        Kernel(name, start * MS, (start + 20) * MS, device=device, launch=max(start * MS - 5, 0))
        for device in (0, 1)
        for name, start in (("a", 0), ("b", 60))
    ]
    path = make_report(tmp_path / "r.sqlite", ranges=[Range("step", 0, 80 * MS)], kernels=both)
    assert one(path, "something else").startswith(
        "2 GPUs together were idle for 80.00 ms (50.0 % of the time) in 2 gaps of 1.000 ms or more"
    )


@pytest.mark.parametrize(
    ("device", "kernel", "end"),
    [
        ("NVIDIA A100-SXM4-40GB", "ampere_sgemm_128x64_tn", "8 times as fast on A100 40GB SXM"),
        ("NVIDIA L40", "ampere_sgemm_128x64_tn", ""),
        ("Tesla T4", "turing_sgemm_128x64_tn", ""),
        ("", "sm80_xmma_gemm_f32f32_f32f32_f32_tn_n_ffma", "which this GPU has"),
        ("", "volta_sgemm_128x64_tn", ""),
        ("NVIDIA A100-SXM4-40GB", "sm80_xmma_gemm_f32f32_tf32f32_f32_tn", ""),
        # Its operands are half and its sum float: it runs on the tensor cores.
        (
            "NVIDIA A100-SXM4-40GB",
            "void cutlass::Kernel<cutlass::gemm::kernel::Gemm<cutlass::gemm::threadblock::"
            "MmaMultistage<cutlass::gemm::GemmShape<128, 128, 32>, cutlass::half_t, float> > >()",
            "",
        ),
    ],
)
def test_products_in_fp32_get_a_line_where_tf32_is_faster(
    tmp_path: Path, device: str, kernel: str, end: str
) -> None:
    line = one(busy(tmp_path, kernel, "add", run={"device_name": device}), "TF32")
    assert line.endswith(end)
    if end:
        assert line.startswith("matrix products in fp32 without TF32 take 10.00 ms (50.0 % of")
    else:
        assert line == ""


def stepping(tmp_path: Path, name: str, count: int) -> Path:
    """Write a report whose optimizer launches ``count`` kernels back to back."""
    return make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 10**6), Range("Optimizer step", 0, 10**6)],
        kernels=[Kernel(name, 10 * at, 10 * at + 10, launch=at) for at in range(count)],
    )


def test_an_optimizer_of_many_small_kernels_is_not_fused(tmp_path: Path) -> None:
    assert one(stepping(tmp_path, "vectorized_elementwise", 100), "optimizer") == (
        "the optimizer takes 100.0 % of the kernels' time (100.0 % of the wall time) in 100 "
        "kernels a step, 10 ns each: update all parameters in a few kernels"
    )


@pytest.mark.parametrize(
    ("name", "count"),
    [("multi_tensor_apply_kernel<FusedAdamMathFunctor>", 100), ("vectorized_elementwise", 99)],
)
def test_a_fused_or_short_optimizer_gets_none(tmp_path: Path, name: str, count: int) -> None:
    assert one(stepping(tmp_path, name, count), "optimizer") == ""


def attending(tmp_path: Path, *names: str) -> Path:
    """Write a report with attention's parts in ranges, and kernels launched in each."""
    parts = ("computing attention scores", "computing softmax", "final matmul")
    return make_report(
        tmp_path / "r.sqlite",
        ranges=[Range(part, 10 * at, 10 * at + 9) for at, part in enumerate(parts)],
        kernels=[
            Kernel(name, 100 + 10 * at, 110 + 10 * at, launch=10 * at + 1)
            for at, name in enumerate(names)
        ],
    )


def test_attention_in_kernels_of_its_own_is_not_fused(tmp_path: Path) -> None:
    assert one(attending(tmp_path, "bmm", "softmax", "bmm", "rest"), "attention").startswith(
        "attention takes 75.0 % of the kernels' time (75.0 % of the wall time), with scores, "
        "softmax and final matmul in kernels of their own: one fused kernel (FlashAttention)"
    )
    (tmp_path / "r.sqlite").unlink()
    assert one(attending(tmp_path, "flash_fwd_kernel", "softmax", "bmm"), "attention") == ""


def test_attention_has_its_backward_too(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("forward", 0, 50),
            Range("softmax", 10, 20),
            Range("backward", 50, 90),
            Range("softmax.backward", 60, 70, thread=101),
        ],
        kernels=[
            Kernel("softmax", 100, 120, launch=11),
            Kernel("mm", 120, 170, launch=30),
            Kernel("softmax_backward", 170, 200, launch=61, thread=101),
        ],
    )
    assert one(path, "attention").startswith(
        "attention takes 50.0 % of the kernels' time (50.0 % of the wall time), its backward "
        "included, with scores"
    )


def test_our_own_recording_is_as_small_as_it_can_be(tmp_path: Path) -> None:
    run = {"step_ns": "[150, 160, 155]", "unprofiled_step_ns": "[100, 101, 102]"}
    assert one(busy(tmp_path, "a", run=run), "recording").endswith("--cpuctxsw=none)")
    (tmp_path / "r.sqlite").unlink()
    run["recorder"] = "nsys"
    assert one(busy(tmp_path, "a", run=run), "recording").endswith(
        "compare shares rather than times"
    )


@pytest.mark.parametrize(
    ("recorded", "bare", "says"),
    [
        ("[150, 160, 155]", "[100, 101, 102]", "from 101 ns to 155 ns"),
        ("[105, 106, 107]", "[100, 101, 102]", ""),
        ("[150, 160, 155]", "[100, 101, 152]", ""),
        ("[150]", "[100]", ""),
    ],
)
def test_a_profiler_that_slows_steps_is_named(
    tmp_path: Path, recorded: str, bare: str, says: str
) -> None:
    run = {"step_ns": recorded, "unprofiled_step_ns": bare}
    line = one(busy(tmp_path, "a", run=run), "recording slowed")
    assert says in line
    assert bool(says) == bool(line)


def test_missing_ranges_are_named(tmp_path: Path) -> None:
    kernels = [Kernel("a", 0, 100, launch=5), Kernel("b", 100, 400, launch=50)]
    path = make_report(tmp_path / "r.sqlite", kernels=kernels)
    assert "(nvtxRangePush and nvtxRangePop, or" in one(path, "no NVTX ranges")
    path.unlink()
    make_report(path, kernels=kernels, ranges=[Range("ffn", 0, 10)])
    assert one(path, "only").startswith("only 25.0 % of the time was launched inside a range")


def test_what_the_backward_pass_launches_from_its_own_thread_is_inside(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("backward", 0, 90)],
        kernels=[Kernel("a", 100, 200, launch=5, thread=101)],
    )
    assert lines(path) == []


def test_graphs_that_were_recorded_as_a_whole_are_named(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite", kernels=[Kernel("a", 0, 10)], graphs=[Graph(1, 10, 100)]
    )
    assert one(path, "CUDA graphs").startswith("90.0 % of the time is in CUDA graphs that were")


def test_a_cpu_run_gets_no_advice_on_gpus(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 10**6), Range("optimizer", 0, 10**6)],
        operators=[Operator("aten::mul_", 10 * at, 10 * at + 9, 9) for at in range(200)],
    )
    assert lines(path) == [
        "the optimizer takes 100.0 % of the operators' time in 200 operators a step, 9 ns each: "
        "AdamW(..., fused=True) does it in a few"
    ]


def test_a_finding_has_its_time_range_and_the_command_for_more(tmp_path: Path) -> None:
    """Three of four kernels of 10 ns are attention's, back to back: 30 of 40 ns."""
    path = attending(tmp_path, "bmm", "softmax", "bmm", "rest")
    (found,) = findings(path)
    assert (found.id, found.range) == ("unfused-attention", "attention")
    assert (found.time_ns, found.share) == (30, 0.75)
    assert found.command == f"python -m analysis.attention {path}"
    with by_name({"analysis.attention": "attention"}), Report(path) as report:
        asked = Selection(exclude=["none"], device=0)
        (found,) = rules.findings(MeasuredWindow(Selected.of(report, asked)))
    assert found.command == f"spanlight attention {path} --exclude none --device 0"


def test_a_finding_about_no_time_comes_last(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite", kernels=[Kernel("a", 0, 10)], graphs=[Graph(1, 10, 100)]
    )
    timed, untimed = findings(path)
    assert (timed.id, timed.time_ns, timed.share) == ("opaque-graphs", 90, 0.9)
    assert (untimed.id, untimed.time_ns, untimed.share) == ("no-ranges", None, None)


EXPECTED = {
    "cuda-graphs-a100": ["in CUDA graphs", "no NVTX ranges"],
    "forward-2.7b-a100": ["without TF32", "attention takes"],
    "fsdp-2xh100-after": ["collectives take 33.74 ms on 2 GPUs together, 5.6 %"],
    "fsdp-2xh100-before": [],
    "mpi-saxpy-2022.2": ["72.9 % of it in no range and 27.1 % in MPI_Recv", "pageable memory"],
    "no-meta-2021": ["something else", "pageable memory", "no NVTX ranges"],
    "registered-strings-cupy": ["spread over 44 ranges, the most in IO 190 (4.1 %): do that"],
    "sliced-2xh100": [
        "97.0 % of the wall time, with no kernel running beside them, most of it Host"
    ],
    "train-step-small-a100": [
        "without TF32",
        "launch-bound: optimizer: launch less",
        "attention takes 21.6 % of the kernels' time",
        "the optimizer",
    ],
}
"""The share of attention: 10 of 148 ms forward, and 22 ms backward by origin (SQL by hand)."""


@pytest.mark.parametrize("name", shared.WITH_KERNELS)
def test_the_advice_on_real_reports(name: str) -> None:
    found = lines(shared.report(name))
    assert len(found) == len(EXPECTED[name])
    assert all(word in line for word, line in zip(EXPECTED[name], found, strict=True))
