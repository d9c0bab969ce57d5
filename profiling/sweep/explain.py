"""The assignment's two answers about a sweep, with its figures: how long, how steady; warm-up."""

import math
import statistics
from collections.abc import Sequence
from typing import Final

from analysis.show.render import digits, plural
from profiling import names
from profiling.benchmark.steadiness import times_longer
from profiling.sweep.store import SweepRow
from profiling.sweep.table import NOISY, NS_PER_MS, by_configuration, statistic, step_times

ON_GPU: Final = (
    "a cold step pays for what is done once: loading kernels (CUDA loads them when they are first "
    "launched), cuBLAS handles and workspaces, and memory that the caching allocator has to ask "
    "the driver for; one or two steps do most of it, and clocks still rise after them"
)
ON_CPU: Final = (
    "a cold step pays for what is done once: starting the threads, pages of memory that are "
    "touched for the first time, packed weights and kernels that oneDNN and MKL choose for each "
    "shape, masks and rotary tables that are cached; one or two steps do most of it"
)


def explained(rows: Sequence[SweepRow]) -> list[str]:
    """Return the answers, a line a sentence."""
    groups = by_configuration(rows)
    if not groups:
        return ["no row could be measured, so there is nothing to explain"]
    return [
        "(b) How long forward and backward take, and how steady that is",
        *(_duration(group[-1]) for group in groups),
        "",
        "(c) What leaving out warm-up does, or doing only a step or two of it",
        *_warmup([group for group in groups if len(group) > 1], rows[0].settings.device),
    ]


def name(row: SweepRow) -> str:
    """Return what a configuration is called in a sentence."""
    settings = row.settings
    return (
        f"{settings.size}, batch {settings.batch}, context {settings.context}, "
        f"{settings.precision}, {settings.mode}"
    )


def _duration(row: SweepRow) -> str:
    parts = []
    for part in names.PHASES:
        mean, std = statistic(row, part, "mean"), statistic(row, part, "std")
        if mean == mean:  # not every mode has every part
            parts.append(f"{part} {digits(mean)} ± {digits(std)} ms ({std / mean:.1%})")
    forward, backward = (statistic(row, part, "mean") for part in names.PHASES[:2])
    ratio = f"; backward is {backward / forward:.2f} times forward" if backward == backward else ""
    total = row.result["statistics"]["total"] if row.result else {}
    share = total["std"] / total["mean"] if total else 0.0
    steady = "steady" if share <= NOISY else "not steady"
    return (
        f"{name(row)}: {', '.join(parts)}{ratio}; the whole step deviates by {share:.1%}, which is "
        f"{steady}."
    )


def _warmup(groups: Sequence[Sequence[SweepRow]], device: str) -> list[str]:
    if not groups:
        return ["Every configuration was measured with one warm-up only; give --warmups 0,1,2,5."]
    lines = [line for group in groups for line in _compared(group)]
    colder = [(row, group[-1]) for group in groups for row in group[:-1]]
    if not any(times_longer(step_times(row)[0], step_times(warm))[0] > 1 for row, warm in colder):
        return [*lines, "No first step was shown to be slower, so there is nothing to explain."]
    return [*lines, f"Why: {ON_GPU if device.startswith('cuda') else ON_CPU}."]


def _compared(ordered: Sequence[SweepRow]) -> list[str]:
    """Return what each lesser warm-up did to a configuration's figures.

    Args:
        ordered: the configuration's rows, by warm-up.
    """
    best, lines = ordered[-1], []
    middle, mean = statistic(best, "total", "median"), statistic(best, "total", "mean")
    std = statistic(best, "total", "std")
    for row in ordered[:-1]:
        steps = row.settings.warmup
        warmup = plural(steps, "warm-up step") if steps else "no warm-up"
        first = step_times(row)[0] / NS_PER_MS
        rest = step_times(row)[1:]
        later = f", the others {digits(statistics.median(rest) / NS_PER_MS)} ms" if rest else ""
        lines.append(
            f"{name(row)}, {warmup}: the first timed step took "
            f"{digits(first)} ms, {first / middle:.1f} times the median of a warm one "
            f"({digits(middle)} ms), {_verdict(row, best)}{later}; the mean is "
            f"{digits(statistic(row, 'total', 'mean'))} ± {digits(statistic(row, 'total', 'std'))} "
            f"ms against {digits(mean)} ± {digits(std)} with {best.settings.warmup}."
        )
    return lines


def _verdict(row: SweepRow, warm: SweepRow) -> str:
    """Return whether the first timed step of a row took longer than a warm one, in words."""
    low, high = times_longer(step_times(row)[0], step_times(warm))
    if low > 1:
        return "slower than warm steps differ among themselves"
    if high < 1:
        return "faster than warm steps differ among themselves"
    if math.isnan(low):
        return "which is too noisy to tell"
    return f"which is too noisy to tell ({low:.1f} to {high:.1f} times their mean)"
