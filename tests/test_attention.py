"""Attention's parts: time by the launches inside the ranges, FLOPs by the payloads."""

import json
import math
from pathlib import Path

import pytest

from analysis import attention
from analysis.errors import ReportError
from analysis.report import Report
from analysis.table import Table
from tests import shared
from tests.build_report import Kernel, Operator, Range, make_report


def parts(path: Path, **options: bool) -> Table:
    with Report(path) as report:
        return attention.parts(report, **options)


def test_time_of_each_part_is_that_of_the_kernels_it_launched(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("forward", 0, 100),
            Range("attention_scores", 10, 20, payload=430),
            Range("softmax", 20, 30, payload=10),
            Range("final_matmul", 30, 40, payload=420),
            Range("softmax.backward", 50, 60, thread=101, payload=12),
        ],
        kernels=[
            Kernel("bmm", 200, 260, launch=11),
            Kernel("mask", 260, 280, launch=15),
            Kernel("softmax", 280, 320, launch=22),
            Kernel("bmm", 320, 340, launch=33),
            Kernel("softmax_backward", 340, 347, launch=52, thread=101),
            Kernel("other", 350, 390, launch=45),
        ],
    )
    assert parts(path).rows() == [
        {
            "part": part,
            "calls": 1,
            "kernel_ns": kernel_ns,
            "flops": flops,
            "bytes": pytest.approx(math.nan, nan_ok=True),
            "flops_per_s": flops / kernel_ns * 1e9,
            "time_ratio": kernel_ns / 40,
            "flop_ratio": flops / 10,
            "backward_ns": backward_ns,
            "source": "kernel",
        }
        for part, kernel_ns, flops, backward_ns in (
            ("attention_scores", 80, 430, 0),
            ("softmax", 40, 10, 7),
            ("final_matmul", 20, 420, 0),
        )
    ]


def test_masking_counts_with_the_scores_and_other_peoples_names_are_known(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("computing attention scores", 0, 10),
            Range("masking", 10, 20),
            Range("computing softmax", 20, 30),
        ],
        kernels=[
            Kernel("bmm", 100, 110, launch=1),
            Kernel("mask", 110, 115, launch=11),
            Kernel("softmax", 115, 145, launch=21),
        ],
    )
    table = parts(path)
    assert table.columns["part"] == ["attention_scores", "softmax"]
    assert list(table.columns["kernel_ns"]) == [15, 30]
    assert list(table.columns["calls"]) == [1, 1]
    assert table.notes[0].startswith("FLOPs are not known")


def test_a_range_inside_one_of_the_same_part_counts_once(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("computing attention scores", 0, 20, payload=400),
            Range("masking", 10, 20, payload=30),
            Range("softmax", 20, 40, payload=10),
            Range("softmax", 25, 35, payload=10),
            Range("softmax.backward", 50, 60, thread=101),
        ],
        kernels=[
            Kernel("bmm", 100, 110, launch=1),
            Kernel("mask", 110, 115, launch=11),
            Kernel("softmax", 115, 145, launch=27),
            Kernel("softmax_backward", 145, 152, launch=52, thread=101),
        ],
    )
    columns = parts(path).columns
    assert list(columns["calls"]) == [1, 1]
    assert list(columns["kernel_ns"]) == [15, 30]
    assert list(columns["flops"]) == [400, 10]
    assert list(columns["backward_ns"]) == [0, 7]


def test_where_nothing_leads_back_to_the_forward_pass_its_backward_time_is_not_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("softmax", 0, 10, payload=5)],
        kernels=[Kernel("softmax", 20, 30, launch=1)],
    )
    assert attention.main([str(path)]) == 0
    assert capsys.readouterr().out.split()[-1] == "-"
    assert attention.main([str(path), "--format", "csv"]) == 0
    assert capsys.readouterr().out.endswith(",,kernel\n")
    assert attention.main([str(path), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["backward_ns"] is None


def test_warm_up_is_left_out_unless_it_is_asked_for(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("warmup", 0, 50),
            Range("softmax", 10, 20, payload=5),
            Range("softmax.backward", 30, 40, thread=101),
            Range("step", 60, 100),
            Range("softmax", 70, 80, payload=5),
        ],
        operators=[
            Operator("aten::_softmax", 12, 18, 6),
            Operator("aten::_softmax_backward_data", 32, 36, 4, thread=101),
            Operator("aten::_softmax", 72, 74, 2),
        ],
    )
    (warm,) = parts(path, exclude_warmup=False).rows()
    (row,) = parts(path).rows()
    assert (warm["calls"], warm["kernel_ns"], warm["backward_ns"]) == (2, 8, 4)
    assert (row["calls"], row["kernel_ns"], row["backward_ns"]) == (1, 2, 0)  # all in warm-up
    assert row["source"] == "operator"


def test_without_a_softmax_there_are_no_ratios(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("final_matmul", 0, 10, payload=5)],
        kernels=[Kernel("bmm", 20, 30, launch=1)],
    )
    (row,) = parts(path).rows()
    assert math.isnan(float(row["time_ratio"]))
    assert row["flops_per_s"] == 5 / 10 * 1e9


def test_a_report_without_such_ranges_cannot_answer(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("forward", 0, 10)],
        kernels=[Kernel("bmm", 20, 30, launch=1)],
    )
    with pytest.raises(ReportError, match="no range around attention's parts"):
        parts(path)


def test_the_ratios_of_a_real_forward_pass() -> None:
    """Beside NVIDIA's nvtx_kern_sum of the same file, warm-up included."""
    table = parts(shared.report("forward-2.7b-a100"), exclude_warmup=False)
    by_range: dict[str, int] = {}
    import csv

    with shared.expected("forward-2.7b-a100", "nvtx_kern_sum").open() as stream:
        for row in csv.DictReader(stream):
            name = row["NVTX Range"].lstrip(":")
            by_range[name] = by_range.get(name, 0) + int(row["Total Time (ns)"])
    assert [int(value) for value in table.columns["kernel_ns"]] == [
        by_range["computing attention scores"],
        by_range["computing softmax"],
        by_range["final matmul"],
    ]
