"""The evidence from a GPU: stages that each leave their result, resumable."""

import json
import os
import tarfile
from pathlib import Path

import pytest

from benchmarks import gpu_evidence
from benchmarks.gpu_evidence import collect, main
from benchmarks.gpu_stages import STAGES, Step


@pytest.fixture(autouse=True)
def _two_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = {
        "first": (Step("good", ("timeit", "-n1", "pass")), Step("bad", ("json.tool", "no-file"))),
        "second": (Step("wants", ("timeit", "-n1", "pass"), ("no_such_package",)),),
    }
    monkeypatch.setattr(gpu_evidence, "STAGES", stages)


def test_every_step_leaves_its_log_and_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = collect(tmp_path, ["first", "second"], None, 600, again=False)
    assert found.status["good"] == 0
    assert found.status["bad"] != 0
    assert "no no_such_package here" in str(found.status["wants"])
    assert "good: 0" in capsys.readouterr().out
    assert "loop" in (tmp_path / "good.log").read_text()
    assert json.loads((tmp_path / "state.json").read_text()) == found.status
    with tarfile.open(tmp_path / "evidence.tar.xz") as archive:
        assert {"good.log", "bad.log", "state.json"} <= set(archive.getnames())


def test_what_is_done_is_not_done_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collect(tmp_path, ["first"], None, 600, again=False)
    capsys.readouterr()
    collect(tmp_path, ["first"], None, 600, again=False)
    assert "good" not in capsys.readouterr().out
    collect(tmp_path, ["first"], None, 600, again=True)
    assert "good: 0" in capsys.readouterr().out


def test_nothing_starts_once_the_budget_is_spent(tmp_path: Path) -> None:
    assert collect(tmp_path, ["first"], None, 0, again=False).status == {}


def test_packages_can_be_carried_along(tmp_path: Path) -> None:
    (tmp_path / "carry").mkdir()
    (tmp_path / "carry" / "no_such_package.py").write_text("")
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
    module = __import__(step.words[0], fromlist=["main"])
    assert hasattr(module, "main")
