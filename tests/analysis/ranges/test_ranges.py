"""GPU time of ranges: flat, as a tree, each one."""

import math
from pathlib import Path

import numpy as np
import pytest

from analysis import Report
from analysis.arithmetic.intervals import NONE
from analysis.attribution.launches import Attribution, range_intervals
from analysis.costs.costed_calls import costed_calls
from analysis.costs.device_peaks import DevicePeaks, ideal_of_work, ideal_times
from analysis.knowledge.vocabulary import clean
from analysis.ranges import __main__ as ranges
from analysis.show import cli
from analysis.show.errors import ReportError
from tests.made.reports.build_report import Call, Kernel, Memory, Operator, Range, make_report
from tests.made.reports.range_rows import by_range, rows
from tests.made.tools.shared import ROOT, report

ENGINE = 101
SAMPLE = ROOT / "nsys_reports" / "sample.sqlite"


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """Two steps of the same ranges after a warm-up; one kernel is launched by no range."""
    made, launched = [], []
    for name, begin in (("warmup", 0), ("step", 100), ("step", 200)):
        made += [Range(name, begin, begin + 90), Range("forward", begin, begin + 30)]
        made.append(Range("softmax", begin + 10, begin + 20, payload=7))
        launched += [
            Kernel("sgemm", begin + 1000, begin + 1010, launch=begin + 5),
            Kernel("softmax", begin + 1020, begin + 1022, launch=begin + 15),
            Kernel("adam", begin + 1030, begin + 1035, launch=begin + 80),
        ]
    launched.append(Kernel("stray", 2000, 2100, launch=95))
    return make_report(tmp_path / "r.sqlite", ranges=made, kernels=launched)


def test_flat_is_a_row_per_name_the_longest_span_first(trained: Path) -> None:
    table = rows(trained, exclude=["none"])
    assert [row["range"] for row in table] == ["step", "forward", "warmup", "softmax"]
    step = table[0]
    assert (step["style"], step["instances"], step["wall_ns"]) == ("PushPop", 2, 180)
    assert (step["span_ns"], step["busy_ns"], step["kernel_ns"]) == (70, 34, 34)
    assert (step["self_ns"], step["gpu_ops"], step["flops"]) == (10, 6, 14)


