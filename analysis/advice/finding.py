"""A finding with a cure, the time that it is about, and the command that shows more of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from analysis.arithmetic.arrays import Bools
from analysis.arithmetic.statistics import sums
from analysis.measures import gpu_time_split
from analysis.recorded.device_work import RANKED
from analysis.recorded.framework import uses_pytorch
from analysis.show.called import called
from analysis.show.render import duration, percent

if TYPE_CHECKING:
    from analysis.advice.remedies import Remedy
    from analysis.measures.idle import DeviceActivity
    from analysis.measures.window import MeasuredWindow


WORTH_A_LINE: Final = 0.05
"""Of the wall time. Steps differ by some percent among themselves: less is not seen in them."""


NEARLY_ALL: Final = 0.95
"""Of some idle time: one GPU that has so much of it is named alone."""


@dataclass(frozen=True)
class Gain:
    """What a cure gains of a step, where steps are marked, else of the whole run.

    Attributes:
        before_ns: what it takes.
        after_ns: what it takes then.
        limit_then: what it is limited by then.
    """

    before_ns: int
    after_ns: int
    limit_then: str

    @property
    def saved_ns(self) -> int:
        """The time that is gained."""
        return self.before_ns - self.after_ns

    @property
    def share(self) -> float:
        """The time that is gained as a share of the time before."""
        return self.saved_ns / max(self.before_ns, 1)

    @property
    def record(self) -> dict[str, str | int | None]:
        """The gain as json holds it."""
        return {
            "before_ns": self.before_ns,
            "after_ns": self.after_ns,
            "saved_ns": self.saved_ns,
            "limit_then": self.limit_then,
        }


NO_GAIN: Final = dict.fromkeys(("before_ns", "after_ns", "saved_ns", "limit_then"))


@dataclass(frozen=True)
class Finding:
    """Something found in a report, and what to do about it.

    Attributes:
        id: of the rule that found it, the same in every report.
        text: what was found, and what to do.
        command: what to type to see more of it.
        range: the name of the range it is about; None where it is about no one range.
        time_ns: the time it is about, of all GPUs together; None where it is about no time.
        share: that time as a share of the wall time of the GPUs, on a CPU of the operators' time.
        remedy: what the cure changes in the run; None where that is not known.
        gain: what that gains, in the run without a recorder where its time is known; None where it
            was not predicted.
        recorded: what it gains in the run as it was recorded, where that is another one.
    """

    id: str
    text: str
    command: str
    range: str | None = None
    time_ns: int | None = None
    share: float | None = None
    remedy: Remedy | None = None
    gain: Gain | None = None
    recorded: Gain | None = None

    @property
    def record(self) -> dict[str, str | int | float | None]:
        """The finding as json holds it; what is not known is None."""
        return {
            "id": self.id,
            "text": self.text,
            "range": self.range,
            "ns": self.time_ns,
            "share": self.share,
            "change": None if self.remedy is None else self.remedy.label,
            **(NO_GAIN if self.gain is None else self.gain.record),
        }


class Cure(NamedTuple):
    """What to do about a finding, in the words of what the program is written with.

    Attributes:
        pytorch: in those of PyTorch.
        otherwise: in those of CUDA, where the report does not show PyTorch.
    """

    pytorch: str
    otherwise: str

    def of(self, measured: MeasuredWindow) -> str:
        """Return the words for the program that was recorded."""
        return self.pytorch if uses_pytorch(measured.report) else self.otherwise


def more(measured: MeasuredWindow, module: str, *arguments: str) -> str:
    """Return how to ask more about the part of a report that is looked at.

    Args:
        measured: what is looked at.
        module: of the question.
        arguments: of the question itself.
    """
    asked = measured.chosen.selection.arguments
    return called(module, str(measured.report.path), *arguments, *asked)


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


def time_in_words(measured: MeasuredWindow, time_ns: int) -> str:
    """Return a time in words, of several GPUs with their number, as it may exceed the wall time.

    Args:
        measured: what is looked at.
        time_ns: of all GPUs together.
    """
    gpus = len(measured.idle.places)
    return f"{duration(time_ns)} on {gpus} GPUs together" if gpus > 1 else duration(time_ns)


def idle_gpu(measured: MeasuredWindow, gaps: Bools) -> DeviceActivity | None:
    """Return the one of several GPUs that has nearly all time of some gaps, ``(G,)``, or None."""
    places = measured.idle.places
    time = sums(measured.idle.place[gaps], measured.idle.duration_ns[gaps], len(places))
    most = int(time.argmax())
    alone = len(places) > 1 and time[most] >= NEARLY_ALL * time.sum()
    return places[most] if alone else None


def gpus_that(measured: MeasuredWindow, gaps: Bools, one: str, several: str) -> str:
    """Return who was idle in some gaps, ``(G,)``, with the verb for one or several.

    Args:
        measured: what is looked at.
        gaps: ``(G,)``, the times of all GPUs being added up.
        one: the verb for a single GPU, which is named where there are others.
        several: for more.
    """
    places = measured.idle.places
    if len(places) == 1:
        return f"the GPU {one}"
    alone = idle_gpu(measured, gaps)
    if alone is None:
        return f"{len(places)} GPUs together {several}"
    processes = len({place.process for place in places}) > 1
    return f"GPU {alone.device}{f' in process {alone.process}' if processes else ''} {one}"


def idle_share_in_words(measured: MeasuredWindow, gaps: Bools, share: float) -> str:
    """Return the share that some gaps, ``(G,)``, have of the time of all GPUs."""
    of_all = "" if idle_gpu(measured, gaps) is None else f" of {len(measured.idle.places)} GPUs"
    return f"({percent(share)} of the time{of_all})"


def work_ns(measured: MeasuredWindow, chosen: Bools) -> int:
    """Return the wall time in which some work ran, of all GPUs; on a CPU, the operators' time.

    Args:
        measured: what is looked at.
        chosen: ``(N,)`` of the work that is ranked.
    """
    if measured.attribution.work.on_cpu:
        return int(measured.attribution.work.duration_ns[chosen].sum())
    ranked = np.zeros(len(measured.done), np.bool_)
    ranked[: len(chosen)] = chosen
    total = 0
    for here, window in gpus_in_window(measured):
        cover = gpu_time_split.union_of_work(measured, here & ranked)
        total += gpu_time_split.covered_ns(cover, window)
    return total


def exposed_ns(measured: MeasuredWindow, moved: Bools) -> int:
    """Return the wall time in which some copies ran and no kernel did, of all GPUs.

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
    return total


def gpus_in_window(measured: MeasuredWindow) -> list[tuple[Bools, list[int]]]:
    """Return for each GPU which device work it did, ``(M,)``, and its measured window."""
    done = measured.done
    return [
        (place.did(done), window)
        for place, window in zip(measured.idle.places, measured.windows.tolist(), strict=True)
    ]
