"""What holds of every replay, also of runs whose times fit together only by chance."""

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.arithmetic.union import IntervalUnion
from analysis.measures.predictions.change import Change
from analysis.measures.predictions.device_predictions import DevicePredictions
from analysis.measures.predictions.edit import Edit
from analysis.measures.predictions.edits import collectives_beside, edits
from analysis.measures.predictions.times import Times
from tests.made.replay.programs import program
from tests.made.replay.recording import record
from tests.made.replay.small_runs import predicted
from tests.made.replay.wild_runs import wild_run

SEEDS = range(32)


def made(seed: int, path: Path) -> Path:
    """Write a report by its number: every fourth of a program that ran on the machine."""
    if seed % 4:
        return wild_run(path, seed)
    record(program(seed), path)
    return path


def times(known: DevicePredictions, **change: Any) -> Times:
    """Return what a run takes after a change."""
    return known.predict(edits(known.attribution, Change(**change)))


def gains(known: DevicePredictions, found: Times) -> list[int]:
    """Return by how much earlier each piece of work ends, the last of them first.

    The window itself may grow: what is before its first launch gets shorter, too.
    """
    earlier = known.recorded.end_ns - found.end_ns
    return [int(known.recorded.end_ns.max() - found.end_ns.max()), *earlier.tolist()]


@pytest.mark.parametrize("seed", SEEDS)
def test_unchanged_a_run_takes_what_was_recorded(seed: int, tmp_path: Path) -> None:
    with predicted(made(seed, tmp_path / "r.sqlite")) as known:
        run = known.run
        origin = run.chain.origin_ns
        neutral = Edit(work=np.ones(len(run.done)), calls=np.ones(len(run.done.calls)))
        for asked in ([], [neutral]):
            replayed = known.outcome(asked).replayed
            assert np.array_equal(replayed.start_ns + origin, run.chain.start_ns)
            assert np.array_equal(replayed.end_ns + origin, run.chain.end_ns)
            assert np.array_equal(replayed.work_end_ns + origin, run.done.end_ns)
            assert np.array_equal(replayed.work_start_ns + origin, run.done.start_ns)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_shorter_makes_nothing_longer_and_gains_no_more_than_it_took(
    seed: int, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    with predicted(made(seed, tmp_path / "r.sqlite")) as known:
        done = known.run.done
        for _ in range(4):
            factor = np.where(
                [chance.random() < 0.5 for _ in range(len(done))], chance.random(), 1.0
            )
            after = known.predict([Edit(work=factor)])
            assert (after.end_ns <= known.recorded.end_ns).all()
            found = gains(known, after)
            assert min(found) >= 0
            changed = factor < 1
            union = IntervalUnion.of(done.start_ns[changed], done.end_ns[changed])
            assert found[0] <= union.busy_ns


@pytest.mark.parametrize("seed", SEEDS)
def test_changes_together_gain_at_least_what_each_does(seed: int, tmp_path: Path) -> None:
    with predicted(made(seed, tmp_path / "r.sqlite")) as known:
        there = {
            name for name in ("forward", "backward") if known.attribution.ranges.called(name).any()
        }
        changes: list[dict[str, Any]] = [
            {"host": 0.5},
            {"host": 0.0},
            {"scale": {"s*": 0.25}},
            *({"scale": {name: 0.0}} for name in sorted(there)),
            *({"remove": (name,)} for name in sorted(there)),
            *({"graph": (name,)} for name in sorted(there)),
        ]
        if "cudaDeviceSynchronize" in " ".join(known.run.done.calls.names):
            changes.append({"no_wait": ("cudaDeviceSynchronize",)})
        alone = [gains(known, times(known, **change)) for change in changes]
        assert min(min(found) for found in alone) >= 0
        for one, other in pairwise(changes):
            if one.keys() & other.keys():
                continue
            both = gains(known, times(known, **one, **other))
            at = changes.index(one)
            assert np.greater_equal(both, alone[at]).all(), (one, other)
            assert np.greater_equal(both, alone[at + 1]).all(), (one, other)
        for name in there:
            scaled = gains(known, times(known, scale={name: 0}))
            removed = gains(known, times(known, remove=(name,)))
            assert np.greater_equal(removed, scaled).all(), name


@pytest.mark.parametrize("seed", SEEDS)
def test_collectives_that_run_beside_make_nothing_longer(seed: int, tmp_path: Path) -> None:
    with predicted(made(seed, tmp_path / "r.sqlite")) as known:
        beside = [collectives_beside(known.attribution)]
        assert min(gains(known, known.predict(beside))) >= 0
