"""Which programs are predicted from which, and one small run of everything on a CPU."""

import json
from itertools import permutations, product
from pathlib import Path

import pytest

from analysis.measures.predictions.change import Change
from benchmarks.predictions import launch_programs
from benchmarks.predictions.launch_programs import CATEGORY, WAITING, Program

SHORT, LONG = 10, 20


def test_lengths_are_changed_and_waits_left_out_but_none_made_and_no_stream_added() -> None:
    program = Program(SHORT, 100, 1)
    assert program.change_to(Program(LONG, 100, 1), 2.0) == Change({CATEGORY: 2.0})
    assert program.change_to(Program(SHORT, 0, 1), 2.0) == Change(no_wait=(WAITING,))
    both = Change({CATEGORY: 2.0}, no_wait=(WAITING,))
    assert program.change_to(Program(LONG, 0, 1), 2.0) == both
    assert program.change_to(Program(SHORT, 1, 1), 2.0) is None
    assert program.change_to(Program(LONG, 100, 2), 2.0) is None
    every = [Program(*shape) for shape in product((SHORT, LONG), (1, 100, 0), (1, 2))]
    assert sum(a.change_to(b, 2.0) is not None for a, b in permutations(every, 2)) == 28


@pytest.mark.slow
def test_on_a_cpu_lengths_alone_are_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launch_programs, "LAUNCHES", 4)
    monkeypatch.setattr(launch_programs, "NUMBERS", (1 << 10, 1 << 16))
    data = tmp_path / "programs.json"
    assert launch_programs.main(["--device", "cpu", "--json", str(data)]) == 0
    kept = json.loads(data.read_text())
    assert (len(kept["errors"]), kept["refused"]) == (2, 0)
    assert "1,024 numbers, no wait, streams 1" in capsys.readouterr().out
