"""Programs made at random for the machine, and what becomes of them by a change."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final

from tests.made.replay.machine import (
    BLOCKING_COPY,
    COPY,
    LAUNCH,
    MAKE_WAIT,
    RECORD,
    WAIT_DEVICE,
    WAIT_EVENT,
    WAIT_STREAM,
    WAITS,
    Step,
)

STREAMS: Final = (7, 13, 14)
COPY_STREAM: Final = 20
OTHER_THREAD: Final = 101
NAMES: Final = ("sgemm", "softmax", "mystery")
HANDOVER_NS: Final = 60_000
"""A thread that was silent for less does not take over."""

PROLOGUE: Final = (
    Step(LAUNCH, took=40_000),
    Step(LAUNCH, took=20_000),
    Step(RECORD, event=1),
    Step(MAKE_WAIT, stream=13, event=1),
    *[Step(LAUNCH, took=8_000, stream=stream) for stream in STREAMS[1:]],
    *[Step(WAIT_DEVICE)] * 2,
    *[Step(WAIT_STREAM, stream=13)] * 2,
    *[Step(WAIT_EVENT, event=1)] * 2,
    *[Step(COPY, took=40_000, stream=COPY_STREAM)] * 2,
    Step(WAIT_DEVICE),
    Step(BLOCKING_COPY, took=4_000, stream=COPY_STREAM),
)
"""Every kind of call once with something to wait for and once without: what each takes is seen."""


def program(seed: int, steps: int = 40) -> list[Step]:
    """Return a program by its number; times are multiples of four, so that quarters are whole."""
    chance = random.Random(seed)
    made = list(PROLOGUE)
    event, inside, threads = 1, "", [made[0].thread, OTHER_THREAD]
    copying = chance.choice([COPY, LAUNCH])
    while len(made) < steps:
        if chance.random() < 0.1:
            inside = chance.choice(["", "forward", "backward"])
        gap = 4 * chance.randrange(250, 2_500)
        step = Step(LAUNCH, gap, thread=threads[0], inside=inside)
        if chance.random() < 0.06:
            threads.reverse()
            step = replace(step, thread=threads[0], gap=gap + HANDOVER_NS, takes_over=True)
        took = 4 * int(chance.choice([500, 2_000, 12_000]) * chance.random())
        stream = chance.choice(STREAMS)
        kind = chance.random()
        if kind < 0.6:
            name = chance.choice(NAMES)
            host = 4 * chance.randrange(500, 1_500)
            made.append(replace(step, name=name, stream=stream, took=took, host=host))
        elif kind < 0.7:
            made.append(replace(step, does=copying, stream=COPY_STREAM, took=took))
        elif kind < 0.75:
            made.append(replace(step, does=BLOCKING_COPY, stream=COPY_STREAM, took=4_000 + took))
        elif kind < 0.87:
            event += 1
            made.append(replace(step, does=RECORD, stream=stream, event=event))
            wait = replace(step, gap=1_000, event=event, takes_over=False)
            other = chance.choice(STREAMS)
            if other <= stream:  # a stream that waits, by others, for itself makes no sense
                made.append(replace(wait, does=WAIT_EVENT))
            else:
                made.append(replace(wait, does=MAKE_WAIT, stream=other))
        elif kind < 0.93:
            made.append(replace(step, does=WAIT_STREAM, stream=stream))
        else:
            made.append(replace(step, does=WAIT_DEVICE))
    return [*made, replace(made[0], gap=1_000, thread=threads[0])]


def scaled(
    program: Sequence[Step], factors: Mapping[str, float] | None = None, host: float = 1.0
) -> list[Step]:
    """Return a program whose kernels of some names, and whose host, take their time by a factor."""
    factors = factors or {}
    return [
        replace(
            step,
            took=round(step.took * (factors.get(step.name, 1) if step.does == LAUNCH else 1)),
            gap=round(step.gap * host),
            host=round(step.host * host),
        )
        for step in program
    ]


def without_time_on_the_device(program: Sequence[Step], inside: str) -> list[Step]:
    """Return a program in which the work of a range takes no time."""
    return [replace(step, took=0) if step.inside == inside else step for step in program]


def removed(program: Sequence[Step], inside: str) -> list[Step]:
    """Return a program without a range; threads take over from one another as before."""
    kept = [step for step in program if step.inside != inside]
    before = [kept[0], *kept]
    return [
        replace(step, takes_over=step.thread != last.thread)
        for last, step in zip(before, kept, strict=False)
    ]


def launched_at_once(program: Sequence[Step], inside: str) -> list[Step]:
    """Return a program in which the first launch of each stretch of a range launches all of it.

    What the host does between its launches is left out, but for its waits.
    """
    made: list[Step] = []
    for _, stretch in groupby(program, key=lambda step: (step.inside, step.thread)):
        steps = list(stretch)
        launches = [at for at, step in enumerate(steps) if step.does in (LAUNCH, COPY)]
        if steps[0].inside == inside and launches:
            for at in range(launches[0] + 1, launches[-1] + 1):
                waits = steps[at].does in WAITS | {BLOCKING_COPY}
                steps[at] = replace(steps[at], gap=0, host=steps[at].host if waits else 0)
        made += steps
    return made
