"""Peak rates of NVIDIA's GPUs: dense FLOP/s by number format, and memory bandwidth.

All figures are dense: where NVIDIA prints only the rate with 2:4 sparsity, half of it stands here.
Tensor-core rates are those with FP32 accumulation, which is what PyTorch asks cuBLAS for; GeForce
cards do twice as much with FP16 accumulation, and that figure is often quoted. Rates hold at the
boost clock that NVIDIA names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

TERA: Final = 10**12
GIGA: Final = 10**9

FORMATS: Final = ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8")
"""Number formats; ``fp64`` and ``fp32`` are without tensor cores."""


@dataclass(frozen=True)
class Peak:
    """The peak rates of one GPU.

    Attributes:
        name: what the card is called in the source.
        tflops: TFLOP/s by number format, dense; a format that the card lacks is not there.
        gbytes_per_s: memory bandwidth in GB/s, 10**9 bytes.
        source: where the figures are from.
        verified: whether the figures were compared with a copy of that source, or with one that
            quotes its rows; else they are as remembered, or computed from cores and clock.
        devices: how drivers call it, in small letters, without ``NVIDIA`` and such.
    """

    name: str
    tflops: Mapping[str, float]
    gbytes_per_s: float
    source: str
    verified: bool
    devices: tuple[str, ...] = field(default=())

    def flops_per_s(self, number_format: str) -> float | None:
        """Return the peak rate in a number format; None where there is none."""
        known = self.tflops.get(number_format)
        return None if known is None else known * TERA

    @property
    def bytes_per_s(self) -> float:
        """The memory bandwidth in bytes a second."""
        return self.gbytes_per_s * GIGA

    @property
    def cited(self) -> str:
        """The source of the figures, as it is printed beside them."""
        return self.source if self.verified else f"{self.source}, not verified"


V100: Final = "NVIDIA V100 datasheet (2020)"
T4: Final = "NVIDIA T4 datasheet (2019)"
A10: Final = "NVIDIA A10 datasheet (2021)"
A100: Final = "NVIDIA A100 datasheet (r4, 2021)"
GA102: Final = "NVIDIA Ampere GA102 whitepaper v2, tables 3 and 9"
ADA: Final = "NVIDIA Ada GPU architecture whitepaper v2.1, appendix A"
L4: Final = "NVIDIA L4 datasheet (2023)"
L40: Final = "NVIDIA L40 and L40S datasheets (2023)"
H100: Final = "NVIDIA H100 datasheet (2024), half of the rates with sparsity"
H200: Final = "NVIDIA H200 datasheet (2024), half of the rates with sparsity"
BLACKWELL: Final = "NVIDIA Blackwell datasheet (2025), HGX B200, half of the rates with sparsity"
RTX_BLACKWELL: Final = "NVIDIA RTX Blackwell GPU architecture whitepaper, table 3"
COMPUTED: Final = "cores x 2 x boost clock of NVIDIA's product page; ratios of the whitepaper"


def rates(
    fp64: float | None = None,
    fp32: float | None = None,
    tf32: float | None = None,
    half: float | None = None,
    fp8: float | None = None,
    *,
    bf16: bool = True,
) -> dict[str, float]:
    """Return TFLOP/s by number format; ``half`` is of fp16, and of bf16 where the card has that."""
    values = (fp64, fp32, tf32, half if bf16 else None, half, fp8)
    return {name: value for name, value in zip(FORMATS, values, strict=True) if value is not None}


def volta(fp64: float, fp32: float, fp16: float) -> dict[str, float]:
    """Return the rates of a Volta card: its tensor cores do fp16 only."""
    return rates(fp64, fp32, half=fp16, bf16=False)


A100_RATES: Final = rates(9.7, 19.5, 156, 312)
H100_SXM_RATES: Final = rates(34, 67, 494.5, 989.5, 1979)
H100_NVL_RATES: Final = rates(30, 60, 417.5, 835.5, 1670.5)

DATACENTER: Final = (
    Peak("V100 PCIe", volta(7, 14, 112), 900, V100, True, ("v100-pcie-16gb", "v100-pcie-32gb")),
    Peak("V100 SXM2", volta(7.8, 15.7, 125), 900, V100, True, ("v100-sxm2-16gb", "v100-sxm2-32gb")),
    Peak("V100S PCIe", volta(8.2, 16.4, 130), 1134, V100, False, ("v100s-pcie-32gb",)),
    Peak("T4", rates(fp32=8.1, half=65, bf16=False), 320, T4, True, ("t4",)),
    Peak("A10", rates(None, 31.2, 62.5, 125), 600, A10, True, ("a10",)),
    Peak("A30", rates(5.2, 10.3, 82, 165), 933, "NVIDIA A30 datasheet (2022)", False, ("a30",)),
    Peak("A40", rates(None, 37.4, 74.8, 149.7), 696, GA102, True, ("a40",)),
    Peak("RTX A6000", rates(None, 38.7, 77.4, 154.8), 768, GA102, True, ("rtx a6000",)),
    Peak("A100 40GB PCIe", A100_RATES, 1555, A100, True, ("a100-pcie-40gb",)),
    Peak("A100 40GB SXM", A100_RATES, 1555, A100, True, ("a100-sxm4-40gb", "a100-sxm-40gb")),
    Peak("A100 80GB PCIe", A100_RATES, 1935, A100, True, ("a100 80gb pcie",)),
    Peak("A100 80GB SXM", A100_RATES, 2039, A100, True, ("a100-sxm4-80gb", "a100-sxm-80gb")),
    Peak("L4", rates(None, 30.3, 60, 121, 242), 300, L4, True, ("l4",)),
    Peak("L40", rates(None, 90.5, 90.5, 181.05, 362), 864, L40, True, ("l40",)),
    Peak("L40S", rates(None, 91.6, 183, 362.05, 733), 864, L40, True, ("l40s",)),
    Peak("H100 PCIe", rates(26, 51, 378, 756.5, 1513), 2000, H100, True, ("h100 pcie",)),
    Peak("H100 SXM", H100_SXM_RATES, 3350, H100, True, ("h100 80gb hbm3",)),
    Peak("H100 NVL", H100_NVL_RATES, 3938, H100, False, ("h100 nvl",)),
    Peak("H200 SXM", H100_SXM_RATES, 4800, H200, True, ("h200",)),
    Peak("H200 NVL", H100_NVL_RATES, 4800, H200, False, ("h200 nvl",)),
    Peak("B200", rates(37, 75, 1100, 2250, 4500), 8000, BLACKWELL, True, ("b200",)),
)
"""The Blackwell datasheet prints 7.7 TB/s for the B200's HGX board and 8 TB/s for the faster GB200.

