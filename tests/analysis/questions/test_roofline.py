"""The roofline: FLOPs from payloads, time from kernels, limits from the GPU's peaks."""

import math
from pathlib import Path
from typing import Any

import pytest

from analysis import Report, roofline
from analysis.__main__ import main as page_main
from analysis.attribution.launches import Attribution
from analysis.costs.device_peaks import DevicePeaks
from analysis.measures.mfu import mfu_of_model
from analysis.show.errors import ReportError
from tests.made.reports.build_device import add_device_work
from tests.made.reports.build_report import Kernel, Operator, Range, make_report

A100 = "NVIDIA A100-SXM4-40GB"
RUN = {"device_name": A100, "dtype": "bfloat16"}


def rows(path: Path, **options: Any) -> dict[str, dict[str, int | float | str]]:
    """Return the rows by range."""
    with Report(path) as report:
        table = roofline.roofline(report, **options)
    return {str(row["range"]): row for row in table.rows()}


def a_step(tmp_path: Path, run: dict[str, str] | None = None) -> Path:
    """Write a step: a forward with two leaves, and a backward that another thread launches."""
    path = make_report(
        tmp_path / "r.sqlite",
        run=run,
        ranges=[
            Range("step", 0, 100),
            Range("forward", 0, 50),
            Range("ffn", 10, 20, payload=6000),
            Range("softmax", 20, 30, payload=30),
            Range("backward", 50, 90),
            Range("ffn.backward", 60, 70, thread=101, payload=12000),
        ],
        kernels=[
            Kernel("gemm", 100, 130, launch=11),
            Kernel("softmax", 130, 140, launch=21),
            Kernel("add", 140, 145, launch=35),
            Kernel("gemm", 145, 205, launch=61, thread=101),
            Kernel("accumulate", 205, 208, launch=75, thread=101),
        ],
    )
    costs = [("ffn", 6000, 20, 4), ("softmax", 30, 80, 10), ("ffn.backward", 12000, None, 4)]
    return add_device_work(path, costs=costs)


def test_the_whole_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert roofline.main([str(a_step(tmp_path)), "--format", "csv", "--top", "2"]) == 0
    said = capsys.readouterr()
    assert said.out == (
        "range,kernel_ns,flops,bytes,intensity,flops_per_s,peak_share,bound,ideal_ns,lost_ns,"
        "flops_source,roof_share,instances,idle_share,source\n"
        f"step,108,18030,,,{18030 / 108e-9},,unknown,,,span,,1,0.0,kernel\n"
        f"backward,63,12000,,,{12000 / 63e-9},,unknown,,,span,,1,0.0,kernel\n"
    )
    assert "no peak rate and no memory bandwidth is known of the device" in said.err


def test_parents_have_what_the_ranges_inside_them_have(tmp_path: Path) -> None:
    found = rows(a_step(tmp_path))
    assert {
        name: (row["kernel_ns"], row["flops"], row["bytes"]) for name, row in found.items()
    } == {
        "step": (108, 18030, pytest.approx(math.nan, nan_ok=True)),
        "forward": (45, 6030, 100),
        "ffn": (30, 6000, 20),
        "softmax": (10, 30, 80),
        "backward": (63, 12000, pytest.approx(math.nan, nan_ok=True)),
        "ffn.backward": (60, 12000, pytest.approx(math.nan, nan_ok=True)),
    }


def test_a_range_with_flops_of_its_own_does_not_add_those_inside(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("block", 0, 50),
            Range("ffn", 10, 40, payload=100),
            Range("gate", 12, 20, payload=30),
        ],
        kernels=[Kernel("gemm", 60, 70, launch=15)],
    )
    assert {name: row["flops"] for name, row in rows(path).items()} == {
        "block": 100,
        "ffn": 100,
        "gate": 30,
    }


