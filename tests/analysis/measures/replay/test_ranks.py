"""Reports of several ranks are replayed as the one run that they are."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from analysis import Report
from analysis.measures.predictions.change import Change
from analysis.measures.predictions.predicting import predictions
from analysis.show.errors import ReportError
from analysis.whatif import main, whatif
from tests.made.replay.machine import COLLECTIVE, LAUNCH, WAIT_STREAM, Machine, Step
from tests.made.replay.programs import scaled
from tests.made.replay.recording import record
from tests.made.reports.build_report import THREAD

LATE_NS = 123_456
"""By how much the clock of the second rank is ahead."""


def ranks(seed: int) -> list[Step]:
    """Return a program of two threads, a device each, that meet in collectives again and again."""
    chance = random.Random(seed)
    made = []
    for _ in range(8):
        for device in (0, 1):
            thread = THREAD + device
            steps = [
                Step(LAUNCH, 4 * chance.randrange(250, 2_000), took=4 * chance.randrange(10_000))
                for _ in range(chance.randrange(2, 5))
            ]
            steps[0] = replace(steps[0], name="sgemm")
            steps.append(Step(LAUNCH, took=40_000, name=COLLECTIVE))
            steps += [Step(WAIT_STREAM)] * (chance.random() < 0.3)
            made += [replace(step, device=device, thread=thread) for step in steps]
    return made


@pytest.mark.parametrize("seed", range(10))
def test_ranks_together_take_what_the_machine_does(seed: int, tmp_path: Path) -> None:
    program = ranks(seed)
    paths = [tmp_path / f"rank{device}.sqlite" for device in (0, 1)]
    ran = record(program, paths[0], device=0)
    record(program, paths[1], device=1, late_ns=LATE_NS)
    with Report(paths[0]) as one, Report(paths[1]) as other:
        known = predictions(one, other)
        assert known.recorded.whole_ns == ran.window_ns
        for change, changed in (
            (Change({"gemm": 0.25}), scaled(program, {"sgemm": 0.25})),
            (Change({COLLECTIVE: 0.5}), scaled(program, {COLLECTIVE: 0.5})),
            (Change(host=0.5), scaled(program, host=0.5)),
        ):
            found = known.predict(known.edits(change)).whole_ns
            assert found == Machine(changed).window_ns, change


def test_a_rank_that_waits_gains_by_the_other(tmp_path: Path) -> None:
    """Rank 0 computes for 10 us and waits, rank 1 computes for a millisecond."""
    program = []
    for _ in range(20):
        for device, took in ((0, 10_000), (1, 1_000_000)):
            work = [Step(LAUNCH, took=took), Step(LAUNCH, took=20_000, name=COLLECTIVE)]
            program += [replace(step, device=device, thread=THREAD + device) for step in work]
    paths = [tmp_path / f"rank{device}.sqlite" for device in (0, 1)]
    for device, path in enumerate(paths):
        record(program, path, device=device)
    with Report(paths[0]) as one, Report(paths[1]) as other:
        alone = [int(row["saved_ns"]) for row in whatif(one, {"k": 0.5}).rows()]
        both = [int(row["saved_ns"]) for row in whatif(one, {"k": 0.5}, ranks=[other]).rows()]
    assert alone[1] < 20 * 10_000
    assert both[1] > 19 * 500_000


def test_ranks_are_named_and_must_be_of_one_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.sqlite"
    record(ranks(0), path, device=0)
    with (
        Report(path) as one,
        Report(path) as other,
        pytest.raises(ReportError, match="given twice"),
    ):
        predictions(one, other)
    second = tmp_path / "s.sqlite"
    record(ranks(0), second, device=1)
    assert main([str(path), str(second), "--scale", "gemm=0.5"]) == 0
    said = capsys.readouterr().out
    assert "clocks: by the ends of 8 shared collectives" in said
    assert said.splitlines()[0].startswith("r.sqlite")
    assert said.splitlines()[1].startswith("s.sqlite")
