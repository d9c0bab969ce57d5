"""Comparing two benchmarks: what is real, what is noise, and what cannot be compared."""

import csv
import io
import json
import statistics
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from profiling.benchmark import compare as comparing
from profiling.benchmark import steadiness
from profiling.benchmark.run_file import read
from profiling.common.errors import LaunchError
from tests.made.runs.step_benchmark import command, kept

MS = 1_000_000
Rows = list[dict[str, Any]]


def run_file(path: Path, totals_ms: list[float], **changes: Any) -> Path:
    """Write a result with these step times, a third of each forward."""
    config = {"d_model": 64, "d_ff": 192, "num_layers": 1, "num_heads": 4, "vocab_size": 256}
    settings: dict[str, Any] = {
        "size": "tiny",
        "config": {**config, "rope_theta": 1e4, **changes.pop("config", {})},
    }
    settings |= {"mode": "forward_backward", "batch": 2, "context": 8, "device": "cpu"}
    facts = {"device_name": "EPYC", "torch": "2.13.0", **changes.pop("facts", {})}
    total = [round(each * MS) for each in totals_ms]
    forward = [each // 3 for each in total]
    known = {
        "kind": "benchmark",
        "complete": changes.pop("complete", True),
        "facts": facts,
        "settings": {**settings, **changes},
        "total_ns": total,
        "forward_ns": forward,
        "backward_ns": [a - b for a, b in zip(total, forward, strict=True)],
        "rest_ns": [0] * len(total),
    }
    path.write_text(json.dumps(known))
    return path


def noisy(mean_ms: float, count: int = 20, seed: int = 1) -> list[float]:
    random = Random(seed)
    return [random.gauss(mean_ms, mean_ms / 100) for _ in range(count)]


def compared(tmp_path: Path, before: list[float], after: list[float], **changes: Any) -> Any:
    first = read(run_file(tmp_path / "a.json", before))
    return comparing.compare(first, read(run_file(tmp_path / "b.json", after, **changes)))


def verdicts(table: Any) -> dict[str, str]:
    return {row["part"]: row["verdict"] for row in table.rows()}


def test_a_difference_beyond_the_spread_is_said_and_its_size_within_its_interval(
    tmp_path: Path,
) -> None:
    table = compared(tmp_path, noisy(100), noisy(90, seed=2))
    assert verdicts(table) == dict.fromkeys(("total", "forward", "backward"), "faster")
    total = table.rows()[0]
    assert total["ratio_low"] < 0.9 < total["ratio_high"] < 0.92
    assert "the step: B is faster (" in table.heading
    assert verdicts(compared(tmp_path, noisy(90), noisy(100, seed=2)))["total"] == "slower"


def test_a_difference_within_the_spread_is_not_called_one(tmp_path: Path) -> None:
    table = compared(tmp_path, noisy(100), noisy(100.1, seed=2))
    assert verdicts(table) == dict.fromkeys(("total", "forward", "backward"), "no difference shown")
    assert "the step: no difference shown" in table.heading


def test_the_interval_holds_the_true_ratio_as_often_as_it_says() -> None:
    random, held = np.random.default_rng(3), 0
    for _ in range(400):
        before = random.normal(100, 3, 12) * MS
        after = random.normal(110, 6, 9) * MS
        found = comparing.row("total", before.astype(int).tolist(), after.astype(int).tolist())
        held += found["ratio_low"] < 1.1 < found["ratio_high"]
    assert held / 400 == pytest.approx(0.95, abs=0.03)


def test_a_bootstrap_finds_nearly_the_same_interval() -> None:
    random = np.random.default_rng(5)
    before, after = random.normal(100, 2, 40) * MS, random.normal(97, 2, 40) * MS
    means = [
        random.choice(after, 40).mean() / random.choice(before, 40).mean() for _ in range(4000)
    ]
    low, high = np.quantile(means, [0.025, 0.975])
    found = comparing.row("total", before.astype(int).tolist(), after.astype(int).tolist())
    assert found["ratio_low"] == pytest.approx(low, abs=0.002)
    assert found["ratio_high"] == pytest.approx(high, abs=0.002)


def test_one_step_is_not_judged(tmp_path: Path) -> None:
    table = compared(tmp_path, [100.0], [50.0])
    assert set(verdicts(table).values()) == {"not judged"}
    assert "the step: not judged (100.0 ms in A, 50.00 ms in B): that takes two" in table.heading


def test_steps_that_never_differ_are_beyond_any_doubt(tmp_path: Path) -> None:
    table = compared(tmp_path, [100.0] * 5, [101.0] * 5)
    assert verdicts(table)["total"] == "slower"
    assert table.rows()[0]["ratio_low"] == pytest.approx(1.01)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch": 4}, "batch is 2 in A, 4 in B"),
        ({"context": 16}, "context is 8 in A, 16 in B"),
        ({"mode": "train"}, "mode is forward_backward in A, train in B"),
        ({"config": {"d_ff": 128}}, "d_ff 192"),
        ({"facts": {"device_name": "H100"}}, "device is EPYC in A, H100 in B"),
    ],
)
def test_what_cannot_be_compared_is_refused_and_named(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(LaunchError, match=said):
        compared(tmp_path, [1.0, 2.0], [1.0, 2.0], **changes)


def test_what_is_compared_is_said(tmp_path: Path) -> None:
    steps = noisy(10)
    changes = {"dtype": "bfloat16", "compile": True, "facts": {"torch": "2.14.0"}}
    table = compared(tmp_path, steps, steps, complete=False, **changes)
    assert table.notes == (
        "dtype differs: float32 in A, bfloat16 in B",
        "compile differs: False in A, True in B",
        "torch differs: 2.13.0 in A, 2.14.0 in B",
        "B was interrupted after 20 steps",
    )


def test_the_command_writes_every_format_where_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [kept(tmp_path / "a.json"), kept(tmp_path / "b.json", "--dtype", "bfloat16")]
    capsys.readouterr()
    files = [str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    assert command("--compare", *files) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].startswith("A: ")
    assert "note: dtype differs: float32 in A, bfloat16 in B" in err.splitlines()
    output = tmp_path / "c.csv"
    assert command("--compare", *files, "--format", "csv", "--output", str(output)) == 0
    rows = list(csv.DictReader(io.StringIO(output.read_text())))
    assert [row["part"] for row in rows] == ["total", "forward", "backward", "zero_grad"]
    for row in rows:
        means = [statistics.fmean(known[f"{row['part']}_ns"]) for known in paths]
        assert float(row["ratio"]) == pytest.approx(means[1] / means[0])
    assert "interval" not in rows[0]


def damaged(path: Path, **changes: Any) -> Path:
    known = json.loads(run_file(path, [1.0, 2.0]).read_text())
    path.write_text(json.dumps({**known, **changes}))
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"total_ns": []},
        {"total_ns": "fast"},
        {"total_ns": [1, "2"]},
        {"total_ns": [1, 1e300]},
        {"total_ns": [1, True]},
        {"total_ns": [1, 2, 3]},
        {"settings": {}},
        {"settings": None},
        {"settings": {"size": "tiny"}},
        {"facts": []},
        {"facts": None},
    ],
)
def test_a_file_that_was_damaged_is_one_line(
    changes: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = run_file(tmp_path / "good.json", [1.0, 2.0])
    path = damaged(tmp_path / "bad.json", **changes)
    assert command("--compare", str(good), str(path)) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"error: {path}: damaged (")


