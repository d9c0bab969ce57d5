"""A finding with a cure, and how much of the time it is about: the wall time of the GPUs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools
from analysis.measures import gpu_time_split
from analysis.recorded.device_work import RANKED
from analysis.show.render import percent

if TYPE_CHECKING:
    from analysis.measures.window import MeasuredWindow


WORTH_A_LINE: Final = 0.05
"""Of the wall time. Steps differ by some percent among themselves: less is not seen in them."""


@dataclass(frozen=True)
class Finding:
    """One line of advice, with the share of the wall time that it is about.

    Attributes:
        text: what was found, and what to do.
        share: of the wall time, that of what the line is about; 0 where it is about no time.
    """

    text: str
    share: float = 0.0


def wall_share(measured: MeasuredWindow, time_ns: int) -> float:
    """Return a time as a share of the GPUs' wall time; of a run on a CPU, of its operators' time.

    Args:
        measured: what is looked at.
        time_ns: of all GPUs together.
    """
    on_cpu = measured.attribution.work.on_cpu
    return time_ns / (measured.kernel_ns if on_cpu else measured.wall_ns)


def in_words(measured: MeasuredWindow, share: float) -> str:
    """Return a share of the wall time in words, "" on a CPU, which has no such time."""
    return "" if measured.attribution.work.on_cpu else f"{percent(share)} of the wall time"


def work_share(measured: MeasuredWindow, chosen: Bools) -> float:
    """Return the share of the wall time in which some work ran; on a CPU, of operators' time.

    Args:
        measured: what is looked at.
        chosen: ``(N,)`` of the work that is ranked.
    """
    if measured.attribution.work.on_cpu:
        return wall_share(measured, int(measured.attribution.work.duration_ns[chosen].sum()))
    ranked = np.zeros(len(measured.done), np.bool_)
    ranked[: len(chosen)] = chosen
    total = 0
    for here, window in gpus_in_window(measured):
        cover = gpu_time_split.union_of_work(measured, here & ranked)
        total += gpu_time_split.covered_ns(cover, window)
    return wall_share(measured, total)


def exposed_share(measured: MeasuredWindow, moved: Bools) -> float:
    """Return the share of the wall time in which some copies ran and no kernel did.

    Args:
        measured: what is looked at.
        moved: ``(M,)`` of the device work, some copies and sets.
    """
    total = 0
    for here, window in gpus_in_window(measured):
        kernels = gpu_time_split.union_of_work(measured, here & (measured.done.kind < RANKED))
        both = kernels.joined(gpu_time_split.union_of_work(measured, here & moved))
        total += gpu_time_split.covered_ns(both, window)
        total -= gpu_time_split.covered_ns(kernels, window)
    return wall_share(measured, total)


def gpus_in_window(measured: MeasuredWindow) -> list[tuple[Bools, list[int]]]:
    """Return for each GPU which device work it did, ``(M,)``, and its measured window."""
    done = measured.done
    return [
        (place.did(done), window)
        for place, window in zip(measured.idle.places, measured.windows.tolist(), strict=True)
    ]
