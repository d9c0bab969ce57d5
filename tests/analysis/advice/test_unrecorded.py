"""Where the time of steps without a recorder is known, gains are of those, and both are shown."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from analysis import Report
from analysis.advice.advise import Advice, advise
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Selection
from analysis.measures.predictions.predicting import predictions
from analysis.measures.window import MeasuredWindow
from analysis.whatif import whatif
from tests.made.replay.machine import LAUNCH, WAIT_DEVICE, Step
from tests.made.replay.programs import scaled
from tests.made.replay.recording import record

US = 1_000


def step(count: int, took: int, gap: int) -> list[Step]:
    """Return a step that launches some kernels, and then waits."""
    launches = [Step(LAUNCH, gap, took=took, inside="step") for _ in range(count)]
    return [*launches, Step(WAIT_DEVICE, inside="step")]


def step_ns(path: Path) -> int:
    """Return how long the step of a report takes."""
    with Report(path) as report:
        return int(predictions(report).recorded.step_ns[0])


def note_unrecorded(path: Path, took_ns: float) -> None:
    """Write into a report how long steps take without a recorder."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE TOOLKIT_RUN(key TEXT, value TEXT)")
        row = ("unprofiled_step_ns", json.dumps([took_ns] * 3))
        connection.execute("INSERT INTO TOOLKIT_RUN VALUES (?, ?)", row)


def advice(path: Path) -> Advice:
    """Return the advice on a report, with what it gains."""
    with Report(path) as report:
        return advise(MeasuredWindow(Selected.of(report, Selection())))


def host_factor(path: Path) -> float | None:
    """Return what the host's time is then of what was recorded."""
    with Report(path) as report:
        return predictions(report).unrecorded_host


def notes(path: Path) -> str:
    """Return the notes below what a report would take after a change."""
    with Report(path) as report:
        return " ".join(whatif(report, {"k": 0.5}).notes)


def test_gains_are_of_the_step_without_a_recorder_beside_the_recorded_one(tmp_path: Path) -> None:
    path, bare = tmp_path / "r.sqlite", tmp_path / "bare.sqlite"
    program = step(200, 2 * US, 40 * US)
    record(program, bare)
    record(scaled(program, host=2), path)
    note_unrecorded(path, step_ns(bare))
    assert host_factor(path) == pytest.approx(0.5, abs=0.01)
    found = advice(path)
    first = found.findings[0]
    assert (first.id, found.otherwise) == ("launch-latency", "")
    assert first.gain is not None
    assert first.recorded is not None
    assert first.gain.before_ns == pytest.approx(step_ns(bare), rel=0.002)
    assert first.recorded.before_ns == step_ns(path)
    assert " of a step without a recorder: " in found.gain_of(first)
    assert " (recorded " in found.gain_of(first)
    assert found.most.startswith("The largest single gain is advice 1 without a recorder: ")


def test_what_gains_little_is_told_with_what_it_gains_as_recorded(tmp_path: Path) -> None:
    path, bare = tmp_path / "r.sqlite", tmp_path / "bare.sqlite"
    program = step(200, 60 * US, 20 * US)
    record(program, bare)
    record(scaled(program, host=4), path)
    note_unrecorded(path, step_ns(bare))
    found = advice(path)
    [late] = [one for one in found.findings if one.id == "launch-latency"]
    assert late.gain is not None
    assert late.recorded is not None
    assert late.gain.share < 0.01 < late.recorded.share
    assert " (recorded " in found.gain_of(late)


def test_a_host_that_holds_nothing_up_is_not_blamed_for_what_recording_cost(
    tmp_path: Path,
) -> None:
    path = tmp_path / "r.sqlite"
    record(step(200, 60 * US, 4 * US), path)
    note_unrecorded(path, 0.99 * step_ns(path))
    assert host_factor(path) == 1
    assert "recording" not in notes(path)


def test_what_no_faster_host_explains_is_said(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    record(step(200, 60 * US, 4 * US), path)
    note_unrecorded(path, step_ns(path) // 2)
    assert "recording slowed more than the host: steps took " in notes(path)
