"""The five questions are answered in sentences whose figures can be added up by eye."""

import json
from pathlib import Path

import pytest

from analysis import Report
from analysis.answers.__main__ import main
from analysis.answers.answers import answers
from analysis.answers.material import Benchmark
from tests.made.reports.build_device import add_device_work
from tests.made.reports.build_report import Kernel, Range, make_report
from tests.made.tools import shared


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("step", 0, 200),
            Range("forward", 0, 60),
            Range("attention_scores", 10, 20, payload=430),
            Range("softmax", 20, 30, payload=10),
            Range("final_matmul", 30, 40, payload=420),
            Range("backward", 60, 120),
            Range("optimizer", 120, 180),
        ],
        kernels=[
            Kernel("sgemm_a", 300, 360, launch=11),
            Kernel("softmax", 360, 380, launch=21),
            Kernel("sgemm_a", 380, 400, launch=31),
            Kernel("sgemm_b", 400, 500, launch=70),
            Kernel("adamw_functor", 500, 600, launch=130),
        ],
    )


def told(path: Path, benchmark: Benchmark | None = None) -> dict[str, str]:
    with Report(path) as report:
        return {
            str(row["question"]): str(row["answer"]) for row in answers(report, benchmark).rows()
        }


def test_the_answers(report: Path) -> None:
    found = told(report)
    assert found["a"] == (
        "Forward was open on the host for 60 ns (once) and launched 100 ns of kernel time each. "
        "Backward was open on the host for 60 ns (once) and launched 100 ns of kernel time each."
    )
    assert found["b"] == (
        "In one forward the kernel with most time is sgemm_a: 80 ns in all, 80.0 % of it, 2 calls. "
        "Called most often is sgemm_a, 2 calls. With backward and optimizer counted, "
        "most time goes to adamw_functor."
    )
    assert found["c"] == ("Besides GEMM, in one forward: softmax (softmax, 20.0 %, 1 call).")
    assert found["d"].startswith("GEMM takes 80.0 % of forward and 60.0 % of everything: its place")
    assert "optimizer work, which grows from 0.0 % to 33.3 %" in found["d"]
    assert found["e"].startswith(
        "attention_scores takes 60 ns, 3.00 times the softmax's 20 ns, for 43.0 times its FLOPs; "
        "final_matmul takes 20 ns, 1.00 times the softmax's 20 ns, for 42.0 times its FLOPs."
    )


def test_the_products_of_one_forward_are_counted_and_split_ones_once(tmp_path: Path) -> None:
    ranges, kernels = [], []
    for start in (0, 1000):  # two forwards of one block
        at = 10_000 + start
        ranges += [
            Range("forward", start, start + 500),
            Range("attention_scores", start + 10, start + 20),
            Range("final_matmul", start + 30, start + 40),
        ]
        calls = ["ampere_sgemm_128x64_tn"] * 8 + ["cublasLt::splitKreduce_kernel<32>"]
        kernels += [
            Kernel(name, at + 5 * number, at + 5 * number + 5, launch=start + 100 + number)
            for number, name in enumerate(calls)
        ]
        kernels += [
            Kernel("ampere_sgemm_64x64_nn", at + 50, at + 60, launch=start + 11),
            Kernel("ampere_sgemm_64x64_nn", at + 60, at + 70, launch=start + 31),
        ]
    kernels.append(Kernel("ampere_sgemm_128x64_nt", 20_000, 20_010, launch=600))  # of no forward
    path = make_report(tmp_path / "r.sqlite", ranges=ranges, kernels=kernels)
    assert told(path)["d"].endswith(
        "One forward launches 10 GEMM calls: 8 linear (7 a layer + 1) and 2 batched."
    )


def test_what_ends_a_product_on_another_vendors_gpu_is_none_of_its_own(tmp_path: Path) -> None:
    names = [
        "Cijk_Alik_Bljk_BBS_BH_Bias_HA_S_SAV_UserArgs_MT256x256x64_MI16x16x1",
        "Cijk_Alik_Bljk_BBS_BH_MT64x64x32_GSU8",
        "Cijk_B_PostGSU8_VW2",
        "void dot_kernel<float, 128, 0, cublasDotParams<float> >(cublasDotParams<float>)",
        "void reduce_1Block_kernel<float, 128, 7, float>(float const*, float)",
    ]
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("forward", 0, 100)],
        kernels=[
            Kernel(name, 100 + 10 * place, 110 + 10 * place, launch=10 * place)
            for place, name in enumerate(names)
        ],
    )
    assert told(path)["d"].endswith("One forward launches 3 GEMM calls.")


