"""Reports of runs with fused attention: one row for it, and no softmax to compare with."""

from pathlib import Path

import pytest

from analysis import Report, attention, phases, roofline
from analysis.answers.answers import answers
from tests.made.reports.build_report import Kernel, Operator, Range, make_report


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("step", 0, 200),
            Range("forward", 0, 60),
            Range("attention", 5, 50),
            Range("qkv_projection", 6, 9, payload=600),
            Range("fused_attention", 10, 20, payload=4000),
            Range("fused_attention", 30, 40, payload=4000),
            Range("backward", 60, 120),
            Range("fused_attention.backward", 70, 80, thread=101, payload=14000),
        ],
        kernels=[
            Kernel("sgemm", 190, 200, launch=7),
            Kernel("flash_forward_kernel", 200, 250, launch=11),
            Kernel("flash_forward_kernel", 250, 300, launch=31),
            Kernel("flash_backward_dq_kernel", 300, 400, launch=71, thread=101),
            Kernel("flash_backward_dkdv_kernel", 400, 530, launch=75, thread=101),
        ],
    )


def test_attention_is_one_row_without_ratios(report: Path) -> None:
    with Report(report) as opened:
        table = attention.attention(opened)
    (row,) = table.rows()
    assert row["part"] == "fused_attention"
    assert (row["calls"], row["kernel_ns"], row["flops"]) == (2, 100, 8000)
    assert row["flops_per_s"] == pytest.approx(8000 / 100e-9)
    assert row["backward_ns"] == 230
    assert row["time_ratio"] != row["time_ratio"]  # NaN
    assert "ratios" not in table.heading
    assert table.notes == (
        "attention is fused: no softmax to compare with; record with eager attention to time its "
        "parts",
    )


def test_the_command_prints_it(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert attention.main([str(report), "--format", "csv"]) == 0
    assert ",2,100,8000,,80000000000.0,,,230,kernel,0.9705882352941176\n" in capsys.readouterr().out


def test_the_fifth_answer_says_that_it_cannot_be_told_apart(report: Path) -> None:
    with Report(report) as opened:
        said = {str(row["question"]): str(row["answer"]) for row in answers(opened).rows()}
    assert said["e"].startswith(
        "Attention is fused: scores, softmax and final matmul together take 100 ns for 8.000 "
        "kFLOP, which is 80.00 GFLOP/s, and 230 ns in backward: 97.1 % of all time. "
    )
    assert said["e"].endswith("record with eager attention to compare the three.")


def test_the_kernels_are_of_the_category_attention(report: Path) -> None:
    with Report(report) as opened:
        rows = phases.by_category(opened).rows()
    found = {(row["phase"], row["category"]): row["kernel_ns"] for row in rows}
    assert found["forward", "attention"] == 100
    assert found["backward", "attention"] == 230


def test_the_roofline_has_it_forward_and_backward(report: Path) -> None:
    with Report(report) as opened:
        rows = {str(row["range"]): row for row in roofline.roofline(opened).rows()}
    assert rows["fused_attention"]["flops"] == 8000
    assert rows["fused_attention.backward"]["flops"] == 14000
    assert rows["fused_attention.backward"]["kernel_ns"] == 230


def test_other_spellings_are_known(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("flash attention", 0, 10), Range("softmax", 20, 30)],
        kernels=[Kernel("fmha", 50, 60, launch=1), Kernel("softmax", 60, 65, launch=21)],
    )
    with Report(path) as opened:
        table = attention.attention(opened)
    assert table.columns["part"] == ["softmax", "fused_attention"]
    assert list(table.columns["time_ratio"]) == [1.0, 2.0]


