"""The benchmark of a step: what it times, and what follows from the times."""

import numpy as np
import pytest
import torch

from model import TransformerLM
from profiling.benchmark import device_memory, run
from profiling.benchmark import figures as benchmark_figures
from profiling.benchmark.figures import by_part, figures
from profiling.benchmark.options import parser, request
from profiling.benchmark.show import configuration, estimate, held, utilization
from profiling.common.timing import StepTime
from tests.made.runs.step_benchmark import MS, measured, settings
from tests.made.tools.resident_memory import resident_memory

OF_MODE = {
    "forward": ["forward"],
    "forward_backward": ["forward", "backward", "zero_grad"],
    "train": ["forward", "backward", "optimizer"],
}


@pytest.mark.parametrize("mode", OF_MODE)
def test_with_a_made_up_clock_every_time_is_known(mode: str) -> None:
    found = measured(settings(mode=mode, warmup=2))
    size = len(OF_MODE[mode])
    # The clock is read once before a step and once after each part, and its gaps are 1, 2, 3, … ms.
    first = [1 + step * (size + 1) for step in range(5)]
    gaps = [[start + 1 + part for part in range(size)] for start in first]
    steps = [*found.warmup, *found.steps]
    assert [list(step.parts_ns.values()) for step in steps] == [
        [gap * MS for gap in step] for step in gaps
    ]
    assert [step.total_ns for step in steps] == [sum(step) * MS for step in gaps]
    assert all(list(step.parts_ns) == OF_MODE[mode] for step in steps)
    assert (len(found.warmup), len(found.steps), found.complete) == (2, 3, True)
    after = 5 * (size + 1)
    alone = [] if mode == "forward" else [after + 2, after + 4, after + 6]
    assert found.forward_only_ns == [gap * MS for gap in alone]


@pytest.mark.parametrize("mode", OF_MODE)
def test_parts_and_rest_add_up_to_the_step_exactly(mode: str) -> None:
    times = by_part(measured(settings(mode=mode)).steps)
    assert list(times) == ["total", *OF_MODE[mode], "rest"]
    for total, *parts in zip(*times.values(), strict=True):
        assert total == sum(parts)


def test_statistics_are_exact_and_the_older_estimate_is_a_difference() -> None:
    chosen = settings(mode="train", warmup=0)
    found = figures(chosen, measured(chosen))
    # Steps of (2, 3, 4), (6, 7, 8), (10, 11, 12) ms; forward passes alone of 14, 16, 18.
    total = found.spreads["total"]
    assert (total.count, total.total, total.mean, total.median) == (3, 63 * MS, 21 * MS, 21 * MS)
    assert (total.min, total.max, total.std) == (9 * MS, 33 * MS, 12 * MS)
    assert found.spreads["backward"].mean == 7 * MS
    assert found.passes_ns == (2 + 3 + 6 + 7 + 10 + 11) / 3 * MS  # without the optimizer
    assert found.backward_estimate_ns == pytest.approx((13 - 16) * MS)
    assert found.tokens == 16


def test_rates_are_of_the_mean_step_and_flops_by_the_formula() -> None:
    chosen = settings(mode="forward_backward", warmup=0)
    found = figures(chosen, measured(chosen))
    assert found.mean_s == pytest.approx(np.mean([2 + 3 + 4, 6 + 7 + 8, 10 + 11 + 12]) / 1000)
    model = TransformerLM(chosen.config)
    n = sum(each.numel() for each in model.parameters()) - model.embedding.weight.numel()
    flops = (6 * n + 12 * 1 * 64 * 8) * 16
    assert found.flops == flops
    assert found.flops_per_s == pytest.approx(flops / found.mean_s)
    assert benchmark_figures.step_flops(settings(mode="forward")) == flops // 3
    assert benchmark_figures.step_flops(settings(mode="train")) == flops


@pytest.mark.parametrize(
    ("how", "number_format", "tera"),
    # NVIDIA's H100 SXM datasheet, dense.
    [
        ({}, "fp32", 67),
        ({"tf32": True}, "tf32", 494.5),
        ({"autocast": "bfloat16"}, "bf16", 989.5),
        ({"autocast": "float16", "tf32": True}, "fp16", 989.5),
        ({"dtype": "bfloat16"}, "bf16", 989.5),
        ({"dtype": "bfloat16", "tf32": True}, "bf16", 989.5),
    ],
)
def test_mfu_is_a_share_of_the_peak_of_the_precision_in_use(
    how: dict[str, object], number_format: str, tera: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark_figures, "device_name", lambda _: "NVIDIA H100 80GB HBM3")
    chosen = settings(mode="train", device="cuda", **how)
    steps = [StepTime(2 * MS, {"forward": MS, "backward": MS})]
    found = figures(chosen, run.Measurements(steps=steps))
    assert found.number_format == number_format
    assert found.mfu == pytest.approx(found.flops / 2e-3 / (tera * 1e12))
    said = utilization(chosen, found)
    assert f"the {number_format} peak of H100 SXM (NVIDIA H100 datasheet" in said