def test_what_limits_a_range_is_told_by_its_flops_a_byte(tmp_path: Path) -> None:
    """An A100 does 312 TFLOP/s in bf16 and moves 1555 GB/s: 200.6 FLOPs a byte."""
    found = rows(a_step(tmp_path, RUN))
    assert found["ffn"]["intensity"] == 300
    assert found["ffn"]["bound"] == "compute"
    assert found["ffn"]["peak_share"] == pytest.approx(6000 / 30e-9 / 312e12)
    assert found["softmax"]["bound"] == "memory"
    assert found["softmax"]["roof_share"] == pytest.approx(80 / 10e-9 / 1555e9)
    assert found["ffn.backward"]["bound"] == "unknown"


def test_peaks_that_are_given_win(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = a_step(tmp_path, RUN)
    assert rows(path, peak_tflops=1)["ffn"]["peak_share"] == pytest.approx(0.2)
    assert rows(path, peak_tflops=500, peak_gbs=1000)["ffn"]["bound"] == "memory"
    assert roofline.main([str(path), "--peak-tflops", "1"]) == 0
    said = capsys.readouterr().out
    assert "peak 1.555 TB/s (A100 40GB SXM: NVIDIA A100 datasheet" in said
    assert "; 1.000 TFLOP/s, as given\n" in said


HALVES = "void gemmSN_TN_kernel_half<__half, __half, __half, 128, 16>(cublasGemmParams<float>)"


@pytest.mark.parametrize(
    ("dtype", "tf32", "kernel", "tflops"),
    [
        ("float32", "true", "x", 156),
        ("float32", "false", "x", 19.5),
        ("float16", "false", "x", 312),
        ("", "", "ampere_sgemm_128x64_tn", 19.5),
        ("", "", "cutlass_80_tensorop_s1688gemm_128x128_nn", 156),
        ("", "", "ampere_bf16_s16816gemm_bf16_128x64", 312),
        ("", "", HALVES, 312),
        ("", "", "Cijk_Alik_Bljk_SB_MT64x64x8_SE_K1", 19.5),
        ("", "", "ampere_int8_i16832gemm_int8_256x128_ldg16_nt", None),
        ("", "", "unheard_of", None),
    ],
)
def test_the_peak_is_that_of_the_runs_number_format(
    tmp_path: Path, dtype: str, tf32: str, kernel: str, tflops: float | None
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        run={"device_name": A100, "dtype": dtype, "tf32": tf32},
        ranges=[Range("ffn", 0, 9, payload=10**6)],
        kernels=[Kernel(kernel, 10, 11, launch=1)],
    )
    share = rows(path)["ffn"]["peak_share"]
    expected = 10**6 / 1e-9 / (tflops * 1e12) if tflops else math.nan
    assert share == pytest.approx(expected, nan_ok=True)


def test_a_range_whose_gpu_waits_for_launches_is_launch_bound(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        run=RUN,
        ranges=[Range("slow", 0, 90, payload=10), Range("fast", 100, 130, payload=10)],
        kernels=[
            Kernel("a", 10, 20, launch=1),
            Kernel("b", 80, 90, launch=79),
            Kernel("c", 130, 140, launch=105),
            Kernel("d", 145, 150, launch=110),
        ],
    )
    found = rows(path)
    assert (found["slow"]["bound"], found["slow"]["idle_share"]) == ("launch", 60 / 80)
    # The GPU was free at 90 and the range open from 100 on: 30 of 50 ns, and 5 between the two.
    assert (found["fast"]["bound"], found["fast"]["idle_share"]) == ("launch", 35 / 50)


def test_the_flops_of_a_softmax_can_be_counted_otherwise(tmp_path: Path) -> None:
    path = a_step(tmp_path)
    assert rows(path)["softmax"]["flops"] == 30
    found = rows(path, softmax_flops=5)
    assert found["softmax"]["flops"] == 50
    assert found["softmax"]["bytes"] == 80
    assert found["forward"]["flops"] == 6050


def test_a_softmax_of_unknown_size_keeps_its_flops_and_a_note_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("computing softmax", 0, 9, payload=30)],
        kernels=[Kernel("a", 10, 20, launch=1)],
    )
    assert roofline.main([str(path), "--softmax-flops", "5"]) == 0
    said = capsys.readouterr()
    assert "softmax counted as 5 FLOPs an element, forward" in said.out
    assert "1 softmax range keeps the FLOPs recorded" in said.err
    assert rows(path, softmax_flops=5)["softmax"]["flops"] == 30


