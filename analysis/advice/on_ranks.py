"""Advice on what GPUs do together: collectives that no other kernel runs beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analysis.advice.finding import Finding, in_words, wall_share
from analysis.measures.gpu_time_split import occupations
from analysis.show.render import duration, percent

if TYPE_CHECKING:
    from analysis.measures.gpu_time_split import Occupation
    from analysis.measures.window import Measured

EXPOSED: Final = 0.05
"""Of the wall time in collectives and no other kernel; less is not seen among steps that differ."""

UNEVEN: Final = 0.02
"""Of the wall time: ranks differ by more than this where one of them makes the others wait."""


def communication(measured: Measured) -> list[Finding]:
    """Return a line on collectives with nothing beside them, and on ranks that wait unevenly."""
    gpus = occupations(measured)
    exposed = sum(gpu.communication_ns for gpu in gpus)
    share = wall_share(measured, exposed)
    if not gpus or share < EXPOSED:
        return []
    hidden = sum(gpu.overlapped_communication_ns for gpu in gpus)
    return [
        Finding(
            f"collectives take {duration(exposed)}, {in_words(measured, share)}, with no other "
            f"kernel running beside them ({percent(hidden / (hidden + exposed))} of their time is "
            "hidden under computation): begin them earlier and in smaller pieces (DDP: "
            "bucket_cap_mb; FSDP: forward_prefetch, backward_prefetch), on a stream of their own"
            f"{uneven(gpus)}",
            share,
        )
    ]


def uneven(gpus: list[Occupation]) -> str:
    """Return in words that one GPU waits for others much longer than another does.

    In a collective all wait for the last to come: the one that waits least is the one that is late.
    """
    ordered = sorted(gpus, key=lambda gpu: gpu.share(gpu.communication_ns))
    least, most = ordered[0], ordered[-1]
    low, high = (gpu.share(gpu.communication_ns) for gpu in (least, most))
    if high - low < UNEVEN:
        return ""
    return (
        f"; they take {percent(high)} on {named(most)} and {percent(low)} on {named(least)}, which "
        "comes last and keeps the others waiting: give it less to do"
    )


def named(gpu: Occupation) -> str:
    """Return what a GPU is called."""
    return f"GPU {gpu.device} in process {gpu.process}"