def test_no_file_another_file_and_the_same_file_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = run_file(tmp_path / "good.json", [1.0, 2.0])
    sweep = tmp_path / "sweep.json"
    sweep.write_text('{"kind": "sweep"}')
    for other, said in (
        (tmp_path / "no.json", "cannot be read (no such file or directory)"),
        (sweep, "no result of profiling.benchmark"),
        (good, "the same file twice; give two runs"),
    ):
        assert command("--compare", str(good), str(other)) == 1
        assert capsys.readouterr().err.startswith(f"error: {other}: {said}")
    arguments = ("--compare", str(good), str(good), "--output", "/nowhere/x.csv")
    assert command(*arguments) == 1
    assert "its folder does not exist" in capsys.readouterr().err


def test_a_slow_first_step_is_found() -> None:
    (said,) = steadiness.steadiness_warnings([500, *[100, 101, 99, 100, 102] * 3])
    assert said == "the first step is slow (500 ns against 100 ns); warm up more"
    few = steadiness.steadiness_warnings([500, 100, 101])
    assert few[1:] == ["the first step is slow (500 ns against 101 ns); warm up more"]


def test_outliers_are_named_by_their_place() -> None:
    times = [100, 101, 99, 100, 250, 102, 98, 101, 99, 30]
    (said,) = steadiness.steadiness_warnings(times)
    assert said.startswith("2 of 10 steps are outliers (step 5, 10); something else ran meanwhile")


def test_a_drift_is_told_with_its_size_and_direction() -> None:
    noise = [0, 3, -2, 1, -3, 2, 0, -1] * 3
    rising = [1000 + 10 * step + noise[step] for step in range(24)]
    (said,) = steadiness.steadiness_warnings(rising)
    assert said.startswith("steps get longer as the run goes on, 20")
    assert steadiness.steadiness_warnings(rising[::-1])[0].startswith("steps get shorter")


def test_steady_times_have_no_trouble_and_too_few_are_said() -> None:
    random, troubled = Random(7), 0
    for _ in range(200):
        troubled += bool(
            steadiness.steadiness_warnings([round(random.gauss(1e6, 1e4)) for _ in range(20)])
        )
    assert troubled < 30  # chance alone: outliers 1 in 15 runs, drifts 1 in 100
    assert steadiness.steadiness_warnings([100] * 20) == []
    (said,) = steadiness.steadiness_warnings([100, 100])
    assert said.startswith("only 2 steps")


def test_a_drift_is_what_kendalls_test_gives_by_hand() -> None:
    """Of 1 3 2 4 6 5 8 7: 25 pairs rise and 3 fall, S = 22, z = 21 / sqrt(65.33) = 2.598."""
    times = [1000 + 100 * each for each in (1, 3, 2, 4, 6, 5, 8, 7)]
    assert steadiness.drift(times) > 0
    times[0], times[2] = times[2], times[0]  # S = 22 - 2 = 20: z = 2.351, short of 2.576
    assert steadiness.drift(times) == 0.0


def test_a_long_run_is_judged_without_comparing_all_pairs() -> None:
    times = [1_000_000 + step for step in range(50_000)]
    assert steadiness.drift(times) == pytest.approx(0.05, rel=0.05)
