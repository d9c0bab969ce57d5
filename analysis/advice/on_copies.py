"""Advice on copies and collectives: what keeps the host waiting, and what no kernel runs beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.advice.finding import (
    WORTH_A_LINE,
    Finding,
    exposed_ns,
    gpus_in_window,
    in_words,
    more,
    wall_share,
)
from analysis.arithmetic.arrays import Bools
from analysis.arithmetic.union import IntervalUnion
from analysis.measures import idle
from analysis.measures.gpu_time_split import gpu_time_splits
from analysis.recorded.device_work import COPY
from analysis.show.render import duration, percent, scaled
from analysis.source import device_tables

if TYPE_CHECKING:
    from analysis.measures.gpu_time_split import GpuTimeSplit
    from analysis.measures.window import MeasuredWindow

COPY_SHARE: Final = 0.01
"""Copies get a line sooner: a step needs next to none, and the cure is one word."""

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
    done = measured.done
    chosen = done.synchronous & ~done.pageable & launched_in_window(measured)
    if not are_costly(measured, chosen):
        return None
    alone_ns = exposed_ns(measured, chosen)
    share = wall_share(measured, alone_ns)
    return Finding(
        "synchronous-copies",
        f"{number_of_copies(int(chosen.sum()), 'synchronous ')} kept the host waiting for "
        f"{duration(time_in_calls(measured, chosen))}{exposed_in_words(share)}: copy "
        "asynchronously (non_blocking=True in PyTorch, cudaMemcpyAsync in CUDA)",
        more(measured, "analysis.copies"),
        time_ns=alone_ns,
        share=share,
    )


def pageable_copies(measured: MeasuredWindow) -> Finding | None:
    """Return advice on copies of pageable memory, which are synchronous under any name."""
    chosen = measured.done.pageable & launched_in_window(measured)
    if not are_costly(measured, chosen):
        return None
    alone_ns = exposed_ns(measured, chosen)
    share = wall_share(measured, alone_ns)
    return Finding(
        "pageable-copies",
        f"{number_of_copies(int(chosen.sum()))} of pageable memory, "
        f"{bytes_and_rate(measured, chosen)}, kept the host waiting for "
        f"{duration(time_in_calls(measured, chosen))}"
        f"{exposed_in_words(share)}: pin the memory (pin_memory=True in a DataLoader, or "
        "tensor.pin_memory()) and copy with non_blocking=True",
        more(measured, "analysis.copies"),
        time_ns=alone_ns,
        share=share,
    )


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
        f"copies take {duration(alone_ns)}, {in_words(measured, share)}, with "
        f"no kernel running beside them, most of it {direction}{memory}, "
        f"{bytes_and_rate(measured, mostly)}: {CURES.get(direction, OTHERWISE)}",
        more(measured, "analysis.copies"),
        time_ns=alone_ns,
        share=share,
    )


def ran_in_window(measured: MeasuredWindow) -> Bools:
    """Return ``(M,)`` which device work a GPU was at during its measured window."""
    done = measured.done
    result = np.zeros(len(done), np.bool_)
    for here, (start, end) in gpus_in_window(measured):
        result |= here & (done.end_ns > start) & (done.start_ns < end)
    return result


def launched_in_window(measured: MeasuredWindow) -> Bools:
    """Return ``(M,)`` which device work was launched during the window of its process."""
    done = measured.done
    return measured.during(done.process, done.launch_ns)


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


def exposed_in_words(share: float) -> str:
    """Return in words the share of the wall time in copies alone, where it is large."""
    if share < COPY_SHARE:
        return ""
    return f", and took {percent(share)} of the wall time with no kernel running beside them"


def are_costly(measured: MeasuredWindow, chosen: Bools) -> bool:
    """Return whether the chosen copies, ``(M,)``, and idle time for copies, are worth advice."""
    found = measured.idle
    waits = measured.gaps & (found.cause == idle.COPY)
    took = int(measured.done.duration_ns[chosen].sum()) + int(found.duration_ns[waits].sum())
    return bool(chosen.any()) and took / measured.wall_ns >= COPY_SHARE


def time_in_calls(measured: MeasuredWindow, chosen: Bools) -> int:
    """Return how long, in ns, the host was in the calls of the chosen copies, ``(M,)``.

    Of each thread what overlaps counts once; threads are added up.
    """
    calls, call = measured.done.calls, measured.done.call[chosen]
    call = call[call >= 0]
    total = 0
    for thread in np.unique(calls.thread[call]):
        mine = call[calls.thread[call] == thread]
        total += IntervalUnion.of(calls.start_ns[mine], calls.end_ns[mine]).busy_ns
    return total


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
        f"collectives take {duration(alone_ns)}, {in_words(measured, share)}, with no other "
        f"kernel running beside them ({percent(under)} of their time is "
        "hidden under computation): begin them earlier and in smaller pieces (DDP: "
        "bucket_cap_mb; FSDP: forward_prefetch, backward_prefetch), on a stream of their own"
        f"{uneven(gpus)}",
        more(measured, "analysis.overlap"),
        time_ns=alone_ns,
        share=share,
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
