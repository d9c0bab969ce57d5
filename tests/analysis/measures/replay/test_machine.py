"""A replay takes, unchanged and after a change, what a machine simulated apart from it takes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from analysis import Report
from analysis.measures.predictions.change import Change
from analysis.measures.predictions.device_predictions import DevicePredictions
from analysis.measures.predictions.edits import edits
from analysis.measures.predictions.predicting import predictions
from tests.made.replay.machine import LAUNCH, MAKE_WAIT, Costs, Machine, Step
from tests.made.replay.programs import (
    NAMES,
    launched_at_once,
    program,
    removed,
    scaled,
    without_time_on_the_device,
)
from tests.made.replay.recording import record, work_order

SEEDS = range(30)
Program = list[Step]
KERNELS: dict[str, tuple[Change, Callable[[Program], Program]]] = {
    "nothing": (Change(), list),
    "gemm": (Change({"gemm": 0.25}), lambda steps: scaled(steps, {"sgemm": 0.25})),
    "longer": (Change({"softmax": 4}), lambda steps: scaled(steps, {"softmax": 4})),
    "no kernels": (
        Change(dict.fromkeys(("gemm", "softmax", "mystery", "k"), 0)),
        lambda steps: scaled(steps, dict.fromkeys((*NAMES, "k"), 0)),
    ),
    "host": (Change(host=0.5), lambda steps: scaled(steps, host=0.5)),
    "slow host": (Change(host=2), lambda steps: scaled(steps, host=2)),
    "together": (
        Change({"gemm": 0.25, "softmax": 0.5}, host=0.25),
        lambda steps: scaled(steps, {"sgemm": 0.25, "softmax": 0.5}, 0.25),
    ),
}
RANGES: dict[str, tuple[Change, Callable[[Program, str], Program]]] = {
    "scale": (Change({"forward": 0}), without_time_on_the_device),
    "remove": (Change(remove=("forward",)), removed),
    "graph": (Change(graph=("forward",)), launched_at_once),
}


def known(report: Report) -> DevicePredictions:
    """Return what predicts the run of a report with device work."""
    found = predictions(report)
    assert isinstance(found, DevicePredictions)
    return found


def work_ends(steps: Program, ran: Machine, recorded: Machine) -> list[int]:
    """Return when each work ended, from the first call that started any, as it was recorded."""
    origin = min(ran.calls[place][0] for place in ran.work)
    return [ran.work[place][1] - origin for place in work_order(steps, recorded)]


def with_names(steps: Program, change: Change) -> Change:
    """Return a change of what a program has."""
    there = {step.name for step in steps}
    asked = {"gemm": "sgemm"}
    scale = {name: by for name, by in change.scale.items() if asked.get(name, name) in there}
    return replace(change, scale=scale)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_replay_is_what_the_machine_does(seed: int, tmp_path: Path) -> None:
    steps = program(seed)
    ran = record(steps, tmp_path / "r.sqlite")
    with Report(tmp_path / "r.sqlite") as report:
        replayed = known(report)
        assert replayed.recorded.whole_ns == ran.window_ns
        assert replayed.blind.error == 0
        for name, (change, changed) in KERNELS.items():
            after = changed(steps)
            # The host prepares a copy that its call waits for.
            other = Machine(after, Costs(staged=round(Costs().staged * change.host)))
            asked = edits(replayed.attribution, with_names(steps, change))
            found = replayed.predict(asked).end_ns.tolist()
            assert found == work_ends(after, other, ran), name


@pytest.mark.parametrize("seed", SEEDS)
def test_changes_of_ranges_are_what_the_machine_does(seed: int, tmp_path: Path) -> None:
    steps = program(seed)
    if not any(step.inside == "forward" and step.does == LAUNCH for step in steps):
        inside = ["" if at < 20 else "forward" for at in range(len(steps) - 1)]
        steps = [
            replace(step, inside=each) for step, each in zip(steps, [*inside, ""], strict=True)
        ]
    record(steps, tmp_path / "r.sqlite")
    made_wait = any(step.inside == "forward" and step.does == MAKE_WAIT for step in steps)
    with Report(tmp_path / "r.sqlite") as report:
        for name, (change, changed) in RANGES.items():
            expected = Machine(changed(steps, "forward")).window_ns
            replayed = known(report)
            found = replayed.predict(edits(replayed.attribution, change)).whole_ns
            if name == "remove" and made_wait:
                # What a removed range made a stream wait for, what follows it still waits for.
                assert found >= expected
            else:
                assert found == expected, name
