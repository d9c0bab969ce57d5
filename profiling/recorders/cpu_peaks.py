"""The peak rates of the CPU that a run is on: what it does best, measured, as none is published.

A matrix product large enough to hide everything else, and a copy too large for the caches, each
repeated for a tenth of a second; the fastest counts. Both use as many threads as the run does.
"""

import time
from collections.abc import Callable
from typing import Any, Final

from analysis.costs.device_peaks import PEAK_BYTES, PEAK_FLOPS

WIDTH: Final = 1024
"""Of the square matrices: 2.1 GFLOP a product, 12 MiB of operands and result in fp32."""

COPIED_BYTES: Final = 128 << 20
"""More than the caches of most processors hold."""

PATIENCE_S: Final = 0.1
FEWEST: Final = 3


def measured_peaks() -> dict[str, str]:
    """Return the CPU's peak rates in fp32 FLOP/s and bytes/s, as facts of a run."""
    import torch

    with torch.no_grad():
        left, right = torch.rand(WIDTH, WIDTH), torch.rand(WIDTH, WIDTH)
        product = torch.empty(WIDTH, WIDTH)
        flops = 2 * WIDTH**3 / fastest_s(lambda: torch.mm(left, right, out=product))
        source = torch.ones(COPIED_BYTES // 4)
        target = torch.empty_like(source)
        # Each byte is read once and written once.
        moved = 2 * COPIED_BYTES / fastest_s(lambda: target.copy_(source))
    return {PEAK_FLOPS: f"{flops:.0f}", PEAK_BYTES: f"{moved:.0f}"}


def fastest_s(run: Callable[[], Any]) -> float:
    """Return how long the fastest of some repetitions takes, in seconds."""
    run()
    best, begun, count = float("inf"), time.perf_counter(), 0
    while count < FEWEST or time.perf_counter() - begun < PATIENCE_S:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
        count += 1
    return best
