"""Which call has the FLOPs of which work: the innermost that launched it, none of them twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from analysis import Report
from analysis.attribution.launches import Attribution
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Selection
from analysis.costs.costed_calls import (
    COMMUNICATION,
    KINDS,
    MATRIX,
    SOURCES,
    CostedCalls,
    costed_calls,
)
from analysis.costs.device_peaks import DevicePeaks
from analysis.measures.mfu import mfu_of_products
from tests.made.reports.build_report import Kernel, Operator, Range, make_report
from tests.made.tools import shared

GEMM, ADD = (
    "ampere_sgemm_128x64_nn",
    "void at::native::vectorized_elementwise_kernel<4, float>(int)",
)
NCCL = "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgs)"


def calls_of(path: Path, **options: Any) -> tuple[Attribution, CostedCalls]:
    with Report(path) as report:
        attribution = Attribution.of(report)
        attribution.launches  # noqa: B018  (read while the report is open)
        return attribution, costed_calls(attribution, **options)


def owners(path: Path, **options: Any) -> list[str | None]:
    """Return the name of the call that each piece of work belongs to, in order of the file."""
    _, calls = calls_of(path, **options)
    return [None if row < 0 else calls.names[calls.name[row]] for row in calls.owner.tolist()]


def emitted(name: str, start: int, end: int, *sizes: list[int], number: int = 1) -> Range:
    told = json.dumps([list(each) for each in sizes])
    ids = "[(0,-1)]"
    return Range(
        f"{name}, seq = {number}, op_id = {number}, sizes = {told}, input_op_ids = {ids}",
        start,
        end,
    )


def test_work_belongs_to_the_innermost_operator_that_launched_it(tmp_path: Path) -> None:
    """A linear layer is its addmm, and the copy inside that is one of its own."""
    kernels = [
        Kernel(GEMM, 100, 200, launch=30),
        Kernel(ADD, 200, 210, launch=20),
        Kernel("something_else", 210, 220, launch=90),
    ]
    ranges = [
        emitted("aten::linear", 0, 80, [4, 8], [16, 8], [16]),
        emitted("aten::addmm", 10, 70, [16], [4, 8], [8, 16], [], []),
        emitted("aten::copy_", 15, 28, [4, 16], [16], []),
        emitted("aten::unknown_to_us", 85, 99, [4, 8]),
    ]
    path = make_report(tmp_path / "r.sqlite", kernels=kernels, ranges=ranges)
    assert owners(path) == ["aten::addmm", "aten::copy_", None]
    _, calls = calls_of(path)
    found = {
        calls.names[name]: (flops, size, KINDS[kind], calls.shapes[shape])
        for name, flops, size, kind, shape in zip(
            calls.name.tolist(),
            calls.flops.tolist(),
            calls.bytes.tolist(),
            calls.kind.tolist(),
            calls.shape.tolist(),
            strict=True,
        )
    }
    # No types were recorded: the kernels' names tell the format.
    assert found == {
        "aten::addmm": (2 * 4 * 8 * 16, 4 * (16 + 32 + 128 + 64), "matrix", "4×8×16"),
        "aten::copy_": (0, 4 * (64 + 16), "memory", "4×16, 16"),
    }
    assert [calls.formats[each] for each in calls.number_format] == ["fp32", "fp32"]
    assert {SOURCES[each] for each in calls.source} == {"shapes"}


def test_an_operator_that_nothing_inside_stands_for_has_its_own_cost(tmp_path: Path) -> None:
    kernels = [Kernel(GEMM, 100, 200, launch=30)]
    ranges = [emitted("aten::linear", 0, 80, [4, 8], [16, 8], [])]
    path = make_report(tmp_path / "r.sqlite", kernels=kernels, ranges=ranges)
    _, calls = calls_of(path)
    assert (calls.names, calls.flops.tolist()) == (["aten::linear"], [2 * 4 * 8 * 16])


def test_two_kernels_of_one_call_are_one_call(tmp_path: Path) -> None:
    kernels = [Kernel(GEMM, 100, 200, launch=30), Kernel("splitKreduce", 200, 210, launch=40)]
    ranges = [emitted("aten::mm", 0, 80, [4, 8], [8, 16])]
    path = make_report(tmp_path / "r.sqlite", kernels=kernels, ranges=ranges)
    _, calls = calls_of(path)
    assert (len(calls), calls.owner.tolist()) == (1, [0, 0])


def test_our_spans_win_and_of_spans_in_one_another_the_outer(tmp_path: Path) -> None:
    kernels = [
        Kernel(GEMM, 100, 200, launch=30),
        Kernel(ADD, 200, 210, launch=50),
        Kernel(GEMM, 210, 300, launch=95),
    ]
    ranges = [
        Range("ffn", 0, 80, payload=5000),
        Range("inner", 20, 60, payload=3000),
        emitted("aten::mm", 25, 45, [4, 8], [8, 16]),
        emitted("aten::add", 46, 59, [4, 16], [4, 16], []),
        emitted("aten::mm", 90, 110, [4, 8], [8, 16], number=2),
    ]
    path = make_report(tmp_path / "r.sqlite", kernels=kernels, ranges=ranges)
    assert owners(path) == ["ffn", "ffn", "aten::mm"]
    assert owners(path, spans=False) == ["aten::mm", "aten::add", "aten::mm"]
    _, calls = calls_of(path)
    span = calls.names.index("ffn")
    row = calls.name.tolist().index(span)
    assert (calls.flops[row], KINDS[calls.kind[row]]) == (5000, "matrix")
    # The span has no bytes: those of the operators inside it are the least there are.
    assert calls.bytes[row] == 4 * (32 + 128 + 64) + 3 * 4 * 64
    assert calls.formats[calls.number_format[row]] == "fp32"


def test_collectives_are_communication_whoever_launched_them(tmp_path: Path) -> None:
    kernels = [
        Kernel(NCCL, 100, 200, launch=30),
        Kernel(NCCL, 200, 300, launch=90),
        Kernel(NCCL, 300, 400, launch=None),
    ]
    ranges = [
        Range("ffn", 0, 80, payload=5000),
        emitted("c10d::allreduce_", 10, 50, [4, 8]),
        emitted("record_param_comms", 20, 45, [4, 8]),
    ]
    path = make_report(tmp_path / "r.sqlite", kernels=kernels, ranges=ranges)
    attribution, calls = calls_of(path)
    assert calls.kind.tolist() == [COMMUNICATION] * 3
    assert calls.flops.tolist() == [0, 0, 0]
    first, *others = owners(path)
    assert first == "c10d::allreduce_"
    assert set(others) == {"ncclDevKernel_AllReduce_Sum_bf16_RING_LL"}
    assert len(attribution.work) == 3


def test_a_kernel_that_says_tf32_makes_a_product_of_fp32_operands_one(tmp_path: Path) -> None:
    kernel = "sm80_xmma_gemm_f32f32_tf32f32_f32_nn_n_tilesize128x128x16_stage4"
    kernels = [Kernel(kernel, 100, 200, launch=30)]
    ranges = [emitted("aten::mm", 0, 80, [4, 8], [8, 16])]
    path = make_report(tmp_path / "r.sqlite", kernels=kernels, ranges=ranges)
    _, calls = calls_of(path)
    assert calls.formats == ["tf32"]
    assert calls.bytes.tolist() == [4 * (32 + 128 + 64)]


def shaped(name: str, start: int, end: int, self_ns: int, *shapes: list[int]) -> Operator:
    kinds = json.dumps(["c10::BFloat16"] * len(shapes))
    return Operator(name, start, end, self_ns, shapes=json.dumps(list(shapes)), types=kinds)


def test_on_a_cpu_the_operators_are_the_work_and_containers_count_nothing(tmp_path: Path) -> None:
    operators = [
        shaped("aten::linear", 0, 100, 20, [4, 8], [16, 8]),
        shaped("aten::t", 5, 10, 5, [16, 8]),
        shaped("aten::mm", 20, 90, 65, [4, 8], [8, 16]),
        shaped("aten::resolve_conj", 25, 30, 5, [4, 8]),
        shaped("aten::mean", 100, 200, 30, [4, 8]),
        shaped("aten::sum", 110, 170, 60, [4, 8]),
        shaped("aten::div_", 175, 185, 10, []),
    ]
    path = make_report(tmp_path / "r.sqlite", operators=operators)
    names = ["aten::linear", "aten::t", "aten::mm", "aten::resolve_conj"]
    names += ["aten::mean", "aten::sum", "aten::div_"]
    found = dict(zip(names, owners(path), strict=True))
    assert found == {
        "aten::linear": None,
        "aten::t": None,
        "aten::mm": "aten::mm",
        "aten::resolve_conj": "aten::mm",  # inside it, and no cost of its own
        "aten::mean": None,
        "aten::sum": "aten::sum",
        "aten::div_": "aten::div_",
    }
    _, calls = calls_of(path)
    assert sorted(calls.flops.tolist()) == [1, 32, 2 * 4 * 8 * 16]
    assert calls.bytes[calls.kind == MATRIX].tolist() == [2 * (32 + 128 + 64)]
    assert calls.formats == ["bf16"]


def test_of_products_inside_one_another_the_innermost_counts(tmp_path: Path) -> None:
    """As `torch.vmap` leaves a product to one of batches, and `vdot` the work to `dot`."""
    operators = [
        shaped("aten::mm", 0, 100, 50, [4, 5], [5, 6]),
        shaped("aten::bmm", 10, 60, 50, [3, 4, 5], [3, 5, 6]),
        shaped("aten::vdot", 100, 200, 50, [8], [8]),
        shaped("aten::dot", 110, 160, 50, [8], [8]),
        shaped("aten::convolution", 200, 300, 50, [2, 4, 9], [6, 4, 3]),
        shaped("aten::mkldnn_convolution", 210, 260, 50, [2, 4, 9], [6, 4, 3]),
    ]
    path = make_report(tmp_path / "r.sqlite", operators=operators)
    assert owners(path) == [None, "aten::bmm", None, "aten::dot", None, None]


def test_an_activation_that_is_another_inside_counts_once(tmp_path: Path) -> None:
    operators = [
        shaped("aten::relu6", 0, 100, 20, [4, 5]),
        shaped("aten::hardtanh", 10, 90, 20, [4, 5]),
        shaped("aten::clamp", 20, 80, 60, [4, 5]),
    ]
    path = make_report(tmp_path / "r.sqlite", operators=operators)
    assert owners(path) == [None, None, "aten::clamp"]


def test_operators_that_compile_alone_calls_are_not_counted(tmp_path: Path) -> None:
    operators = [
        Operator("_compile.compile_inner (dynamo_timed)", 0, 100, 20),
        shaped("aten::mm", 10, 90, 80, [4, 8], [8, 16]),
        shaped("aten::mm", 110, 190, 80, [4, 8], [8, 16]),
    ]
    path = make_report(tmp_path / "r.sqlite", operators=operators)
    assert owners(path) == [None, "aten::mm"]


def test_a_product_that_checkpointing_broke_off_is_not_counted(tmp_path: Path) -> None:
    """It saved its operands, and did nothing else; the other looked at them as all do."""
    operators = [
        shaped("aten::linear", 0, 100, 20, [4, 8], [16, 8]),
        shaped("aten::mm", 10, 90, 70, [4, 8], [8, 16]),
        Operator("aten::detach", 20, 30, 10),
        shaped("aten::linear", 100, 200, 20, [4, 8], [16, 8]),
        shaped("aten::mm", 110, 190, 60, [4, 8], [8, 16]),
        Operator("aten::detach", 120, 130, 10),
        Operator("aten::resolve_conj", 130, 140, 10),
    ]
    path = make_report(tmp_path / "r.sqlite", operators=operators)
    mm = "aten::mm"
    assert owners(path) == [None, None, None, None, mm, mm, mm]


def test_a_report_without_shapes_or_spans_has_no_calls(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", kernels=[Kernel(GEMM, 0, 9, launch=0)])
    _, calls = calls_of(path)
    assert (len(calls), calls.owner.tolist()) == (0, [-1])


def test_shapes_that_cannot_be_read_leave_their_call_not_modelled(tmp_path: Path) -> None:
    bad = [
        "x",
        "[[1e400]]",
        "[" * 5000,
        "{}",
        "[[-3, 4], [4, 5]]",
        "[[4, 8], [9, 16]]",
        "[[[[1]]]]",
    ]
    operators = [
        Operator("aten::mm", 10 * at, 10 * at + 9, 9, shapes=text, types="[]")
        for at, text in enumerate(bad)
    ]
    path = make_report(tmp_path / "r.sqlite", operators=operators)
    assert owners(path) == [None] * len(bad)


def test_the_matrix_products_of_a_real_training_step_are_as_fast_as_others_measured() -> None:
    """domain.md, section 9: 1 601.9 GFLOP over 327 ranges, 16.2 TFLOP/s, all in fp32."""
    attribution, calls = calls_of(shared.report("train-step-small-a100"))
    products = calls.kind == MATRIX
    assert int(products.sum()) == 327
    assert {calls.names[name] for name in calls.name[products]} == {"aten::bmm"}
    assert {calls.formats[each] for each in calls.number_format[products]} == {"fp32"}
    flops = int(calls.flops[products].sum())
    assert round(flops / 1e9, 1) == 1601.9
    time_ns, owner = attribution.work.duration_ns, calls.owner
    known = owner >= 0
    in_products = time_ns[known][products[owner[known]]].sum()
    assert round(flops / in_products / 1e3, 1) == 16.2
    assert time_ns[~known].sum() < 0.1 * time_ns.sum()
    assert not (calls.bytes < 0).any()
    modelled = {calls.names[name] for name in calls.name.tolist()}
    assert {"aten::exp", "aten::max", "aten::sum", "aten::div", "aten::mul"} <= modelled


def test_the_products_and_collectives_of_a_real_trace() -> None:
    """domain.md, section 9: another tool's figure is 746 TFLOP/s for 88 of its products."""
    attribution, calls = calls_of(shared.trace("gpt-8xh100-rank0"))
    time_ns, owner = attribution.work.duration_ns, calls.owner
    mm, shape = calls.names.index("aten::mm"), calls.shapes.index("3072×16384×768")
    rows = (calls.name == mm) & (calls.shape == shape)
    assert int(rows.sum()) == 88
    known = owner >= 0
    spent = time_ns[known][rows[owner[known]]].sum()
    assert round(int(calls.flops[rows].sum()) / spent / 1e3) == 746
    together = known.copy()
    together[known] = calls.kind[owner[known]] == COMMUNICATION
    assert round(time_ns[together].sum() / time_ns.sum(), 2) == 0.28
    assert time_ns[~known].sum() < 0.25 * time_ns[~together].sum()
    assert any(name.startswith("triton_") for name in calls.names)


