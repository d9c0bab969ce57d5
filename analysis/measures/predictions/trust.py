"""Whether predictions from a replay can be trusted, and by how much it errs blind."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.union import IntervalUnion
from analysis.measures.predictions.times import Blind
from analysis.measures.replay.lags import blind_lags, late_ns, most_lag, unexplained_ns
from analysis.show.render import duration, percent
from analysis.source import device_tables

if TYPE_CHECKING:
    from analysis.measures.replay.recorded_run import RecordedRun
    from analysis.measures.replay.replay import Replayed, Score

FEWEST: Final = 30
"""Of fewer pieces of device work the means say nothing."""

MOST_UNLAUNCHED: Final = 0.02
"""The share of the device's time without a recorded launch up to which a replay is trusted."""

MOST_UNEXPLAINED: Final = 0.03
"""The share of the window that late starts and waits without a reason may take."""

UNIFIED: Final = re.compile(
    r"cuda(?:MallocManaged|MemPrefetch|MemAdvise)|cuMem(?:AllocManaged|Prefetch|Advise)"
)
GRAPHICS: Final = re.compile(r"cu(?:da)?(?:Graphics|GL|EGL|D3D|Import|SignalExternal|WaitExternal)")
"""CUDA calls of programs whose work depends on more than its tables hold."""

UNEXPLAINED_NS: Final = 20_000
"""Waits that return this much later than their mean are nothing unusual."""


def blind_replay(score: Score, *, waiting: bool = True) -> Blind:
    """Return the blind replay of a run, held against the recording.

    Args:
        score: the run.
        waiting: whether calls wait; the error of a replay in which none does is what a measure
            would show that cannot fail.
    """
    run = score.run
    lags = blind_lags(run.done, run.chain, run.order, run.waits, run.means)
    return Blind(run.window_ns, window_of(run, score.replay(lags, waiting=waiting)))


def window_of(run: RecordedRun, replayed: Replayed) -> int:
    """Return the time from the first launch to the last end in a replay."""
    known = run.order.node[run.order.node != NONE]
    first = int(replayed.start_ns[known].min()) if len(known) else 0
    return int(replayed.work_end_ns.max(initial=first)) - first


def distrust(run: RecordedRun) -> str | None:
    """Return why predictions from the replay of a run cannot be trusted, or None."""
    done, report = run.done, run.done.report
    if len(done) < FEWEST:
        return f"only {len(done)} pieces of device work: too few to tell what follows on what"
    if not device_tables.are_empty(report, device_tables.UNIFIED_MEMORY) or called(run, UNIFIED):
        return "it uses unified memory, whose pages move when work first touches them"
    if called(run, GRAPHICS):
        return "it shares its GPU's work with graphics, whose calls are not in the report"
    total = max(int(done.duration_ns.sum()), 1)
    unlaunched = int(done.duration_ns[run.order.node == NONE].sum()) / total
    if unlaunched > MOST_UNLAUNCHED:
        return (
            f"the launch of {percent(unlaunched)} of the device's time is not in the report; more "
            f"than {percent(MOST_UNLAUNCHED)} leaves too much open"
        )
    lost = unexplained_share(run)
    if lost > MOST_UNEXPLAINED:
        return (
            f"{percent(lost)} of its {duration(run.window_ns)} are late starts and waits without a "
            f"reason in the report; more than {percent(MOST_UNEXPLAINED)} leaves too much open"
        )
    return None


def called(run: RecordedRun, pattern: re.Pattern[str]) -> bool:
    """Return whether a run made a CUDA call of some kind."""
    return any(pattern.match(name) for name in run.done.calls.names)


def unexplained_share(run: RecordedRun) -> float:
    """Return which share of the window passes in late starts and waits without a known reason.

    Several at one time count once.
    """
    parts = (run.done, run.chain, run.order, run.waits, run.means)
    late = late_ns(*parts)
    late = np.where(run.order.node != NONE, (late - most_lag(run.done, run.waits)).clip(0), 0)
    starts = run.done.start_ns
    waits = unexplained_ns(*parts)
    waits[waits < UNEXPLAINED_NS] = 0
    ends = np.append(starts[late > 0], run.chain.end_ns[waits > 0])
    lost = np.append(late[late > 0], waits[waits > 0])
    begun = np.minimum(np.maximum(ends - lost, run.first_launch_ns), ends)
    return IntervalUnion.of(begun, ends).busy_ns / max(run.window_ns, 1)