def test_what_limits_the_softmax_is_told_only_as_far_as_it_is_known(
    report: Path, tmp_path: Path
) -> None:
    assert "A FLOP of the softmax takes 42.00 times as long as one of final" in told(report)["e"]
    add_device_work(report, costs=[("softmax", 10, 40, 5), ("final_matmul", 420, 42, 0)])
    assert told(report)["e"].endswith(
        "The softmax does 0.375 FLOPs for each byte that it must move (final_matmul 10.00): its "
        "time is that of reading and writing the scores, not of arithmetic."
    )
    unknown = make_report(
        tmp_path / "u.sqlite",
        ranges=[Range("softmax", 0, 10), Range("final_matmul", 10, 20)],
        kernels=[Kernel("softmax", 100, 120, launch=1), Kernel("bmm", 120, 150, launch=11)],
    )
    assert told(unknown)["e"] == (
        "final_matmul takes 30 ns, 1.50 times the softmax's 20 ns. What limits the softmax cannot "
        "be told: the report does not hold its FLOPs and bytes (record with profiling.spans)."
    )


def test_fused_kernels_without_a_range_are_told_with_their_share(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[
            Kernel("flash_fwd_kernel", 0, 40, launch=1),
            Kernel("flash_bwd_kernel", 40, 60, launch=2),
            Kernel("sgemm", 60, 100, launch=3),
        ],
    )
    assert told(path)["e"].startswith(
        "Attention is fused: scores, softmax and final matmul together take 40 ns, and 20 ns in "
        "backward: 60.0 % of all time. The softmax has no time of its own there"
    )


def test_kernels_of_one_template_have_names_of_their_own(tmp_path: Path) -> None:
    of = "void at::native::vectorized_elementwise_kernel<(int)4, at::native::FillFunctor<{}>>(T2)"
    kernels = [
        Kernel(of.format(kind), 10 * at, 10 * at + 10, launch=at)
        for at, kind in enumerate(("float", "long"))
    ]
    said = told(make_report(tmp_path / "r.sqlite", kernels=kernels))["c"]
    assert "<FillFunctor, float>" in said
    assert "<FillFunctor, long>" in said


def test_the_benchmark_stands_beside_the_ranges(report: Path) -> None:
    said = told(report, {"forward_ns": [40, 50, 60]})["a"]
    assert "the benchmark measured 50 ns (median of 3, 40 ns to 60 ns) without a profiler" in said
    assert "1.20 times that" in said


def test_host_and_kernel_times_are_both_medians_of_the_same_steps(tmp_path: Path) -> None:
    """Three forwards of 100, 110 and 900 ns, with 90, 100 and 800 ns of kernels; and a warm-up."""
    opened = ((0, 5000, 4000), (10_000, 100, 90), (20_000, 110, 100), (30_000, 900, 800))
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("warmup", 0, 6000),
            *(Range("forward", start, start + wall) for start, wall, _ in opened),
        ],
        kernels=[Kernel("mm", at + 5, at + 5 + time, launch=at + 5) for at, _, time in opened],
    )
    assert told(path)["a"] == (
        "Forward was open on the host for 110 ns (median of 3, 100 ns to 900 ns) and launched "
        "100 ns of kernel time each (median)."
    )
    # Of one forward, not of all three: 990 ns.
    assert "is mm: 330 ns on average, 100.0 % of it, 1 call." in told(path)["b"]


def test_a_phase_of_the_warm_up_alone_is_said_to_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("warmup", 0, 300),
            *(Range(name, at, at + 100) for at, name in ((0, "forward"), (100, "backward"))),
            Range("optimizer", 200, 300),
            Range("step", 400, 500),
            Range("forward", 400, 500),
        ],
        kernels=[Kernel("mm", at, at + 50, launch=at + 1) for at in (0, 100, 200, 400)],
    )
    assert told(path)["a"].endswith("Backward ran in the warm-up only, which is left out.")
    said = "backward and optimizer ran in the warm-up only, which is left out\n"
    assert main([str(path)]) == 0
    assert said in capsys.readouterr().err
    assert main([str(path), "--exclude", "none"]) == 0
    assert "warm-up only" not in "".join(capsys.readouterr())