def test_warm_up_is_left_out_unless_it_is_asked_for(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("warmup", 0, 50),
            Range("ffn", 10, 20, payload=7),
            Range("step", 60, 100),
            Range("ffn", 70, 80, payload=5),
        ],
        operators=[Operator("aten::mm", 12, 18, 6), Operator("aten::mm", 72, 74, 2)],
    )
    found = rows(path)
    assert {name: (row["flops"], row["kernel_ns"]) for name, row in found.items()} == {
        "step": (5, 2),
        "ffn": (5, 2),
    }
    assert found["ffn"]["source"] == "operator"
    both = rows(path, exclude=("none",))
    assert both["ffn"]["flops"] == 12
    assert both["warmup"]["flops"] == 7


def test_instances_without_flops_are_left_out_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("ffn", 0, 9, payload=5), Range("ffn", 10, 19)],
        kernels=[Kernel("a", 20, 30, launch=1), Kernel("a", 30, 50, launch=11)],
    )
    assert rows(path)["ffn"]["kernel_ns"] == 10
    assert roofline.main([str(path)]) == 0
    assert "1 range of these names, 20 ns, carries no FLOPs; left out" in capsys.readouterr().err


def test_a_report_without_flops_cannot_answer(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("ffn", 0, 9)],
        kernels=[Kernel("a", 20, 30, launch=1)],
    )
    with (
        Report(path) as report,
        pytest.raises(ReportError, match="no range in this report carries"),
    ):
        roofline.roofline(report)


MODEL = {
    **RUN,
    "parameters": "1100",
    "vocab_size": "10",
    "d_model": "10",
    "num_layers": "2",
    "batch": "3",
    "context": "5",
    "mode": "train",
    "step_ns": "[90, 100, 140]",
    "unprofiled_step_ns": "[70, 80, 300]",
}
"""A token needs 6 x 1000 + 12 x 2 x 10 x 5 = 7200 FLOPs, and a step has 15 tokens: 108 000."""


def utilization(tmp_path: Path, **changed: str) -> tuple[object, ...] | None:
    """Return FLOPs and time of a step, and the share of the peak."""
    (tmp_path / "r.sqlite").unlink(missing_ok=True)
    kernels = [Kernel("a", 20, 30)]
    path = make_report(tmp_path / "r.sqlite", run={**MODEL, **changed}, kernels=kernels)
    with Report(path) as report:
        found = mfu_of_model(report, DevicePeaks.of(report, Attribution.of(report).work))
    return None if found is None else (found.flops, found.median_ns, found.share)


def test_mfu_is_of_the_steps_that_were_not_recorded(tmp_path: Path) -> None:
    assert utilization(tmp_path) == (108_000, 80, pytest.approx(108_000 / 80e-9 / 312e12))
    assert utilization(tmp_path, mode="forward") == (
        36_000,
        80,
        pytest.approx(36_000 / 80e-9 / 312e12),
    )
    recorded = utilization(tmp_path, unprofiled_step_ns="[]")
    assert recorded is not None
    assert recorded[:2] == (108_000, 100)