def test_on_a_cpu_a_call_counts_once_with_all_that_is_inside(tmp_path: Path) -> None:
    def call(start: int) -> list[Operator]:
        return [
            Operator("aten::scaled_dot_product_attention", start, start + 100, 4),
            Operator(
                "aten::_scaled_dot_product_flash_attention_for_cpu", start + 2, start + 98, 80
            ),
            Operator("aten::empty", start + 10, start + 26, 16),
        ]

    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 900)],
        operators=[
            *call(0),
            *call(200),
            Operator("aten::mm", 300, 340, 40),
            Operator("aten::_scaled_dot_product_flash_attention_for_cpu_backward", 400, 700, 250),
            Operator("aten::zeros", 410, 460, 50),
        ],
    )
    with Report(path) as opened:
        table = attention.attention(opened)
        (row,) = table.rows()
        assert (row["part"], row["calls"], row["source"]) == ("fused_attention", 2, "operator")
        assert (row["kernel_ns"], row["backward_ns"]) == (200, 300)
        assert row["share"] == pytest.approx(500 / 540)
        assert table.notes[0].startswith(
            "no range around attention's parts: the operators of fused"
        )


def test_on_a_cpu_attention_that_is_no_one_kernel_has_its_products_in_it(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        operators=[
            Operator("aten::scaled_dot_product_attention", 0, 100, 10),
            Operator("aten::_scaled_dot_product_attention_math", 5, 95, 20),
            Operator("aten::bmm", 10, 50, 40),
            Operator("aten::_softmax", 60, 90, 30),
        ],
    )
    with Report(path) as opened:
        (row,) = attention.attention(opened).rows()
    assert (row["calls"], row["kernel_ns"], row["share"]) == (1, 100, 1.0)


def test_without_a_range_its_flops_follow_from_the_operators_shapes(tmp_path: Path) -> None:
    shape = [2, 4, 16, 8]
    sizes = f"sizes = {[shape] * 3 + [[]] * 4}, input_op_ids = [(1,0)]"
    name = "aten::_scaled_dot_product_flash_attention"
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range(f"{name}, seq = 3, op_id = 9, {sizes}", 0, 20),
            Range(f"{name}, seq = 4, op_id = 11, {sizes}", 30, 50),
        ],
        kernels=[
            Kernel("flash_fwd_kernel", 100, 150, launch=11),
            Kernel("flash_fwd_kernel", 150, 200, launch=41),
            Kernel("flash_bwd_kernel", 200, 300, launch=60),
        ],
    )
    with Report(path) as opened:
        table = attention.attention(opened)
        said = {str(row["question"]): str(row["answer"]) for row in answers(opened).rows()}
    (row,) = table.rows()
    both = 2 * 2 * (2 * 2 * 4 * 16 * 16 * 8)  # two calls, two products each
    assert (row["calls"], row["kernel_ns"], row["flops"], row["backward_ns"]) == (2, 100, both, 100)
    assert table.notes == (attention.NO_SOFTMAX,)
    assert "take 100 ns for 131.1 kFLOP" in said["e"]


def test_the_flops_of_some_calls_alone_are_not_those_of_all(tmp_path: Path) -> None:
    sizes = f"sizes = {[[2, 4, 16, 8]] * 3}"
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range(f"aten::_scaled_dot_product_flash_attention, seq = 3, {sizes}", 0, 20)],
        kernels=[
            Kernel("flash_fwd_kernel", 100, 150, launch=11),
            Kernel("flash_fwd_kernel", 150, 200, launch=41),
        ],
    )
    with Report(path) as opened:
        table = attention.attention(opened)
    (row,) = table.rows()
    assert row["flops"] != row["flops"]  # NaN
    assert "their FLOPs are not" in table.notes[0]


def test_on_a_cpu_its_flops_are_those_of_the_operators_inside(tmp_path: Path) -> None:
    shapes = str([[2, 4, 16, 8]] * 3)
    inside = "aten::_scaled_dot_product_flash_attention_for_cpu"
    path = make_report(
        tmp_path / "r.sqlite",
        operators=[
            Operator("aten::scaled_dot_product_attention", 0, 100, 4, shapes=shapes),
            Operator(inside, 2, 98, 96, shapes=shapes),
            Operator(f"{inside}_backward", 200, 300, 100, shapes=str([[2, 4, 16, 8]] * 4)),
        ],
    )
    with Report(path) as opened:
        (row,) = attention.attention(opened).rows()
    assert (row["kernel_ns"], row["flops"]) == (100, 2 * (2 * 2 * 4 * 16 * 16 * 8))
