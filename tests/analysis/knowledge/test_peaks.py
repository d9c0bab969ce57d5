"""Peak rates: dense figures, found by the names that drivers give."""

import pytest

from analysis.knowledge.peaks import FORMATS, PEAKS, lookup


@pytest.mark.parametrize(
    ("device", "number_format", "tflops", "gbytes_per_s"),
    [
        ("Tesla V100-SXM2-16GB", "fp16", 125, 900),
        ("Tesla V100-PCIE-32GB", "fp16", 112, 900),
        ("Tesla T4", "fp16", 65, 320),
        ("NVIDIA A10", "bf16", 125, 600),
        ("NVIDIA A100-SXM4-40GB", "tf32", 156, 1555),
        ("NVIDIA A100-SXM4-80GB", "bf16", 312, 2039),
        ("NVIDIA A100-PCIE-40GB", "fp32", 19.5, 1555),
        ("NVIDIA A100 80GB PCIe", "fp16", 312, 1935),
        ("NVIDIA L4", "bf16", 121, 300),
        ("NVIDIA L40S", "fp8", 733, 864),
        ("NVIDIA H100 80GB HBM3", "bf16", 989.5, 3350),
        ("NVIDIA H100 80GB HBM3", "tf32", 494.5, 3350),
        ("NVIDIA H100 PCIe", "bf16", 756.5, 2000),
        ("NVIDIA H100 NVL", "bf16", 835.5, 3938),
        ("NVIDIA H200", "fp32", 67, 4800),
        ("NVIDIA B200", "bf16", 2250, 8000),
        ("NVIDIA GeForce RTX 3090", "bf16", 71.2, 936),
        ("NVIDIA GeForce RTX 4090", "bf16", 165.2, 1008),
        ("NVIDIA GeForce RTX 5090", "fp8", 419, 1792),
    ],
)
def test_a_card_is_found_by_its_drivers_name(
    device: str, number_format: str, tflops: float, gbytes_per_s: float
) -> None:
    peak = lookup(device)
    assert peak is not None
    rate = peak.flops_per_s(number_format)
    assert rate is not None
    assert rate / 1e12 == pytest.approx(tflops, abs=0.05)
    assert peak.bytes_per_s / 1e9 == gbytes_per_s


@pytest.mark.parametrize(
    "device",
    [
        "",
        "cpu",
        "Intel(R) Xeon(R) Processor, 2 threads",
        "NVIDIA A100-SXM4-80GB MIG 1g.10gb",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA A100-SXM4-80GB, NVIDIA H100 PCIe",
        "NVIDIA H1000",
    ],
)
def test_what_is_not_known_has_no_peak(device: str) -> None:
    assert lookup(device) is None


def test_a_format_that_a_card_lacks_has_no_rate() -> None:
    volta, ampere = lookup("Tesla V100-SXM2-16GB"), lookup("NVIDIA A100-SXM4-40GB")
    assert volta is not None
    assert ampere is not None
    assert volta.flops_per_s("bf16") is None
    assert volta.flops_per_s("tf32") is None
    assert ampere.flops_per_s("fp8") is None
    assert ampere.flops_per_s("") is None


def test_no_two_cards_answer_to_one_name() -> None:
    devices = [device for peak in PEAKS for device in peak.devices]
    assert len(devices) == len(set(devices))
    assert all(device == device.casefold() for device in devices)


def test_narrower_formats_are_no_slower() -> None:
    for peak in PEAKS:
        assert set(peak.tflops) <= set(FORMATS)
        rates = [
            peak.tflops[name] for name in ("fp32", "tf32", "fp16", "fp8") if name in peak.tflops
        ]
        assert rates == sorted(rates), peak.name


def test_a_figure_that_was_not_compared_says_so() -> None:
    computed, compared = lookup("NVIDIA GeForce RTX 4060"), lookup("NVIDIA GeForce RTX 4090")
    assert computed is not None
    assert compared is not None
    assert computed.cited.endswith(", not verified")
    assert "not verified" not in compared.cited
    assert all(peak.source for peak in PEAKS)
