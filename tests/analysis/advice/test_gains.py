"""What advice says that a cure gains is what the cured program gains on a simulated machine."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from analysis import Report
from analysis.advice.advise import Advice, advise
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Selection
from analysis.measures.window import MeasuredWindow
from tests.made.replay.machine import (
    BLOCKING_COPY,
    COLLECTIVE,
    COPY,
    LAUNCH,
    MAKE_WAIT,
    RECORD,
    WAIT_DEVICE,
    WAITS,
    Machine,
    Step,
)
from tests.made.replay.programs import launched_at_once
from tests.made.replay.recording import record

Program = list[Step]
US, MS = 1_000, 1_000_000
STEPS = 8


def kernels(count: int, took: int, gap: int = 2 * US) -> Program:
    """Return launches of some kernels on the default stream."""
    return [Step(LAUNCH, gap, took=took) for _ in range(count)]


def small_launches() -> Program:
    """Kernels of 2 us are launched every 13 us."""
    return [replace(step, inside="work") for step in kernels(200, 2 * US, 10 * US)]


def looking_at_the_loss() -> Program:
    """The host waits in each step, and then takes half a millisecond until it launches again."""
    step = [Step(LAUNCH, 500 * US, took=60 * US), *kernels(20, 60 * US), Step(WAIT_DEVICE)]
    return STEPS * step


def without_waits(steps: Program) -> Program:
    """Return a program that waits for nothing."""
    return [step for step in steps if step.does not in WAITS]


def slow_loader() -> Program:
    """The host loads data for three milliseconds before each step, the GPU computes for one."""
    return STEPS * [Step(LAUNCH, 3 * MS, took=50 * US), *kernels(20, 50 * US)]


def with_loader_ahead(steps: Program) -> Program:
    """Return a program whose data are there when they are needed."""
    return [replace(step, gap=min(step.gap, 2 * US)) for step in steps]


def pageable_copies() -> Program:
    """A copy keeps the host for two milliseconds, which has one of its own to do then."""
    copy = Step(BLOCKING_COPY, took=2 * MS, host=10 * US, size=10**8)
    return STEPS * [copy, Step(LAUNCH, MS, took=60 * US), *kernels(20, 60 * US)]


def pinned(steps: Program) -> Program:
    """Return a program whose copies keep the host no longer than a launch does."""
    return [
        replace(step, does=COPY, host=10 * US) if step.does == BLOCKING_COPY else step
        for step in steps
    ]


def all_reduce() -> Program:
    """Gradients are reduced on a stream of their own, and what follows waits for them."""
    made: Program = []
    for turn in range(STEPS):
        made += kernels(20, 60 * US)
        made += [Step(RECORD, event=2 * turn + 1), Step(MAKE_WAIT, stream=13, event=2 * turn + 1)]
        made += [Step(LAUNCH, took=MS, name=COLLECTIVE, stream=13)]
        made += [Step(RECORD, stream=13, event=2 * turn + 2)]
        made += [Step(MAKE_WAIT, event=2 * turn + 2)]
    return made


def overlapped(steps: Program) -> Program:
    """Return a program in which nothing waits for collectives."""
    return [step for step in steps if not (step.does == MAKE_WAIT and step.stream != 13)]


class Trouble(NamedTuple):
    """A trouble of a program.

    Attributes:
        make: returns the program.
        cure: returns it without the trouble.
        id: of the advice that should come first.
    """

    make: Callable[[], Program]
    cure: Callable[[Program], Program]
    id: str


TROUBLES = {
    "small launches": Trouble(
        small_launches, lambda steps: launched_at_once(steps, "work"), "launch-latency"
    ),
    "loss": Trouble(looking_at_the_loss, without_waits, "synchronisation"),
    "loader": Trouble(slow_loader, with_loader_ahead, "busy-host"),
    "pageable": Trouble(pageable_copies, pinned, "pageable-copies"),
    "all-reduce": Trouble(all_reduce, overlapped, "exposed-collectives"),
}


def advice(path: Path) -> Advice:
    """Return the advice on a report, with what it gains."""
    with Report(path) as report:
        return advise(MeasuredWindow(Selected.of(report, Selection())))


@pytest.mark.parametrize("name", TROUBLES)
def test_the_first_advice_is_the_right_one_and_gains_what_it_says(
    name: str, tmp_path: Path
) -> None:
    trouble = TROUBLES[name]
    steps = trouble.make()
    before = record(steps, tmp_path / "r.sqlite").window_ns
    saved = before - Machine(trouble.cure(steps)).window_ns
    found = advice(tmp_path / "r.sqlite")
    assert found.unknown == ""
    first = found.findings[0]
    assert first.id == trouble.id
    assert first.gain is not None
    assert first.gain.before_ns == before
    assert first.gain.saved_ns == pytest.approx(saved, rel=0.1)


def test_a_slow_kernel_that_nobody_waits_for_gains_nothing(tmp_path: Path) -> None:
    """It runs for a millisecond on a stream of its own, while others run for two."""
    slow = Step(LAUNCH, took=MS, name="slow", stream=13)
    record([slow, *kernels(40, 50 * US)], tmp_path / "r.sqlite")
    with Report(tmp_path / "r.sqlite") as report:
        found = report.whatif({"slow": 0.1})
    assert found["saved_ns"].tolist()[1:] == [0]
