"""In which order lanes are drawn, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from analysis.arithmetic.global_ids import process_of, thread_of
from analysis.html.rows import CALLS, COPIES, ON_DEVICES, ON_THREADS, OPERATORS, Rows

IN_WORDS: Final = {COPIES: "copies", OPERATORS: "operators", CALLS: "CUDA calls"}
"""What the label of a lane says of its kind."""


def drawing_order(lane: tuple[Rows, int]) -> tuple[int, ...]:
    """Return what lanes are ordered by: devices, then threads, those of a process together.

    A process's main thread, whose id is the process's, comes first.
    """
    rows, number = lane
    place = rows.places[number]
    if rows.kind in ON_DEVICES:
        process, device, *stream = place
        return 0, device, process, ON_DEVICES.index(rows.kind), *stream
    (thread,) = place
    process = process_of(thread)
    return 1, process, thread_of(thread) != process, thread, ON_THREADS.index(rows.kind)


def labels_of(drawn: Sequence[tuple[Rows, int]], threads: Mapping[int, str]) -> list[str]:
    """Return what lanes are called; the process is named where that tells lanes apart.

    Args:
        drawn: the lanes.
        threads: names of threads by global id.
    """
    places = [(rows.kind, rows.places[number]) for rows, number in drawn]
    users: dict[int, set[int]] = {}
    hosts = set()
    for kind, place in places:
        if kind in ON_DEVICES:
            users.setdefault(place[1], set()).add(place[0])
        else:
            hosts.add(process_of(place[0]))
    result = []
    for kind, place in places:
        if kind in ON_DEVICES:
            process, device, *stream = place
            words = [f"GPU {known_id(device)}"]
            words += [f"process {known_id(process)}"] * (len(users[device]) > 1)
            words += [f"stream {known_id(each)}" for each in stream]
        else:
            (thread,) = place
            words = [f"process {process_of(thread)}"] * (len(hosts) > 1)
            words += [f"thread {thread_of(thread)}", *filter(None, [threads.get(thread)])]
        result.append(" · ".join([*words, *filter(None, [IN_WORDS.get(kind)])]))
    return result


def known_id(number: int) -> int | str:
    """Return a number that tells a process, device or stream, "?" where it is not known."""
    return "?" if number < 0 else number
