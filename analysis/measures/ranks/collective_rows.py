"""Collectives by kind, size, type and number of ranks: times, bandwidth, waiting, who came last."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analysis.arithmetic.arrays import Float64, Int64, quotient
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.statistics import sums
from analysis.knowledge.collectives import bus_factor
from analysis.measures.ranks.ranges_before import late_ranges
from analysis.show.render import duration, plural
from analysis.source.tables import MISSING

if TYPE_CHECKING:
    from analysis.measures.collectives import DeviceCollectives
    from analysis.measures.ranks.ranges_before import RangesBefore
    from analysis.measures.ranks.waiting import MetCollectives
    from analysis.recorded.messages import Message
    from analysis.show.table import Column


def place_labels(rank: str, places: Sequence[DeviceCollectives], alone: bool = False) -> list[str]:
    """Return what the places of a rank are called: the rank, and of several their devices.

    Args:
        rank: of the report.
        places: its devices, or processes on a CPU.
        alone: whether there is no other rank: then the device says all.
    """
    if len(places) == 1:
        return [rank]
    of_devices = len({place.process for place in places}) == 1
    numbers = [place.device if of_devices else place.process for place in places]
    what = "device" if of_devices else "process"
    return [f"{what} {number}" if alone else f"{rank}:{number}" for number in numbers]


class MessageKey(NamedTuple):
    """What the collectives of a row of the table have alike."""

    kind: str
    bytes: int
    dtype: str
    ranks: int


@dataclass(frozen=True)
class LateComers:
    """Who came last to each collective that places share, ``M`` of them, and what it cost.

    Attributes:
        last: ``(M,)`` the place that came last.
        cost_ns: ``(M,)`` what the others waited together.
        range: ``(M,)`` the range that the last was in before; "" if not known.
    """

    last: Int64
    cost_ns: Int64
    range: list[str]

    @classmethod
    def of(cls, met: MetCollectives, before: Sequence[RangesBefore]) -> LateComers:
        """Return who came last to each."""
        return cls(met.last, met.waiting_ns.sum(axis=0), late_ranges(met, before))

    def lines(self, labels: Sequence[str]) -> list[str]:
        """Return a line on who kept the others waiting longest; none where nobody did.

        Args:
            labels: what each place is called.
        """
        cost = sums(self.last, self.cost_ns, len(labels))
        if not cost.any():
            return []
        worst = int(cost.argmax())
        times = int((self.last == worst).sum())
        label = labels[worst] if not labels[worst].isdecimal() else f"rank {labels[worst]}"
        return [
            f"{label} came last in {times:,} of {plural(len(self.last), 'shared collective')}, and "
            f"kept others waiting {duration(int(cost[worst]))}"
        ]

    def costliest(self, some: Int64) -> str:
        """Return the range that cost most in some of the collectives; "" if none is known."""
        cost: dict[str, int] = {}
        for number in some.tolist():
            cost[self.range[number]] = cost.get(self.range[number], 0) + int(self.cost_ns[number])
        known = {name: time for name, time in cost.items() if name}
        return max(known, key=lambda name: (known[name], name)) if known else ""


def collective_columns(
    places: Sequence[DeviceCollectives],
    met: MetCollectives,
    late: LateComers,
    labels: Sequence[str],
) -> dict[str, Column]:
    """Return the columns of a table, a row for each kind, size, type and number of ranks.

    Args:
        places: all that took part.
        met: the collectives that they share.
        late: who came last to those.
        labels: what each place is called.

    Returns:
        ``kind, bytes, dtype, ranks, calls, mean_ns, algorithm_bytes_per_s, bus_bytes_per_s,
        transfer_ns, waiting_ns, shared_calls, transfer_bus_bytes_per_s, last_rank, last_calls,
        last_range``, those that took longest first; what is not known is NaN or "". Calls count
        on each rank. Transfer and waiting are of the ``shared_calls``.
    """
    told: dict[MessageKey, int] = {}
    group, time, waiting = [], [], []
    for number, place in enumerate(places):
        assert place.messages is not None, "of collectives of a report the messages are looked for"
        of_message = [told.setdefault(_key(each), len(told)) for each in place.messages.told]
        group.append(np.array(of_message, np.int64)[place.messages.message])
        time.append(place.end_ns - place.start_ns)
        waiting.append(met.of_place(number, len(place)))
    every, spent, waited = map(np.concatenate, (group, time, waiting))
    count = len(told)
    calls, total = sums(every, np.ones(len(every), np.int64), count), sums(every, spent, count)
    known = waited != MISSING
    shared = sums(every[known], np.ones(int(known.sum()), np.int64), count)
    waiting_ns = sums(every[known], waited[known], count)
    transfer_ns = sums(every[known], spent[known], count) - waiting_ns
    kinds, dtypes = [key.kind for key in told], [key.dtype for key in told]
    sizes, ranks = [key.bytes for key in told], [key.ranks for key in told]
    size = np.array([math.nan if each == MISSING else each for each in sizes])
    factor = np.array(
        [_factor(kind, of_ranks) for kind, of_ranks in zip(kinds, ranks, strict=True)]
    )
    rate = size * quotient((calls * 10**9).astype(np.float64), total)
    last = [_last(number, group, met, late) for number in range(count)]
    columns: dict[str, Column] = {
        "kind": kinds,
        "bytes": _whole(sizes),
        "dtype": dtypes,
        "ranks": _whole(ranks),
        "calls": calls,
        "mean_ns": quotient(total, calls),
        "algorithm_bytes_per_s": rate,
        "bus_bytes_per_s": rate * factor,
        "transfer_ns": _where(transfer_ns, shared),
        "waiting_ns": _where(waiting_ns, shared),
        "shared_calls": shared,
        "transfer_bus_bytes_per_s": size
        * factor
        * quotient((shared * 10**9).astype(np.float64), transfer_ns),
        "last_rank": [labels[place] if place != NONE else "" for place, _, _ in last],
        "last_calls": _where(np.array([number for _, number, _ in last], np.int64), shared),
        "last_range": [name for _, _, name in last],
    }
    order = np.lexsort((np.arange(count), -total)).tolist()
    return {
        name: [column[place] for place in order] if isinstance(column, list) else column[order]
        for name, column in columns.items()
    }


def _key(message: Message) -> MessageKey:
    return MessageKey(message.kind, message.bytes, message.dtype, message.ranks)


def _factor(kind: str, ranks: int) -> float:
    factor = bus_factor(kind, ranks) if ranks > 0 else None
    return math.nan if factor is None else factor


def _whole(values: Sequence[int]) -> Float64 | Int64:
    """Return whole numbers, NaN where one is `MISSING`."""
    if MISSING not in values:
        return np.array(values, np.int64)
    return np.array([math.nan if each == MISSING else each for each in values], object)


def _where(values: Int64, shared: Int64) -> Float64 | Int64:
    """Return whole numbers, NaN where nothing is shared."""
    return _whole(np.where(shared > 0, values, MISSING).tolist())


def _last(
    number: int, group: Sequence[Int64], met: MetCollectives, late: LateComers
) -> tuple[int, int, str]:
    """Return whose coming last cost most in the collectives of a row, how often, and the range."""
    row = met.row[late.last, np.arange(met.row.shape[1])]
    mine = np.array(
        [
            group[place][at] == number
            for place, at in zip(late.last.tolist(), row.tolist(), strict=True)
        ],
        np.bool_,
    )
    if not mine.any():
        return NONE, 0, ""
    place = int(sums(late.last[mine], late.cost_ns[mine], len(group)).argmax())
    some = np.flatnonzero(mine & (late.last == place))
    return place, len(some), late.costliest(some)