@pytest.mark.parametrize(
    ("device", "noted", "tflops"),
    [
        (A100, {"dtype": "float32", "tf32": "false", "autocast": "bfloat16"}, 312),
        (A100, {"dtype": "float32", "tf32": "true", "autocast": "none"}, 156),
        ("Tesla V100-SXM2-16GB", {"dtype": "float32", "tf32": "true"}, 15.7),
    ],
)
def test_mfu_and_the_ranges_are_held_against_one_peak(
    tmp_path: Path, device: str, noted: dict[str, str], tflops: float
) -> None:
    run = {"device_name": device, **noted}
    found = utilization(tmp_path, **run)
    assert found is not None
    assert found[2] == pytest.approx(108_000 / 80e-9 / (tflops * 1e12))
    (tmp_path / "r.sqlite").unlink()
    share = rows(a_step(tmp_path, run))["ffn"]["peak_share"]
    assert share == pytest.approx(6000 / 30e-9 / (tflops * 1e12))


def test_without_a_peak_there_is_the_rate_and_without_a_model_nothing(tmp_path: Path) -> None:
    assert utilization(tmp_path, device_name="Some CPU") == (108_000, 80, None)
    assert utilization(tmp_path, parameters="many") is None
    assert utilization(tmp_path, step_ns="[", unprofiled_step_ns="{}") is None


def test_the_page_and_the_roofline_hold_a_cpu_against_its_measured_peak(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """108 000 FLOPs in 80 ns are 1.35 TFLOP/s, of 2.7 that a large product reached."""
    path = make_report(
        tmp_path / "r.sqlite",
        run={**MODEL, "device_name": "Some CPU", "dtype": "float32", "peak_flops_per_s": "2.7e12"},
        ranges=[Range("step", 0, 100), Range("ffn", 10, 90, payload=6000)],
        operators=[Operator("aten::mm", 20, 80, 60)],
    )
    for command in (page_main, roofline.main):
        assert command([str(path)]) == 0
        assert "MFU 50.0 %, 1.350 TFLOP/s: the model's" in capsys.readouterr().out


def test_mfu_stands_in_the_heading(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert roofline.main([str(a_step(tmp_path, MODEL))]) == 0
    assert (
        "MFU 0.4 %, 1.350 TFLOP/s: the model's 108.0 kFLOP (6N + 12 L d T a token) "
        "in a median step of 80 ns, not recorded\n"
    ) in capsys.readouterr().out


def test_a_peak_that_is_lacking_is_the_only_one_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(a_step(tmp_path))
    assert roofline.main([path, "--peak-tflops", "1000"]) == 0
    said = capsys.readouterr().err
    assert "no memory bandwidth is known of the device" in said
    assert "give --peak-gbs\n" in said
    assert roofline.main([path, "--peak-gbs", "1"]) == 0
    assert "give --peak-tflops\n" in capsys.readouterr().err
    assert roofline.main([path, "--peak-tflops", "1000", "--peak-gbs", "1"]) == 0
    assert "give --" not in capsys.readouterr().err


def test_ranges_that_are_faster_than_the_peak_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # ffn: 6000 FLOPs in 30 ns are 200 GFLOP/s, ffn.backward 12000 in 60, backward less.
    path = str(a_step(tmp_path))
    assert roofline.main([path, "--peak-tflops", "0.195"]) == 0
    said = capsys.readouterr().err
    assert "2 ranges are faster than the peak of 195.0 GFLOP/s (up to 102.6 % of it)" in said
    assert roofline.main([path, "--peak-tflops", "1"]) == 0
    assert "faster than the peak" not in capsys.readouterr().err


def test_bytes_are_whole_numbers_where_some_are_not_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_step(tmp_path)
    assert roofline.main([str(path), "--format", "csv"]) == 0
    rows = [line.split(",") for line in capsys.readouterr().out.splitlines()[1:]]
    assert {row[0]: row[3] for row in rows} == {
        "step": "",
        "backward": "",
        "ffn.backward": "",
        "forward": "100",
        "ffn": "20",
        "softmax": "80",
    }
    with Report(path) as report:
        assert report.roofline()["bytes"].dtype == "float64"
