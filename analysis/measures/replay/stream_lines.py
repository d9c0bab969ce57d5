"""The work of each stream of a report's GPUs, in the order in which it ran."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.containment import distinct
from analysis.arithmetic.intervals import NONE

if TYPE_CHECKING:
    from analysis.measures.replay.host_chain import HostChain
    from analysis.recorded.device_work import DeviceWork


@dataclass(frozen=True)
class StreamLines:
    """Work ordered by stream and start, so that what is last before an instant can be looked up.

    Attributes:
        stream: ``(M,)`` number of each row's stream, from 0.
        process: ``(S,)`` of each stream.
        device: ``(S,)``.
        number: ``(S,)`` CUDA's.
        order: ``(M,)`` rows by stream, then start.
        first: ``(S + 1,)`` where the rows of each stream begin in ``order``.
        key_ns: ``(M,)`` when the host launched each row, or if later those before it on its stream.
        turn_ns: ``(M,)`` instants by which a replay can go: as ``key_ns``, but what follows on a
            collective of several devices comes after all of its parts.
    """

    stream: Int64
    process: Int64
    device: Int64
    number: Int64
    order: Int64
    first: Int64
    key_ns: Int64
    turn_ns: Int64

    def __post_init__(self) -> None:
        lowest = int(self.key_ns.min(initial=0))
        span = int(self.key_ns.max(initial=0)) - lowest + 2
        object.__setattr__(self, "_lowest", lowest)
        object.__setattr__(self, "_span", span)
        keys = self.key_ns[self.order] - lowest + self.stream[self.order] * span
        object.__setattr__(self, "_keys", keys)

    def last_before(self, stream: Int64, instant_ns: Int64) -> Int64:
        """Return ``(N,)`` the last row launched on a stream before an instant, or `NONE`."""
        lowest, span, keys = (getattr(self, name) for name in ("_lowest", "_span", "_keys"))
        since = (instant_ns - lowest).clip(0, span - 1)
        place = np.searchsorted(keys, stream * span + since, side="left") - 1
        return np.where(place >= self.first[stream], self._row(place), NONE)

    def first_from(self, stream: Int64, instant_ns: Int64) -> Int64:
        """Return ``(N,)`` the first row launched on a stream from an instant on, or `NONE`."""
        lowest, span, keys = (getattr(self, name) for name in ("_lowest", "_span", "_keys"))
        since = (instant_ns - lowest).clip(0, span - 1)
        place = np.searchsorted(keys, stream * span + since, side="left")
        return np.where(place < self.first[stream + 1], self._row(place), NONE)

    def _row(self, place: Int64) -> Int64:
        rows: Int64 = self.order[place.clip(0, max(len(self.order) - 1, 0))]
        return rows

    def find(self, process: Int64, device: Int64, number: Int64) -> Int64:
        """Return ``(N,)`` the streams of a process, a device and CUDA's number, or `NONE`.

        Tables were seen to number the one device of a process differently; then the process and
        the stream's number tell, where they leave no choice.
        """
        listed = (self.process.tolist(), self.device.tolist(), self.number.tolist())
        exact = {key: place for place, key in enumerate(zip(*listed, strict=True))}
        loose: dict[tuple[int, int], int] = {}
        for place, (owner, _, known) in enumerate(zip(*listed, strict=True)):
            loose[owner, known] = NONE if (owner, known) in loose else place
        wanted = zip(process.tolist(), device.tolist(), number.tolist(), strict=True)
        return np.array(
            [exact.get(key, loose.get((key[0], key[2]), NONE)) for key in wanted], np.int64
        )


def stream_lines(done: DeviceWork, chain: HostChain, node: Int64) -> StreamLines:
    """Return the work of each stream in the order in which it ran."""
    columns = (done.process, done.device, done.stream)
    code = np.zeros(len(done), np.int64)
    for column in columns:
        listed = distinct(column)
        code = code * (len(listed) + 1) + np.searchsorted(listed, column)
    codes = distinct(code)
    stream = np.searchsorted(codes, code)
    order = np.lexsort((done.end_ns, done.start_ns, stream))
    first = np.searchsorted(stream[order], np.arange(len(codes) + 1))
    launched = node != NONE
    key = done.start_ns.copy()
    key[launched] = chain.start_ns[node[launched]]
    for low, high in zip(first[:-1].tolist(), first[1:].tolist(), strict=True):
        rows = order[low:high]
        time = key[rows]
        if not launched[rows].all():  # work of an unknown launch goes before what follows it
            later = np.minimum.accumulate(time[::-1])[::-1]
            time = np.where(launched[rows], time, later)
        key[rows] = np.maximum.accumulate(time)
    process, device, number = (column[order[first[:-1]]] for column in columns)
    return StreamLines(stream, process, device, number, order, first, key_ns=key, turn_ns=key)
