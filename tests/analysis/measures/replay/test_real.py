"""Replays of real reports: exact with their own lags, near blind, and what changes gain."""

from pathlib import Path

import numpy as np
import pytest

from analysis.measures.predictions.change import Change
from analysis.measures.predictions.device_predictions import DevicePredictions
from analysis.measures.predictions.edit import Edit
from analysis.measures.predictions.edits import edits
from analysis.measures.predictions.trust import blind_replay
from tests.made.replay.small_runs import predicted
from tests.made.tools import shared

ACCEPTED = {
    "cuda-graphs-a100": 0.0001,
    "forward-2.7b-a100": 0.0010,
    "fsdp-2xh100-after": 0.0010,
    "no-meta-2021": 0.0030,
    "registered-strings-cupy": 0.0005,
    "train-step-small-a100": 0.0005,
    "cpu-samples-4060ti": 0.0030,
    "cpu-samples-cpp": 0.0060,
}
"""Reports that are trusted, and how far the blind replay of each may err."""

REFUSED = {
    "fsdp-2xh100-before": "the launch of 3.5 % of the device's time is not in the report",
    "sliced-2xh100": "the launch of 43.8 % of the device's time is not in the report",
    "gpt-8xh100-rank0": "the launch of 6.1 % of the device's time is not in the report",
    "gpt-8xh100-rank1": "the launch of 12.2 % of the device's time is not in the report",
    "mpi-saxpy-2022.2": "only 20 pieces of device work",
}
MS = 1_000_000


def real(name: str) -> Path:
    return shared.trace(name) if name.startswith("gpt") else shared.report(name)


def saved(known: DevicePredictions, **change: object) -> int:
    asked = edits(known.attribution, Change(**change))  # type: ignore[arg-type]
    return known.recorded.whole_ns - known.predict(asked).whole_ns


@pytest.mark.parametrize("name", [*ACCEPTED, *REFUSED])
def test_with_its_own_lags_a_report_takes_what_was_recorded(name: str) -> None:
    with predicted(real(name)) as known:
        run, replayed = known.run, known.outcome([]).replayed
        origin = run.chain.origin_ns
        assert np.array_equal(replayed.start_ns + origin, run.chain.start_ns)
        assert np.array_equal(replayed.end_ns + origin, run.chain.end_ns)
        assert np.array_equal(replayed.work_end_ns + origin, run.done.end_ns)


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_blind_replay_errs_by_little(name: str) -> None:
    with predicted(real(name)) as known:
        assert known.distrust is None
        assert abs(known.blind.error) <= ACCEPTED[name]


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_replay_cannot_be_trusted_with_is_said(name: str) -> None:
    with predicted(real(name)) as known:
        assert known.distrust is not None
        assert REFUSED[name] in known.distrust
        assert abs(known.blind.error) <= 0.03


def test_blind_errors_are_small_and_would_be_large_if_no_call_waited() -> None:
    blind, without = [], []
    for name in ACCEPTED:
        with predicted(real(name)) as known:
            blind.append(abs(known.blind.error))
            without.append(abs(blind_replay(known.score, waiting=False).error))
    assert np.median(blind) <= 0.003
    assert np.median(without) >= 10 * np.median(blind)


def test_faster_matrix_products_gain_nothing_where_the_host_is_too_slow() -> None:
    with predicted(shared.report("train-step-small-a100")) as known:
        whole = known.recorded.whole_ns
        assert whole == pytest.approx(235 * MS, rel=0.01)
        assert 0 <= saved(known, scale={"gemm": 0.25}) < 0.001 * whole
        assert whole - saved(known, host=0.25) == pytest.approx(153 * MS, rel=0.01)
        both = saved(known, scale={"gemm": 0.25}, host=0.25)
        assert whole - both == pytest.approx(79 * MS, rel=0.01)
        nothing = Edit(work=np.zeros(len(known.run.done)))
        assert whole - known.predict([nothing]).whole_ns == pytest.approx(0.35 * MS, rel=0.05)


@pytest.mark.parametrize("name", ACCEPTED)
def test_on_real_reports_gains_are_never_negative_and_grow_with_the_change(name: str) -> None:
    with predicted(real(name)) as known:
        gains = [saved(known, host=factor) for factor in (1.0, 0.9, 0.5, 0.1, 0.0)]
        assert gains[0] == 0
        assert gains == sorted(gains)
        for kind in sorted(set(known.attribution.work.categories)):
            gains = [saved(known, scale={kind: factor}) for factor in (1.0, 0.9, 0.5, 0.0)]
            assert gains[0] == 0
            assert gains == sorted(gains)
            assert saved(known, scale={kind: 0.5}, host=0.5) >= max(
                saved(known, scale={kind: 0.5}), saved(known, host=0.5)
            )


@pytest.mark.parametrize("name", ["train-step-small-a100", "forward-2.7b-a100"])
def test_leaving_a_range_out_gains_at_least_what_work_without_time_does(name: str) -> None:
    with predicted(real(name)) as known:
        for part in ("ffn", "attention", "forward", "backward", "optimizer"):
            if known.attribution.ranges.called(part).any():
                removed = saved(known, remove=(part,))
                assert removed >= saved(known, scale={part: 0}) >= 0