The greater stands here: a peak is not to be exceeded.
"""

AMPERE: Final = {
    "rtx 3050": (2560, 1777, 224),
    "rtx 3060": (3584, 1777, 360),
    "rtx 3060 ti": (4864, 1665, 448),
    "rtx 3070": (5888, 1725, 448),
    "rtx 3070 ti": (6144, 1770, 608),
    "rtx 3080": (8704, 1710, 760),
    "rtx 3080 ti": (10240, 1665, 912),
    "rtx 3090": (10496, 1695, 936),
    "rtx 3090 ti": (10752, 1860, 1008),
}
"""GeForce cards by how drivers call them: CUDA cores, boost clock in MHz, bandwidth in GB/s.

Two cards are called RTX 3080; this is the one with 10 GB.
"""

ADA_LOVELACE: Final = {
    "rtx 4060": (3072, 2460, 272),
    "rtx 4060 ti": (4352, 2535, 288),
    "rtx 4070": (5888, 2475, 504),
    "rtx 4070 super": (7168, 2475, 504),
    "rtx 4070 ti": (7680, 2610, 504),
    "rtx 4070 ti super": (8448, 2610, 672),
    "rtx 4080": (9728, 2505, 717),
    "rtx 4080 super": (10240, 2550, 736),
    "rtx 4090": (16384, 2520, 1008),
}

BLACKWELL_CONSUMER: Final = {
    "rtx 5060": (3840, 2497, 448),
    "rtx 5060 ti": (4608, 2572, 448),
    "rtx 5070": (6144, 2512, 672),
    "rtx 5070 ti": (8960, 2452, 896),
    "rtx 5080": (10752, 2617, 960),
    "rtx 5090": (21760, 2407, 1792),
}

COMPARED: Final = {
    "rtx 3070": GA102,
    "rtx 3080": GA102,
    "rtx 3090": RTX_BLACKWELL,
    "rtx 4080": ADA,
    "rtx 4090": ADA,
    "rtx 5090": RTX_BLACKWELL,
}
"""The GeForce cards whose rates were compared with NVIDIA's own figures."""


def geforce(device: str, cores: int, clock_mhz: int, gbytes_per_s: float, *, fp8: bool) -> Peak:
    """Return the peak rates of a GeForce card, from its cores and boost clock.

    Every core does a multiplication and an addition a cycle. On these cards tensor cores do as much
    in tf32, twice as much in fp16 and bf16 and four times as much in fp8, with FP32 accumulation:
    the whitepapers' rows of RTX 3090 (35.6, 35.6, 71.2), RTX 4090 (82.6, 82.6, 165.2, 330.3) and
    RTX 5090 (104.8, 104.8, 209.5, 419).

    >>> round(geforce("rtx 4090", 16384, 2520, 1008, fp8=True).tflops["bf16"], 1)
    165.2
    """
    single = 2 * cores * clock_mhz / 1e6
    return Peak(
        name=f"GeForce {device.upper()}",
        tflops=rates(None, single, single, 2 * single, 4 * single if fp8 else None),
        gbytes_per_s=gbytes_per_s,
        source=COMPARED.get(device, COMPUTED),
        verified=device in COMPARED,
        devices=(device,),
    )


PEAKS: Final = (
    *DATACENTER,
    *(geforce(device, *card, fp8=False) for device, card in AMPERE.items()),
    *(
        geforce(device, *card, fp8=True)
        for device, card in {**ADA_LOVELACE, **BLACKWELL_CONSUMER}.items()
    ),
)
"""All cards there are figures for."""

_BY_DEVICE: Final = {device: peak for peak in PEAKS for device in peak.devices}

_BRAND: Final = re.compile(r"\b(?:nvidia|tesla|geforce)\b")


def lookup(device: str) -> Peak | None:
    """Return the peak rates of a GPU by the name its driver gives, or None where not known.

    The whole name counts: a laptop's card, a slice of a card (MIG) or a later variant is another.

    >>> peak = lookup("NVIDIA A100-SXM4-80GB")
    >>> peak.name, peak.flops_per_s("tf32"), lookup("NVIDIA A100-SXM4-80GB MIG 1g.10gb")
    ('A100 80GB SXM', 156000000000000, None)
    """
    return _BY_DEVICE.get(" ".join(_BRAND.sub(" ", device.casefold()).split()))
