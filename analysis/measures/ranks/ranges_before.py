"""Which ranges the host was in before it began a collective, and which of them made a rank late.

Before a collective is the time from the launch of the one before to its own. In a rank that comes
late some range took longer then than in the others: that one the rank was in. Where none did, it is
the range that the collective was launched in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.containment import Intervals, innermost
from analysis.arithmetic.intervals import NONE, self_intervals
from analysis.arithmetic.statistics import sums
from analysis.knowledge.vocabulary import clean
from analysis.measures.collectives import BACKEND
from analysis.source.tables import MISSING
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.measures.collectives import DeviceCollectives
    from analysis.measures.ranks.waiting import MetCollectives
    from analysis.recorded.ranges import Ranges

OF_COLLECTIVES: Final = frozenset({*names.COLLECTIVES, names.COMMUNICATION})


@dataclass(frozen=True)
class RangesBefore:
    """How long the host was in which ranges before each collective of a place.

    Attributes:
        names: ``(K,)`` of ranges.
        collective: ``(E,)`` the position of a collective, ascending.
        name: ``(E,)`` the position of a range's name.
        time_ns: ``(E,)`` how long it was the innermost of its thread before that collective.
        around: ``(C,)`` the name of the innermost range that each was launched in, or `NONE`.
    """

    names: list[str]
    collective: Int64
    name: Int64
    time_ns: Int64
    around: Int64


def ranges_before(attribution: Attribution, place: DeviceCollectives) -> RangesBefore:
    """Return how long the host of a place was in which ranges before each of its collectives."""
    ranges = attribution.recorded
    ranges = ranges.take(
        (ranges.process == place.process) & ~ranges.start_end & ~ranges.elsewhere & ~_own(ranges)
    )
    words = [clean(name) for name in ranges.names]
    known = sorted(set(words))
    position = {word: number for number, word in enumerate(known)}
    name_of = np.array([position[word] for word in words], np.int64)[ranges.name]
    launches = place.launches
    assert launches is not None, "of collectives of a report the launches are known"
    spans = Intervals(ranges.thread, ranges.start_ns, ranges.end_ns)
    inside = innermost(spans, launches)
    around = np.where(inside != NONE, np.append(name_of, NONE)[inside], NONE)
    start, end, owner = self_intervals(ranges.start_ns, ranges.end_ns, ranges.thread)
    began = np.where(launches.thread != MISSING, launches.start_ns, place.start_ns)
    order = np.argsort(began, kind="stable")
    collective, name, time = _within(began[order], start, end, name_of[owner])
    keys, at = np.unique(order[collective] * max(len(known), 1) + name, return_inverse=True)
    held = max(len(known), 1)
    return RangesBefore(known, keys // held, keys % held, sums(at, time, len(keys)), around)


def _own(ranges: Ranges) -> Bools:
    """Return which ranges are of a collective itself."""
    wanted = [
        name in OF_COLLECTIVES or name.startswith("nccl") or BACKEND.match(name) is not None
        for name in ranges.names
    ]
    of_nccl = [domain == "NCCL" for domain in ranges.domains]
    return np.array(wanted, np.bool_)[ranges.name] | np.array(of_nccl, np.bool_)[ranges.domain]


def _within(
    instant_ns: Int64, start_ns: Int64, end_ns: Int64, name: Int64
) -> tuple[Int64, Int64, Int64]:
    """Return stretches of time cut at some instants.

    Args:
        instant_ns: ``(C,)`` ascending.
        start_ns: ``(S,)``.
        end_ns: ``(S,)``.
        name: ``(S,)``.

    Returns:
        ``(E,)`` the instant that follows on each piece, its name and its length; what none follows
        on is left out.
    """
    first = np.searchsorted(instant_ns, start_ns, side="right")
    last = np.searchsorted(instant_ns, end_ns, side="left")
    count = np.minimum(last, len(instant_ns) - 1) - first + 1
    count = count.clip(0)
    piece = np.repeat(np.arange(len(start_ns)), count)
    turn = np.arange(len(piece)) - np.repeat(np.cumsum(count) - count, count)
    at = first[piece] + turn
    before = np.append(np.iinfo(np.int64).min, instant_ns)[at]
    length = np.minimum(end_ns[piece], instant_ns[at]) - np.maximum(start_ns[piece], before)
    some = length > 0
    return at[some], name[piece[some]], length[some]


def late_ranges(met: MetCollectives, before: Sequence[RangesBefore]) -> list[str]:
    """Return for each collective that places share the range the last was in; "" if not known.

    Args:
        met: the collectives that are shared.
        before: of each place.
    """
    if not met.row.shape[1]:
        return []
    known = sorted({name for each in before for name in each.names})
    position = {name: number for number, name in enumerate(known)}
    count, held = met.row.shape[1], max(len(known), 1)
    keys, values, owners = [], [], []
    for number, each in enumerate(before):
        met_at = np.full(len(each.around), NONE, np.int64)
        mine = np.flatnonzero(met.there[number])
        met_at[met.row[number][mine]] = mine
        at = met_at[each.collective]
        some = at != NONE
        word = np.array([position[name] for name in each.names], np.int64)
        keys.append(at[some] * held + word[each.name[some]])
        values.append(each.time_ns[some])
        owners.append(np.full(int(some.sum()), number))
    key, value, owner = map(np.concatenate, (keys, values, owners))
    distinct, row = np.unique(key, return_inverse=True)
    at, word = distinct // held, distinct % held
    time = np.zeros((len(before), len(distinct)))
    time[owner, row] = value
    last = met.last[at]
    own = time[last, np.arange(len(distinct))]
    others = np.where(met.there[:, at], time, np.nan)
    others[last, np.arange(len(distinct))] = np.nan
    grew = own - np.nanmedian(others, axis=0) if len(distinct) else own
    result = [""] * count
    order = np.lexsort((word, -grew, at))
    for place in order[np.unique(at[order], return_index=True)[1]].tolist():
        if grew[place] > 0:
            result[int(at[place])] = known[int(word[place])]
    for number, name in enumerate(result):
        each = before[int(met.last[number])]
        around = int(each.around[met.row[met.last[number], number]])
        if not name and around != NONE:
            result[number] = each.names[around]
    return result
