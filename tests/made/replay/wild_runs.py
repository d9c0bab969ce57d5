"""Reports whose times fit together only by chance, as those of damaged or odd recordings do."""

import random
from pathlib import Path
from typing import Final

from tests.made.replay.machine import COLLECTIVE
from tests.made.replay.small_runs import Launched, make_run
from tests.made.reports import build_device
from tests.made.reports.build_device import (
    EVENT_WAIT,
    PAGEABLE,
    PINNED,
    STREAM_SYNC,
    STREAM_WAIT,
    Copy,
    EventRecord,
    Waiting,
)
from tests.made.reports.build_report import Call, Kernel, Range

NAMES: Final = ("sgemm", "softmax", "mystery", COLLECTIVE)
THREADS: Final = (100, 101)
WAITING: Final = (
    "cudaDeviceSynchronize_v3020",
    "cudaFree_v3020",
    "cudaStreamSynchronize_v3020",
    "cudaEventSynchronize_v3020",
)


def wild_run(path: Path, seed: int) -> Path:
    """Write the report of a number: calls of two threads, work of two devices, all at random."""
    chance = random.Random(seed)

    def some(most: int) -> range:
        return range(chance.randrange(most))

    def call(name: str) -> build_device.Call:
        begun = chance.randrange(900)
        return build_device.Call(name, begun, begun + chance.randrange(80), chance.choice(THREADS))

    launched = []
    for _ in range(2, chance.randrange(5, 40)):
        begun = chance.randrange(800)
        start = begun + chance.choice([-3, 2, 6, 10, 60, 300])
        launched.append(
            Launched(
                chance.choice(NAMES),
                begun,
                begun + chance.randrange(12),
                max(start, 0),
                max(start, 0) + chance.randrange(90),
                stream=chance.choice([7, 13, 14]),
                device=chance.choice([0, 0, 1]),
                thread=chance.choice(THREADS),
            )
        )
    copies = []
    for _ in some(8):
        begun = chance.randrange(800)
        start = begun + chance.randrange(30)
        end = start + chance.randrange(50)
        copies.append(
            Copy(
                *(start, end, chance.choice([4, 100_000]), chance.choice([1, 2, 8])),
                source=chance.choice([PAGEABLE, PINNED]),
                call=chance.choice(["cudaMemcpyAsync_v3020", "cudaMemcpy_v3020"]),
                launch=chance.choice([None, begun, begun]),
                done=max(begun, end + chance.randrange(-30, 9)),
                stream=chance.choice([7, 13]),
                thread=chance.choice(THREADS),
            )
        )
    waits = [Waiting(call(WAITING[2]), STREAM_SYNC, chance.choice([7, 13])) for _ in some(4)]
    waits += [Waiting(call(WAITING[3]), EVENT_WAIT, 7, event=chance.randrange(5)) for _ in some(4)]
    waits += [
        Waiting(
            call("cudaStreamWaitEvent_v3020"),
            *(STREAM_WAIT, chance.choice([7, 13, 14]), chance.randrange(5)),
        )
        for _ in some(9)
    ]
    steps = sorted(chance.sample(range(900), 4))
    ranges = [Range("step", steps[0], steps[1]), Range("step", steps[2], steps[3])]
    for name in ("forward", "backward", "forward"):
        begun = chance.randrange(800)
        ranges.append(Range(name, begun, begun + 100, thread=chance.choice(THREADS)))
    return make_run(
        path,
        launched,
        kernels=[
            Kernel("lost", at, at + 10, correlation=8_000) for at in chance.sample(range(900), 2)
        ],
        calls=[
            Call(one.name, one.start, one.end, 9_000 + number, one.thread)
            for number, one in enumerate(call(chance.choice(WAITING)) for _ in some(9))
        ],
        ranges=ranges,
        copies=copies,
        waits=waits,
        events=[
            EventRecord(call("cudaEventRecord_v3020"), number, chance.choice([7, 13, 14]))
            for number in some(5)
        ],
        streams=[(7, chance.choice([2, 3])), (13, 1), (14, 2)],
    )
