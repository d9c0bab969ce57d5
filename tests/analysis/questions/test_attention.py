"""Attention's parts: time by the launches inside the ranges, FLOPs by the payloads."""

import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from analysis import Report, attention
from analysis.show.errors import ReportError
from analysis.show.table import Table
from tests.made.reports.build_report import Kernel, Operator, Range, make_report
from tests.made.tools import shared


def parts(path: Path, **options: Any) -> Table:
    with Report(path) as report:
        return attention.attention(report, **options)


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
            "share": (kernel_ns + backward_ns) / 187,
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
    assert capsys.readouterr().out.split()[-3:] == ["-", "100.0", "%"]
    assert attention.main([str(path), "--format", "csv"]) == 0
    assert capsys.readouterr().out.endswith(",,kernel,1.0\n")
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
    (warm,) = parts(path, exclude=("none",)).rows()
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


def test_fused_kernels_without_a_range_have_a_row_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("warmup", 0, 10), Range("FlashAttnFunc", 11, 20)],
        kernels=[
            Kernel("flash::flash_fwd_kernel<T>", 100, 150, launch=5),
            Kernel("flash::flash_fwd_kernel<T>", 150, 190, launch=12),
            Kernel("flash::flash_fwd_kernel<T>", 190, 210, launch=13),
            Kernel("flash::flash_bwd_dq_dk_dv_kernel<T>", 210, 240, launch=14),
            Kernel("gemm", 240, 350, launch=15),
        ],
    )
    assert attention.main([str(path), "--format", "csv"]) == 0
    printed = capsys.readouterr()
    assert printed.out == (
        "part,calls,kernel_ns,flops,bytes,flops_per_s,time_ratio,flop_ratio,backward_ns,source,"
        "share\nfused_attention,2,60,,,,,,30,kernel,0.45\n"
    )
    assert "known by their names" in printed.err
    (row,) = parts(path, exclude=("none",)).rows()
    assert (row["calls"], row["kernel_ns"], row["share"]) == (3, 110, 140 / 250)


def test_the_fused_kernels_of_a_real_report() -> None:
    """SQL: 60 flash_fwd kernels, 240.8 of 488.8 ms."""
    (row,) = parts(shared.report("fsdp-2xh100-after")).rows()
    assert (row["part"], row["calls"]) == ("fused_attention", 60)
    assert round(float(row["share"]), 3) == 0.493


def with_elements(tmp_path: Path, payload: int, elements: int) -> Path:
    """Write a report of a softmax whose number of elements is known."""
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("softmax", 0, 10, payload=payload),
            Range("final_matmul", 10, 20, payload=60),
        ],
        kernels=[Kernel("softmax", 20, 30, launch=1), Kernel("bmm", 30, 40, launch=11)],
    )
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "CREATE TABLE TOOLKIT_RANGE_COST "
            "(name TEXT, flops INTEGER, bytes INTEGER, elements INTEGER)"
        )
        database.execute(
            "INSERT INTO TOOLKIT_RANGE_COST VALUES ('softmax', ?, 80, ?)", (payload, elements)
        )
    return path


@pytest.mark.parametrize(
    ("given", "counts", "flops"), [([], 3, 30), (["--softmax-flops", "5"], 5, 50)]
)
def test_the_softmax_is_counted_as_asked_for_and_the_heading_says_how(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], counts: int, flops: int
) -> None:
    path = with_elements(tmp_path, payload=30, elements=10)
    assert attention.main([str(path), *given]) == 0
    said = capsys.readouterr().out
    assert f"softmax counted as {counts} FLOPs an element, forward" in said
    assert attention.main([str(path), *given, "--format", "json"]) == 0
    soft, last = json.loads(capsys.readouterr().out)
    assert (soft["flops"], last["flop_ratio"]) == (flops, 60 / flops)
    # Whole numbers stay whole where one of the column is not known.
    assert attention.main([str(path), *given, "--format", "csv"]) == 0
    assert [line.split(",")[4] for line in capsys.readouterr().out.splitlines()[1:]] == ["80", ""]


def test_a_softmax_of_unknown_size_keeps_its_flops_and_a_note_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("softmax", 0, 10, payload=30)],
        kernels=[Kernel("softmax", 20, 30, launch=1)],
    )
    assert attention.main([str(path), "--softmax-flops", "5"]) == 0
    printed = capsys.readouterr()
    assert "softmax counted as recorded" in printed.out
    assert "1 softmax range keeps the FLOPs recorded" in printed.err


def test_the_ratios_of_a_real_forward_pass() -> None:
    """Beside NVIDIA's nvtx_kern_sum of the same file, warm-up included."""
    table = parts(shared.report("forward-2.7b-a100"), exclude=("none",))
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
