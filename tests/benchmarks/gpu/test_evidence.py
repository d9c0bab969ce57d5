"""The evidence from a GPU: stages that each leave their result, resumable, packed to be carried."""

import os
import zipfile
from pathlib import Path

import pytest

from benchmarks.gpu import evidence
from benchmarks.gpu.evidence import collect, main
from benchmarks.gpu.stages import STAGES, Step
from tests.made.commands.commands import command_module
from tests.made.gpu.steps import give, script, state, without_nsys


@pytest.fixture(autouse=True)
def _two_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = {
        "first": (Step("good", ("timeit", "-n1", "pass")), Step("bad", ("json.tool", "no-file"))),
        "second": (Step("wants", ("timeit", "-n1", "pass"), ("no_such_package",)),),
    }
    monkeypatch.setattr(evidence, "STAGES", stages)
    without_nsys(monkeypatch)


def test_every_step_leaves_its_log_and_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = collect(tmp_path, ["first", "second"], None, 600, again=False)
    assert found.status["good"] == 0
    assert found.status["bad"] != 0
    assert "no no_such_package here" in str(found.status["wants"])
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said] == ["good", "bad", "wants"]
    assert said[0].startswith("good: 0, ")
    assert said[0].endswith(" s")
    assert "no-file" in said[1]
    log = (tmp_path / "good.log").read_text().splitlines()
    assert "timeit" in log[0]
    assert any("loop" in line for line in log)
    assert log[-1].startswith("[status 0, ")
    assert (tmp_path / "wants.log").read_text().startswith("[not run: no no_such_package")
    assert state(tmp_path) == found.status


def test_what_is_done_is_not_done_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collect(tmp_path, ["first"], None, 600, again=False)
    capsys.readouterr()
    collect(tmp_path, ["first"], None, 600, again=False)
    assert "good" not in capsys.readouterr().out
    collect(tmp_path, ["first"], None, 600, again=True)
    assert "good: 0" in capsys.readouterr().out


def test_nothing_starts_once_the_budget_is_spent(tmp_path: Path) -> None:
    assert collect(tmp_path, ["first"], None, 0, again=False).status == {}


def test_what_would_not_be_done_in_time_is_not_started_and_the_next_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("timeit", "-n1", "pass")
    give(monkeypatch, Step("long", words, (), 300), Step("short", words, (), 30))
    assert collect(tmp_path, ["first"], None, 200, again=False).status == {"short": 0}
    said = capsys.readouterr().out
    assert "long: not started: 300 s expected, " in said
    assert main([str(tmp_path), "--stages", "first", "--budget-s", "200"]) == 1
    assert "done: 1 of 2 steps\nnot done: long\n" in capsys.readouterr().out
    assert collect(tmp_path, ["first"], None, 400, again=False).status == {"short": 0, "long": 0}


def test_packages_can_be_carried_along(tmp_path: Path) -> None:
    (tmp_path / "carry").mkdir()
    with zipfile.ZipFile(tmp_path / "carry" / "no_such_package-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("no_such_package.py", "")
    found = collect(tmp_path / "out", ["second"], tmp_path / "carry", 600, again=False)
    assert found.status == {"wants": 0}


def test_wrong_stage_is_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path / "out"), "--stages", "third"])
    assert stop.value.code == 2
    assert "there are: first, second" in capsys.readouterr().err
    assert not os.path.exists(tmp_path / "out")


@pytest.mark.parametrize("step", [step for steps in STAGES.values() for step in steps])
def test_every_command_exists_and_takes_its_options(step: Step, tmp_path: Path) -> None:
    """Ask each command what it would do without a GPU: it must not stumble over its arguments."""
    if step.words[0] == "pytest":
        pytest.skip("the tests themselves")
    assert hasattr(command_module(step.words[0]), "main")


def test_a_line_that_a_step_left_open_is_ended_before_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, Step("open", script(tmp_path, monkeypatch, "print('half', end='')")))
    collect(tmp_path / "out", ["first"], None, 600, again=False)
    log = (tmp_path / "out" / "open.log").read_text().splitlines()
    assert log[1] == "half"
    assert log[2].startswith("[status 0, ")


def test_a_damaged_state_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("", "[]", '{"steps": {"good": 0}}', '{"steps": [1]}'):
        (tmp_path / "state.json").write_text(text)
        assert main([str(tmp_path), "--stages", "first"]) == 1
        said = capsys.readouterr().err
        assert said == f"error: {tmp_path}/state.json: damaged; take it away to begin anew\n"
