"""What timing costs, on made-up times; nothing here is timed."""

import json
from functools import partial
from pathlib import Path

import pytest

from benchmarks.cost import timing_cost
from benchmarks.cost.timing_cost import AGAIN, BARE, HEADER, SYNCHRONIZED, TIMED
from benchmarks.samples import interleaved
from profiling.training.training import Training
from tests.made.runs.step_benchmark import settings


def line(found: dict[str, list[float]], by_itself_ns: list[float]) -> dict[str, str]:
    return dict(zip(HEADER, timing_cost.row("tiny", found, by_itself_ns), strict=True))


def test_a_row_has_the_cost_its_verdict_and_what_to_hold_it_against() -> None:
    times = {BARE: [1e-2] * 9, TIMED: [1.02e-2] * 9, AGAIN: [1e-2] * 9}
    found = line(times, [5e4, 5e4])
    assert (found["bare"], found["timed"]) == ("10.000 ms", "10.200 ms")
    assert (found["on top"], found["verdict"]) == ("+2.00 % (+2.00 to +2.00)", "missed")
    assert found["control"] == "+0.00 % (+0.00 to +0.00)"
    assert found["by itself"] == "50.0 µs, +0.50%"
    assert found[SYNCHRONIZED] == "no GPU"
    with_gpu = line(times | {SYNCHRONIZED: [1.01e-2] * 9}, [5e4])
    assert with_gpu[SYNCHRONIZED] == "+1.00 % (+1.00 to +1.00)"


def test_every_side_runs_the_same_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    for part in ("forward", "backward", "update"):
        monkeypatch.setattr(Training, part, lambda _, part=part: done.append(part))
    for loop in timing_cost.sides(Training(settings())).values():
        done.clear()
        loop(2)
        assert done == ["forward", "backward", "update"] * 2


def test_on_a_gpu_a_synchronize_without_marks_stands_beside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = Training(settings())
    assert SYNCHRONIZED not in timing_cost.sides(training)
    waits: list[str] = []
    monkeypatch.setattr(timing_cost, "synchronize", waits.append)
    monkeypatch.setattr(training, "settings", settings(device="cuda"))
    monkeypatch.setattr(training, "step", lambda: None)
    timing_cost.sides(training)[SYNCHRONIZED](3)
    assert waits == ["cuda"] * 3


def test_sides_take_turns_in_blocks() -> None:
    taken: list[tuple[str, int]] = []

    def seconds(loop: str, steps: int) -> float:
        taken.append((loop, steps))
        return 0.01

    loops = {name: partial(seconds, name) for name in (BARE, TIMED, AGAIN)}
    found = interleaved(loops, 4.5, block_s=0.05, fewest=20)
    assert {name: len(times) for name, times in found.items()} == dict.fromkeys(loops, 30)
    turns = taken[9:]
    assert {steps for _, steps in turns} == {5}
    for start in range(0, len(turns), 3):
        assert {name for name, _ in turns[start : start + 3]} == set(loops)


def test_it_runs_and_keeps_its_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing_cost, "BLOCK_S", 1e-6)
    monkeypatch.setattr(timing_cost, "FEWEST", 2)
    monkeypatch.setattr(timing_cost, "EMPTY_REPEATS", 2)
    path = tmp_path / "t.json"
    arguments = ["--sizes", "tiny", "--seconds", "1e-6", "--device", "cpu", "--json", str(path)]
    assert timing_cost.main(arguments) == 0
    assert "by itself" in capsys.readouterr().out
    known = json.loads(path.read_text())
    assert {name: len(times) for name, times in known["seconds"]["tiny"].items()} == {
        BARE: 2,
        TIMED: 2,
        AGAIN: 2,
    }
    assert len(known["by_itself_ns"]) == 2


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--sizes", "huge"], 2, "--sizes is some of tiny"),
        (["--seconds", "0"], 2, "--seconds above 0"),
        (["--device", "tpu"], 2, "no device is called 'tpu'"),
        (["--json", "/dev/null/x.json"], 1, "choose another --json"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        found = timing_cost.main(arguments)
    except SystemExit as stop:
        found = int(stop.code or 0)
    assert found == status
    assert message in capsys.readouterr().err