def test_the_csv_has_its_columns_and_no_value_for_what_is_not_known(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ranges.main([str(trained), "--format", "csv", "--exclude", "warmup"]) == 0
    assert capsys.readouterr().out == (
        "range,style,instances,wall_ns,span_ns,busy_ns,kernel_ns,self_ns,gpu_ops,flops,"
        "backward_ns,source,domain\n"
        "step,PushPop,2,180,70,34,34,10,6,14,,kernel,\n"
        "forward,PushPop,2,60,44,24,24,20,4,14,,kernel,\n"
        "softmax,PushPop,2,20,4,4,4,4,2,14,,kernel,\n"
    )


@pytest.mark.parametrize("name", ["train-step-small-a100", None])
def test_a_place_of_the_tree_lost_what_the_work_launched_there_did(name: str | None) -> None:
    with Report(report(name) if name else SAMPLE) as opened:
        attribution = Attribution.of(opened)
        took = attribution.work.duration_ns
        peaks = DevicePeaks.of(opened, attribution.work)
        calls = costed_calls(attribution)
        ideal = ideal_of_work(calls, ideal_times(calls, peaks), took)
        known = ~np.isnan(ideal)
        each = np.where(known, took - np.round(np.nan_to_num(ideal)), 0).astype(np.int64)
        launches, around = attribution.launches, range_intervals(attribution.ranges)
        lost: dict[str, int] = {}
        for number, parent in enumerate(attribution.parents.tolist()):
            inside = known & (launches.thread == around.thread[number])
            inside &= launches.start_ns >= around.start_ns[number]
            inside &= launches.end_ns <= around.end_ns[number]
            chain = [clean(attribution.ranges.names[attribution.ranges.name[number]])]
            while parent != NONE:
                chain.insert(0, clean(attribution.ranges.names[attribution.ranges.name[parent]]))
                parent = int(attribution.parents[parent])
            if inside.any():
                path = "/".join(chain)
                lost[path] = lost.get(path, 0) + int(each[inside].sum())
    table = rows(opened.path, tree=True, exclude=["none"])
    found = {row["path"]: row["lost_ns"] for row in table if not math.isnan(row["lost_ns"])}
    assert len(found) > 20
    assert found == lost


def test_the_tree_nests_by_position_what_took_most_first(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = rows(trained, tree=True, exclude=["none"])
    assert [row["range"] for row in table] == [
        *("step", "forward", "softmax"),
        *("warmup", "forward", "softmax"),
    ]
    assert [row["depth"] for row in table] == [0, 1, 2, 0, 1, 2]
    assert table[2]["path"] == "step/forward/softmax"
    assert [row["instances"] for row in table] == [2, 2, 2, 1, 1, 1]
    assert [row["kernel_ns"] for row in table] == [34, 24, 4, 17, 12, 2]
    assert ranges.main([str(trained), "--tree"]) == 0
    assert "\n    softmax" in capsys.readouterr().out


def test_each_instance_is_a_row_in_the_order_they_open(trained: Path) -> None:
    table = rows(trained, instances=True, exclude=["warmup"])
    found = [(row["range"], row["start_ns"], row["span_ns"]) for row in table]
    assert found == [
        *(("step", 100, 35), ("forward", 100, 22), ("softmax", 110, 2)),
        *(("step", 200, 35), ("forward", 200, 22), ("softmax", 210, 2)),
    ]


def test_exclude_leaves_out_a_range_and_what_is_inside_it(trained: Path) -> None:
    assert by_range(trained, "instances", exclude=["none", "forward"]) == {
        "step": 2,
        "warmup": 1,
    }
    assert by_range(trained, "instances", exclude=["warmup", "softmax"]) == {
        "step": 2,
        "forward": 2,
    }


def test_a_range_that_is_not_there_cannot_be_excluded(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(lambda: ranges.main([str(trained), "--exclude", "nothing"])) == 1
    assert "no NVTX range is called 'nothing'" in capsys.readouterr().err


def test_a_report_without_ranges_says_so(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", kernels=[Kernel("k", 0, 1, launch=0)])
    with pytest.raises(ReportError, match="no NVTX ranges in this report"):
        rows(path)


def test_busy_counts_what_overlaps_on_two_streams_once(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("both", 0, 30), Range("one", 0, 10)],
        kernels=[
            Kernel("a", 100, 150, launch=2),
            Kernel("b", 120, 170, launch=12, stream=8),
            Kernel("c", 180, 190, launch=22),
        ],
    )
    assert by_range(path, "busy_ns") == {"both": 80, "one": 50}
    assert by_range(path, "kernel_ns") == {"both": 110, "one": 50}
    assert by_range(path, "span_ns") == {"both": 90, "one": 50}
    assert by_range(path, "self_ns") == {"both": 60, "one": 50}


def test_inside_one_of_its_own_name_a_range_counts_once(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("block", 0, 30, payload=9), Range("block", 10, 20, payload=4)],
        kernels=[Kernel("a", 100, 110, launch=2), Kernel("b", 110, 113, launch=12)],
    )
    (row,) = rows(path)
    assert (row["instances"], row["busy_ns"], row["kernel_ns"], row["flops"]) == (2, 13, 13, 9)
    # NVIDIA's two columns count every instance.
    assert (row["span_ns"], row["gpu_ops"]) == (16, 3)


def test_several_kernels_of_one_launch_are_one_operation(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("forward", 0, 30)],
        kernels=[
            Kernel("a", 100, 110, launch=2, correlation=7),
            Kernel("b", 110, 113, correlation=7),
            Kernel("c", 113, 114, launch=9, correlation=8),
        ],
    )
    (row,) = rows(path)
    assert (row["gpu_ops"], row["kernel_ns"]) == (2, 14)


def test_a_copy_is_an_operation_and_keeps_the_device_busy_but_is_no_kernel(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("load", 0, 30)],
        kernels=[Kernel("a", 100, 110, launch=2, correlation=1)],
        calls=[Call("cudaMemcpyAsync", 4, 6, 50), Call("cudaMemsetAsync", 7, 8, 51)],
        memory=[Memory(120, 140, 64, 50), Memory(140, 145, 8, 51, kind=None)],
    )
    (row,) = rows(path)
    assert (row["gpu_ops"], row["kernel_ns"], row["self_ns"]) == (3, 10, 10)
    assert (row["busy_ns"], row["span_ns"]) == (35, 45)