def test_a_softmax_made_by_hand_counts_as_one_operator_does() -> None:
    with Report(shared.report("train-step-small-a100")) as report:
        found = {row["part"]: row for row in report.attention().to_dict("records")}
    # 12 layers, 4 x 12 x 512 x 512 elements, 3 FLOPs each; the product has 2 x 64 for each.
    assert found["softmax"]["flops"] == 12 * 3 * 4 * 12 * 512 * 512
    assert found["final_matmul"]["flop_ratio"] == pytest.approx(2 * 64 / 3)


def test_a_kernel_that_is_all_its_operator_launched_has_a_rate() -> None:
    with Report(shared.report("train-step-small-a100")) as report:
        found = {row["name"]: row for row in report.kernels().to_dict("records")}
    product = found["ampere_sgemm_128x32_tn"]
    # Forward: 12 layers of (2048 x 768) x (768 x 3072), twice.
    assert product["flops"] == 24 * 2 * 2048 * 768 * 3072
    assert product["flops_per_s"] == pytest.approx(product["flops"] / product["total_ns"] * 1e9)


def test_products_found_tell_the_mfu_of_anyone_s_steps() -> None:
    with Report(shared.trace("gpt-8xh100-rank0")) as report:
        chosen = Selected.of(report, Selection())
        found = mfu_of_products(chosen, DevicePeaks.of(report, chosen.attribution.work))
        table = report.roofline(by="operator")
    assert found is not None
    assert found.peak_flops_per_s == 989.5e12
    products = table[table["bound"].isin(["compute", "memory"]) & (table["peak_share"] > 0.05)]
    assert found.flops * 4 == pytest.approx(products["flops"].sum(), rel=0.02)
    assert found.share == pytest.approx(0.25, abs=0.05)
