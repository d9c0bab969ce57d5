"""Small reports of runs, with times in microseconds, and what replays of them take."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from analysis import Report
from analysis.measures.predictions.change import Change
from analysis.measures.predictions.device_predictions import DevicePredictions
from analysis.measures.predictions.edits import edits
from analysis.measures.predictions.predicting import predictions
from analysis.measures.predictions.times import Times
from tests.made.reports.build_device import Copy, EventRecord, Waiting, add_device_work
from tests.made.reports.build_report import THREAD, Call, Kernel, Range, make_report

US: Final = 1_000
TIMES: Final = ("start", "end", "launch", "done")

Row = TypeVar("Row", bound=Any)


@dataclass(frozen=True)
class Launched:
    """A kernel, and when its launch began and returned."""

    name: str
    begun: int
    returned: int
    start: int
    end: int
    stream: int = 7
    device: int = 0
    thread: int = THREAD
    call: str = "cudaLaunchKernel_v7000"


def in_us(row: Row) -> Row:
    """Return a row whose times were given in microseconds."""
    known = {each.name for each in fields(row)}
    given = {name: getattr(row, name) for name in TIMES if name in known}
    changed: dict[str, Any] = {name: at * US for name, at in given.items() if at is not None}
    if "call" in known and not isinstance(row.call, str):
        changed["call"] = in_us(row.call)
    result: Row = replace(row, **changed)
    return result


def make_run(
    path: Path,
    launched: Iterable[Launched],
    *,
    kernels: Iterable[Kernel] = (),
    calls: Iterable[Call] = (),
    ranges: Iterable[Range] = (),
    copies: Iterable[Copy] = (),
    waits: Iterable[Waiting] = (),
    events: Iterable[EventRecord] = (),
    streams: Iterable[tuple[int, int]] = (),
) -> Path:
    """Write a report of a run, all of its times in microseconds, and return its path."""
    all_kernels, all_calls = list(kernels), list(calls)
    for number, one in enumerate(launched, start=1):
        kernel = Kernel(one.name, one.start, one.end, one.device, correlation=number)
        all_kernels.append(replace(kernel, stream=one.stream))
        all_calls.append(Call(one.call, one.begun, one.returned, number, one.thread))
    make_report(
        path,
        kernels=map(in_us, all_kernels),
        calls=map(in_us, all_calls),
        ranges=map(in_us, ranges),
    )
    return add_device_work(
        path,
        copies=map(in_us, copies),
        waits=map(in_us, waits),
        events=map(in_us, events),
        streams=streams,
    )


@contextmanager
def predicted(path: Path) -> Iterator[DevicePredictions]:
    """Yield what predicts the run of a report with device work."""
    with Report(path) as report:
        found = predictions(report)
        assert isinstance(found, DevicePredictions)
        yield found


def after(path: Path, scale: dict[str, float] | None = None, **change: Any) -> Times:
    """Return what the run of a report takes after a change; unchanged it takes what it took."""
    with predicted(path) as known:
        assert known.predict([]).whole_ns == known.run.window_ns
        return known.predict(edits(known.attribution, Change(scale or {}, **change)))


def whole_us(path: Path, scale: dict[str, float] | None = None, **change: Any) -> float:
    """Return how many microseconds the run of a report takes after a change."""
    return after(path, scale, **change).whole_ns / US