BENCHMARKED = {"size": "small", "batch": "4", "context": "512", "device_name": "A100", "torch": "2"}
"""What a report notes of its run."""


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "so the range is 1.20 times that."),
        ({"batch": "4", "context": "512"}, "so the range is 1.20 times that."),
        ({"batch": "4", "context": "128"}, "(context 128 instead of 512): its times do not"),
        ({"size": "tiny", "d_model": "64", "batch": "1"}, "(size tiny instead of small; batch 1 "),
        ({"device_name": "H100"}, "(device_name H100 instead of A100): its times do not compare."),
    ],
)
def test_a_benchmark_of_another_run_is_said_to_be(
    settings: dict[str, str], says: str, tmp_path: Path
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("forward", 0, 60)],
        kernels=[Kernel("mm", 0, 10, launch=1)],
        run=BENCHMARKED | {"d_model": "768"},
    )
    said = told(path, {"forward_ns": [50], "settings": settings})["a"]
    assert says in said
    assert ("times that" in said) == ("compare" not in said)


def test_the_settings_of_a_benchmarks_file_are_read(
    report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_report(
        tmp_path / "run.sqlite",
        ranges=[Range("forward", 0, 60)],
        kernels=[Kernel("mm", 0, 10, launch=1)],
        run={"num_layers": "2", "batch": "1", "autocast": "none", "compile": "false"},
    )
    settings = {"config": {"num_layers": 2}, "batch": 8, "autocast": None, "compile": True}
    known = {"forward_ns": [50], "settings": settings, "facts": {"device_name": "A100"}}
    (tmp_path / "b.json").write_text(json.dumps(known))
    assert main([str(other), "--benchmark", str(tmp_path / "b.json"), "--format", "json"]) == 0
    said = json.loads(capsys.readouterr().out)[0]["answer"]
    assert "run (batch 8 instead of 1; compile true instead of false): its" in said


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "no JSON"),
        ("[]", "has neither forward_ns nor backward_ns"),
        ('{"forward_ns": "3"}', "must be lists of times in ns"),
        ('{"forward_ns": [-1]}', "must be lists of times in ns"),
        (None, "cannot be read (no such file or directory)"),
    ],
)
def test_a_benchmark_that_cannot_be_read(
    content: str | None, problem: str, report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from analysis.show import cli

    path = report.parent / "benchmark.json"
    if content is not None:
        path.write_text(content)
    assert cli.run(lambda: main([str(report), "--benchmark", str(path)])) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert problem in printed.err


def test_without_phases_the_whole_report_is_spoken_of(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", kernels=[Kernel("sgemm", 0, 10, launch=1)])
    found = told(path)
    assert found["a"] == "This report has no forward or backward range, so it cannot tell."
    assert "In the whole report (it has no forward range)" in found["b"]
    assert found["c"].endswith("nothing but GEMM takes 1.0 % or more.")
    assert found["d"] == ("GEMM takes 100.0 % of all kernel time; no forward range tells its part.")
    assert found["e"].startswith("No range around the softmax")


def test_json_and_text_carry_all_five(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(report), "--format", "json"]) == 0
    assert [row["question"] for row in json.loads(capsys.readouterr().out)] == list("abcde")
    assert main([str(report)]) == 0
    printed = capsys.readouterr().out
    for question in "abcde":
        assert f"\n({question}) " in printed


def test_a_real_training_step() -> None:
    found = told(shared.report("train-step-small-a100"))
    assert "ampere_sgemm_128x32_tn: 13.65 ms in all, 31.3 % of it, 24 calls" in found["b"]
    assert "most time goes to ampere_sgemm_64x32_sliced1x4_nt" in found["b"]
    assert "GEMM takes 76.0 % of forward and 67.0 % of everything" in found["d"]
    assert "109 GEMM calls: 85 linear (7 a layer + 1) and 24 batched." in found["d"]
    assert "final_matmul takes 2.566 ms, 0.63 times the softmax's" in found["e"]
    assert "for 42.7 times its FLOPs" in found["e"]


def test_several_reports_are_answered_one_after_another(
    report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_report(tmp_path / "other.sqlite", kernels=[Kernel("sgemm", 0, 10, launch=1)])
    assert main([str(report), str(other), "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["report"].split(" ")[0], row["question"]) for row in rows] == [
        (name, question) for name in ("r.sqlite", "other.sqlite") for question in "abcde"
    ]
    assert main([str(report), str(other)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("(e) ") == 2
    assert "\nother.sqlite · nsys" in printed
