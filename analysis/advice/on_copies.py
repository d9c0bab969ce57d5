"""Advice on copies and collectives: what keeps the host waiting, and what no kernel runs beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from analysis.advice.blocking_copies import copies_that_block, gaps_of, held, large
from analysis.advice.finding import (
    WORTH_A_LINE,
    Cure,
    Finding,
    exposed_ns,
    gpus_in_window,
    in_words,
    more,
    time_in_words,
    wall_share,
)
from analysis.advice.remedies import collectives_overlapping, copied_later, copies_beside
from analysis.arithmetic.arrays import Bools
from analysis.measures.gpu_time_split import gpu_time_splits
from analysis.recorded.device_work import COPY
from analysis.show.render import duration, percent, scaled
from analysis.source import device_tables

if TYPE_CHECKING:
    from analysis.measures.gpu_time_split import GpuTimeSplit
    from analysis.measures.window import MeasuredWindow

COPY_SHARE: Final = 0.01
"""Copies get a line sooner: a step needs next to none, and the cure is one word."""

TOLD: Final = 0.1
"""Of the time in the calls of copies: what was spent waiting for kernels is told from here on."""

COPY_LATER: Final = Cure(
    "copy asynchronously (non_blocking=True)",
    "copy asynchronously (cudaMemcpyAsync)",
)
PIN: Final = Cure(
    "pin the memory (pin_memory=True in a DataLoader, or tensor.pin_memory()) and copy with "
    "non_blocking=True",
    "pin the memory (cudaHostAlloc, or cudaHostRegister for what is there already) and copy with "
    "cudaMemcpyAsync",
)
OVERLAP: Final = Cure(
    "begin them earlier and in smaller pieces (DDP: bucket_cap_mb; FSDP: forward_prefetch, "
    "backward_prefetch), on a stream of their own",
    "begin them earlier and in smaller pieces, on a stream of their own",
)

TO_DEVICE: Final = "Host-to-Device"
TO_HOST: Final = "Device-to-Host"

CURES: Final = {
    TO_DEVICE: "keep on the GPU what is copied again and again (weights, tables), and bring the "
    "rest ahead on a stream of its own, while kernels run",
    TO_HOST: "copy less often, and on a stream of its own, while kernels run",
}
OTHERWISE: Final = "copy less (views, work in place), or on a stream of its own, while kernels run"


UNEVEN: Final = 0.02
"""Of the wall time: ranks differ by more than this where one of them makes the others wait."""


def synchronous_copies(measured: MeasuredWindow) -> Finding | None:
    """Return advice on copies that are synchronous by the names of their calls."""
    chosen = copies_that_block(measured) & large(measured) & ~measured.done.pageable
    cost = cost_of(measured, chosen)
    if cost is None:
        return None
    return Finding(
        "synchronous-copies",
        f"{number_of_copies(int(chosen.sum()), 'synchronous ')}, "
        f"{bytes_and_rate(measured, chosen)}, {cost.words}: {COPY_LATER.of(measured)}",
        more(measured, "analysis.copies"),
        time_ns=cost.time_ns,
        share=wall_share(measured, cost.time_ns),
        remedy=copied_later(measured, chosen, "asynchronous copies"),
    )


def pageable_copies(measured: MeasuredWindow) -> Finding | None:
    """Return advice on copies of pageable memory, which are synchronous under any name."""
    chosen = copies_that_block(measured) & large(measured) & measured.done.pageable
    cost = cost_of(measured, chosen)
    if cost is None:
        return None
    return Finding(
        "pageable-copies",
        f"{number_of_copies(int(chosen.sum()))} of pageable memory, "
        f"{bytes_and_rate(measured, chosen)}, {cost.words}: {PIN.of(measured)}",
        more(measured, "analysis.copies"),
        time_ns=cost.time_ns,
        share=wall_share(measured, cost.time_ns),
        remedy=copied_later(measured, chosen, "asynchronous copies of pinned memory"),
    )


class Cost(NamedTuple):
    """What copies cost that keep the host.

    Attributes:
        words: that follow the copies.
        time_ns: the wall time, of all GPUs, in which they or idle time for them were alone.
    """

    words: str
    time_ns: int


def cost_of(measured: MeasuredWindow, chosen: Bools) -> Cost | None:
    """Return what some copies, ``(M,)``, cost that would not if they kept nobody waiting.

    That is the time in which they ran beside no kernel, and in which a GPU was idle because the
    host was in them: not the time in which the host waited in them for the kernels before.

    Returns:
        None where that is too little for advice.
    """
    if not chosen.any():
        return None
    alone_ns = exposed_ns(measured, chosen)
    idle_ns = int(measured.idle.duration_ns[gaps_of(measured, chosen)].sum())
    if wall_share(measured, alone_ns + idle_ns) < COPY_SHARE:
        return None
    host = held(measured, chosen)
    words = f"kept the host waiting for {time_in_words(measured, host.copying_ns)}"
    if host.waiting_ns >= TOLD * (host.copying_ns + host.waiting_ns):
        words += f" ({duration(host.waiting_ns)} more it waited for the kernels before them)"
    shares = [
        f"{what} {percent(wall_share(measured, time))} of the wall time{rest}"
        for what, time, rest in (
            ("took", alone_ns, " with no kernel running beside them"),
            ("left the GPU idle for another", idle_ns, ""),
        )
        if wall_share(measured, time) >= COPY_SHARE
    ]
    *first, last = [words, *shares]
    return Cost(", and ".join([", ".join(first), last] if first else [last]), alone_ns + idle_ns)


def exposed_copies(measured: MeasuredWindow) -> Finding | None:
    """Return advice on copies of pinned or device memory that no kernel runs beside."""
    done = measured.done
    chosen = (done.kind == COPY) & ~done.pageable & ~done.synchronous & ran_in_window(measured)
    alone_ns = exposed_ns(measured, chosen) if chosen.any() else 0
    share = wall_share(measured, alone_ns)
    if share < WORTH_A_LINE:
        return None
    spent = np.bincount(done.name[chosen], done.duration_ns[chosen], len(done.names))
    longest = int(spent.argmax())
    direction = done.names[longest].removeprefix("memcpy ")
    mostly = chosen & (done.name == longest)
    # What is not pageable is pinned, if the recording tells at all.
    is_told = direction in CURES and measured.report.has(device_tables.COPY, "srcKind")
    memory = " of pinned memory" if is_told else ""
    return Finding(
        "exposed-copies",
        f"copies take {time_in_words(measured, alone_ns)}, {in_words(measured, share)}, with "
        f"no kernel running beside them, most of it {direction}{memory}, "
        f"{bytes_and_rate(measured, mostly)}: {CURES.get(direction, OTHERWISE)}",
        more(measured, "analysis.copies"),
        time_ns=alone_ns,
        share=share,
        remedy=copies_beside(chosen, "copies beside kernels"),
    )


def ran_in_window(measured: MeasuredWindow) -> Bools:
    """Return ``(M,)`` which device work a GPU was at during its measured window."""
    done = measured.done
    result = np.zeros(len(done), np.bool_)
    for here, (start, end) in gpus_in_window(measured):
        result |= here & (done.end_ns > start) & (done.start_ns < end)
    return result


def number_of_copies(count: int, kind: str = "") -> str:
    """Return the number of copies in words.

    >>> number_of_copies(1), number_of_copies(1200, "synchronous ")
    ('1 copy', '1,200 synchronous copies')
    """
    return f"1 {kind}copy" if count == 1 else f"{count:,} {kind}copies"


def bytes_and_rate(measured: MeasuredWindow, chosen: Bools) -> str:
    """Return in words how much the chosen copies, ``(M,)``, moved, and how fast."""
    done = measured.done
    moved, took = int(done.bytes[chosen].sum()), int(done.duration_ns[chosen].sum())
    return f"{scaled(moved, 'B')} at {scaled(moved / max(took, 1) * 1e9, 'B/s')}"


def exposed_collectives(measured: MeasuredWindow) -> Finding | None:
    """Return advice on collectives that no kernel runs beside, and on uneven ranks."""
    gpus = gpu_time_splits(measured)
    alone_ns = sum(gpu.communication_ns for gpu in gpus)
    share = wall_share(measured, alone_ns)
    if not gpus or share < WORTH_A_LINE:
        return None
    hidden_ns = sum(gpu.overlapped_communication_ns for gpu in gpus)
    under = hidden_ns / (hidden_ns + alone_ns)
    return Finding(
        "exposed-collectives",
        f"collectives take {time_in_words(measured, alone_ns)}, {in_words(measured, share)}, "
        f"with no other kernel running beside them ({percent(under)} of their time is "
        f"hidden under computation): {OVERLAP.of(measured)}{uneven(gpus)}",
        more(measured, "analysis.overlap"),
        time_ns=alone_ns,
        share=share,
        remedy=collectives_overlapping(measured),
    )


def uneven(gpus: list[GpuTimeSplit]) -> str:
    """Return in words that one GPU waits for others much longer than another does.

    In a collective all wait for the last to come: the one that waits least is the one that is late.
    """
    ordered = sorted(gpus, key=lambda gpu: gpu.share(gpu.communication_ns))
    least, most = ordered[0], ordered[-1]
    low, high = (gpu.share(gpu.communication_ns) for gpu in (least, most))
    if high - low < UNEVEN:
        return ""
    return (
        f"; they take {percent(high)} on {gpu_in_words(most)} and {percent(low)} on "
        f"{gpu_in_words(least)}, which comes last and keeps the others waiting: give it less to do"
    )


def gpu_in_words(gpu: GpuTimeSplit) -> str:
    """Return the name of a GPU, with its process."""
    return f"GPU {gpu.device} in process {gpu.process}"
