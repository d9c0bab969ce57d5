"""Predictions beside what came: the table on made-up times, and one small run of everything."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.predictions import cpu_changes, cpu_steps
from benchmarks.predictions.cpu_changes import CHANGES, HEADER, Predicted, errors, row

ADAM = CHANGES[0]


def times(before: float, after: float) -> dict[str, list[float]]:
    return {ADAM.recorded: [before] * 6, ADAM.made: [after] * 6}


@pytest.mark.parametrize(
    ("after_s", "error", "verdict"),
    [(0.085, "0.941x", "met"), (0.075, "1.067x", "met"), (0.07, "1.143x", "missed")],
)
def test_a_prediction_may_be_off_by_a_tenth_to_either_side(
    after_s: float, error: str, verdict: str
) -> None:
    told = Predicted(120.0, 0.8, 24.0)
    cells = dict(zip(HEADER, row(ADAM, told, times(0.1, after_s)), strict=True))
    assert (cells["recorded"], cells["predicted"]) == ("120.0 ms", "80.0 ms")
    assert cells["predicted / after"].startswith(error)
    assert cells["verdict"] == verdict


def test_what_slows_a_whole_turn_does_not_count() -> None:
    found = {ADAM.recorded: [0.1, 0.3] * 3, ADAM.made: [0.08, 0.24] * 3}
    error = errors(Predicted(120.0, 0.8, 24.0), ADAM, found)
    assert (error.low, error.middle, error.high) == pytest.approx((1, 1, 1))


@pytest.mark.slow
def test_every_change_is_predicted_of_a_recording_and_really_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shape = {"d_model": 64, "d_ff": 192, "num_layers": 2, "num_heads": 4, "vocab_size": 256}
    small = replace(cpu_steps.SETTINGS.config, **shape)
    monkeypatch.setattr(cpu_steps, "SHAPE", shape)
    monkeypatch.setattr(
        cpu_steps, "SETTINGS", replace(cpu_steps.SETTINGS, config=small, context=16, steps=2)
    )
    monkeypatch.setattr(cpu_changes, "BLOCK_S", 0.01)
    data = tmp_path / "predictions.json"
    assert cpu_changes.main(["--seconds", "0.1", "--json", str(data)]) == 0
    kept = json.loads(data.read_text())
    assert [line["change"] for line in kept["lines"]] == [change.words for change in CHANGES]
    assert {len(times) for times in kept["seconds"].values()} == {cpu_changes.FEWEST}
    assert all(0 < told["ratio"] < 1 for told in kept["predicted"].values())