def test_where_no_peak_is_known_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for device, name in (("cpu", "NVIDIA H100 80GB HBM3"), ("cuda", "NVIDIA Z9"), ("cuda", "T4")):
        monkeypatch.setattr(benchmark_figures, "device_name", lambda _, name=name: name)
        monkeypatch.setattr("profiling.benchmark.show.device_name", lambda _, name=name: name)
        chosen = settings(device=device, dtype="bfloat16")
        found = figures(chosen, run.Measurements(steps=[StepTime(MS, {"forward": MS})]))
        assert found.mfu is None
        assert utilization(chosen, found) == f"no peak known for {name} in bf16"


def test_the_peak_of_a_gpu_is_of_the_timed_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def faked(name: str, answer: int) -> None:
        def asked(_: str) -> int:
            called.append(name)
            return answer

        monkeypatch.setattr(torch.cuda, name, asked)

    faked("reset_peak_memory_stats", 0)
    faked("memory_allocated", 1)
    faked("memory_reserved", 2)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 3 << 30)
    device_memory.reset_peak("cpu")
    assert called == []
    device_memory.reset_peak("cuda")
    found = device_memory.memory("cuda")
    assert (found.allocated_bytes, found.reserved_bytes, found.peak_bytes) == (1, 2, 3 << 30)
    assert called[0] == "reset_peak_memory_stats"
    assert "peak 3.00 GiB allocated during the timed steps" in held(found)[0]
    assert held(found)[1].startswith("on the host")


def test_the_peak_of_a_process_does_not_forget() -> None:
    before = device_memory.memory("cpu")
    with resident_memory(64 << 20):
        during = device_memory.memory("cpu")
    after = device_memory.memory("cpu")
    assert before.allocated_bytes is before.peak_bytes is None
    assert during.rss_bytes >= before.rss_bytes + (60 << 20)
    assert after.peak_rss_bytes >= during.rss_bytes - (1 << 20)  # Linux counts it roughly
    assert after.peak_rss_bytes >= after.rss_bytes


def test_the_defaults_are_those_of_the_reference_script() -> None:
    asked = request(parser("x", "").parse_args(["--device", "cpu"]))
    config = asked.settings.config
    assert (config.vocab_size, config.d_model, config.num_layers) == (50257, 768, 12)
    assert (config.num_heads, config.d_ff, config.rope_theta) == (12, 3072, 10_000)
    assert (asked.settings.context, asked.settings.batch) == (1024, 8)
    assert (asked.settings.warmup, asked.settings.steps) == (5, 20)
    assert (asked.settings.mode, asked.learning_rate) == ("forward_backward", 3e-4)
    assert asked.settings.precision == "float32"


def test_a_size_brings_its_shape_and_what_is_given_goes_before_it() -> None:
    asked = request(parser("x", "").parse_args(["--size", "medium", "--device", "cpu"]))
    config = asked.settings.config
    assert (config.d_model, config.d_ff, config.num_layers, config.num_heads) == (
        *(1024, 4096),
        *(24, 16),
    )
    assert (config.vocab_size, asked.settings.batch, asked.settings.context) == (10_000, 4, 512)
    given = (
        "--size medium --vocab-size 99 --d-ff 64 --rope-theta 5 --batch-size 3 --context-length 7"
    )
    asked = request(parser("x", "").parse_args([*given.split(), "--device", "cpu"]))
    config = asked.settings.config
    assert (config.vocab_size, config.d_ff, config.rope_theta, config.d_model) == (99, 64, 5, 1024)
    assert (asked.settings.batch, asked.settings.context) == (3, 7)


def test_without_a_device_it_takes_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = parser("x", "").parse_args([])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    asked = request(plain)
    assert (asked.settings.device, asked.on_cpu_for_want_of_cuda) == ("cuda", False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    asked = request(plain)
    assert (asked.settings.device, asked.on_cpu_for_want_of_cuda) == ("cpu", True)
    assert not request(parser("x", "").parse_args(["--device", "cpu"])).on_cpu_for_want_of_cuda


def test_parameters_are_printed_exactly_and_as_people_write_them() -> None:
    chosen = settings()
    model = TransformerLM(chosen.config)
    exact = sum(each.numel() for each in model.parameters())
    (line,) = [line for line in configuration(chosen) if line.startswith("parameters")]
    assert line.split()[1:] == [f"{exact:,}", f"({exact / 1e6:.2f}M,", f"{exact / 1e9:.6f}B)"]


def test_the_estimate_is_beside_the_measured_one_in_words() -> None:
    chosen = settings(mode="train", warmup=0)
    said = estimate(figures(chosen, measured(chosen)))
    assert said is not None
    assert "7 ms measured" in said.replace("7.000", "7")
    assert "13.00 ms - 16.00 ms = -3.000 ms" in said