def test_a_range_without_flops_has_those_of_the_outermost_inside_it(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("forward", 0, 50),
            Range("attention", 5, 30, payload=100),
            Range("scores", 6, 10, payload=60),
            Range("ffn", 30, 40, payload=11),
            Range("optimizer", 60, 70),
        ],
        kernels=[Kernel("a", 100, 110, launch=7)],
    )
    flops = by_range(path, "flops")
    assert flops.pop("optimizer") is not None
    assert math.isnan(by_range(path, "flops")["optimizer"])
    assert flops == {"forward": 111, "attention": 100, "scores": 60, "ffn": 11}


def test_a_range_has_the_backward_time_that_its_work_brought_about(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("forward", 0, 30),
            Range("softmax", 5, 10),
            Range("backward", 40, 80),
            Range("softmax.backward", 45, 55, thread=ENGINE),
        ],
        kernels=[
            Kernel("softmax", 100, 103, launch=6),
            Kernel("softmax_backward", 110, 117, launch=50, thread=ENGINE),
        ],
    )
    backward = by_range(path, "backward_ns")
    assert backward == {"forward": 7, "softmax": 7, "backward": 0, "softmax.backward": 0}
    assert by_range(path, "kernel_ns")["softmax.backward"] == 7


def test_on_a_cpu_operators_stand_in_for_kernels(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("forward", 0, 30), Range("softmax", 10, 20)],
        operators=[Operator("aten::mm", 1, 5, 4), Operator("aten::_softmax", 12, 18, 6)],
    )
    (forward, softmax) = rows(path)
    assert (forward["kernel_ns"], forward["self_ns"], forward["span_ns"]) == (10, 4, 17)
    assert (softmax["kernel_ns"], softmax["source"]) == (6, "operator")


def test_styles_of_one_name_are_told_apart(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("load", 0, 30), Range("load", 40, 50, kind=60)],
        kernels=[Kernel("a", 100, 110, launch=2), Kernel("b", 110, 111, launch=41)],
    )
    assert [(row["style"], row["kernel_ns"]) for row in rows(path)] == [
        ("PushPop", 10),
        ("StartEnd", 1),
    ]


@pytest.mark.parametrize("shape", ["flat", "tree", "instances"])
def test_ranges_of_one_name_in_two_domains_are_told_apart(shape: str, tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("sort", 0, 30), Range("sort", 40, 50, domain="CCCL")],
        kernels=[Kernel("a", 100, 110, launch=2), Kernel("b", 110, 111, launch=41)],
    )
    found = rows(path, **({} if shape == "flat" else {shape: True}))
    assert [(row["range"], row["domain"], row["kernel_ns"]) for row in found] == [
        ("sort", "", 10),
        ("sort", "CCCL", 1),
    ]


def test_domains_are_shown_where_there_are_any(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "d.sqlite",
        ranges=[Range("sort", 0, 30, domain="CCCL")],
        kernels=[Kernel("a", 100, 110, launch=2)],
    )
    for shown, made in enumerate((trained, path)):
        assert ranges.main([str(made)]) == 0
        assert ("domain" in capsys.readouterr().out) is bool(shown)


def test_warm_up_and_ranges_that_were_never_closed_are_told_of(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ranges.main([str(trained), "--exclude", "none"]) == 0
    assert "was warm-up: included\n" in capsys.readouterr().out
    path = make_report(
        tmp_path / "open.sqlite",
        ranges=[Range("step", 0, None), Range("forward", 2, 9)],
        kernels=[Kernel("a", 100, 110, launch=4)],
    )
    assert ranges.main([str(path)]) == 0
    assert "1 range was never closed" in capsys.readouterr().err


def test_no_range_lies_below_one_of_another_thread(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("forward", 0, 30), Range("worker", 5, 10, thread=ENGINE)],
        kernels=[Kernel("a", 100, 110, launch=2)],
    )
    with Report(path) as report:
        assert Attribution.of(report).parents.tolist() == [NONE, NONE]
