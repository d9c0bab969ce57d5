"""A step is ended with all it started: at its limit, when it is done, and by the next call."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from benchmarks.gpu import evidence
from benchmarks.gpu import process as gpu_process
from benchmarks.gpu.evidence import collect
from benchmarks.gpu.stages import Step
from profiling.common.errors import LaunchError
from tests.made.gpu.steps import give, script, state, without_nsys
from tests.made.runs.launched import ROOT


@pytest.fixture(autouse=True)
def _no_nsys(monkeypatch: pytest.MonkeyPatch) -> None:
    without_nsys(monkeypatch)


STUBBORN = """
    import os, signal, subprocess, sys, time
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                             start_new_session=True)
    print(os.getpid(), child.pid, flush=True)
"""


def is_running(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def pids(log: Path) -> list[int]:
    return [int(word) for word in log.read_text().splitlines()[1].split()]


def test_a_step_at_its_limit_is_ended_with_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what is in a session of its own, and does not listen to signals."""
    monkeypatch.setattr(gpu_process, "GRACE_S", dict.fromkeys(gpu_process.GRACE_S, 0.3))
    words = script(tmp_path, monkeypatch, STUBBORN + "    time.sleep(600)\n")
    give(monkeypatch, Step("stubborn", words, (), 1))
    out = tmp_path / "out"
    found = collect(out, ["first"], None, 4, again=False)
    assert str(found.status["stubborn"]).startswith("ended after 4 s")
    log = out / "stubborn.log"
    assert not any(map(is_running, pids(log)))
    assert log.read_text().splitlines()[-2] == "[1 processes it had left were ended]"
    assert log.read_text().splitlines()[-1].startswith("[ended after 4 s, ")


def test_what_a_step_leaves_running_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, Step("leaves", script(tmp_path, monkeypatch, STUBBORN), (), 1))
    found = collect(tmp_path / "out", ["first"], None, 60, again=False)
    assert found.status == {"leaves": 0}
    assert not any(map(is_running, pids(tmp_path / "out" / "leaves.log")))


RUNNER = """
    import sys
    from pathlib import Path
    from benchmarks.gpu import evidence
    from benchmarks.gpu.stages import Step
    evidence.STAGES = {"first": (
        Step("good", ("timeit", "-n1", "pass")), Step("long", ("of_a_test",), (), 1))}
    sys.exit(evidence.main([sys.argv[1], "--stages", "first"]))
"""


def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "subprocess.Popen[bytes]":
    """Start a runner whose second step does not end, and wait until that has begun."""
    script(tmp_path, monkeypatch, STUBBORN + "    time.sleep(600)\n")
    program = tmp_path / "runner.py"
    program.write_text(textwrap.dedent(RUNNER))
    known = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path / 'modules'}"}
    process = subprocess.Popen([sys.executable, program, tmp_path / "out"], env=known)
    log, give_up = tmp_path / "out" / "long.log", time.monotonic() + 60
    while time.monotonic() < give_up:
        if log.exists() and len(log.read_text().splitlines()) > 1:
            return process
        time.sleep(0.1)
    process.kill()
    raise AssertionError("the step did not begin")


def test_a_runner_that_is_killed_leaves_its_state_and_the_next_one_cleans_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    process, out = runner(tmp_path, monkeypatch), tmp_path / "out"
    with pytest.raises(LaunchError, match="another call is at work there"):
        collect(out, ["first"], None, 60, again=False)
    process.kill()
    process.wait()
    assert state(out) == {"good": 0, "long": "began"}
    left = pids(out / "long.log")
    assert all(map(is_running, left))
    give(monkeypatch, Step("good", ("timeit", "-n1", "pass")))
    found = collect(out, ["first"], None, 60, again=False)
    assert found.status == {"good": 0, "long": evidence.CUT_OFF}
    assert not any(map(is_running, left))
    assert "ended 2 processes that an earlier call had left" in capsys.readouterr().out


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_ends_the_step_and_packs_what_there_is(
    number: signal.Signals, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, out = runner(tmp_path, monkeypatch), tmp_path / "out"
    process.send_signal(number)
    assert process.wait(60) == status
    assert state(out) == {"good": 0, "long": "interrupted"}
    assert not any(map(is_running, pids(out / "long.log")))
    assert "[interrupted after " in (out / "long.log").read_text()
    assert (out / "evidence.tar.xz.00").exists()
