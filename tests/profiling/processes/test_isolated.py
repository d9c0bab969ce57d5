"""A measurement in a process of its own: its result, its failures told apart, its end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from profiling.common.errors import LaunchError, OutOfMemory, UsageError
from profiling.processes import isolated
from tests.made.runs.launched import ROOT

MODULE = "tests.made.runs.isolated_functions"
MIB = 2**20


def run(do: str, **more: Any) -> dict[str, Any]:
    return isolated.run(MODULE, {"do": do, **more})


def test_the_result_comes_from_another_process() -> None:
    found = run("echo", text="é\n", numbers=[1, 2.5, None])
    assert found["spec"] == {"do": "echo", "text": "é\n", "numbers": [1, 2.5, None]}
    assert found["pid"] != os.getpid()
    assert found["parent"] == os.getpid()


@pytest.mark.parametrize("module", [MODULE, "tests.made.runs.isolated_allocation"])
def test_a_limit_lets_through_what_fits_and_tells_out_of_memory(module: str) -> None:
    spec = {"do": "list", "bytes": 64 * MIB}
    assert 64 * MIB in isolated.run(module, spec, limit_bytes=512 * MIB).values()
    with pytest.raises(OutOfMemory, match="out of memory"):
        isolated.run(module, {**spec, "bytes": 600 * MIB}, limit_bytes=512 * MIB)


def test_what_says_beforehand_that_it_cannot_fit_is_out_of_memory() -> None:
    with pytest.raises(OutOfMemory, match="about 9 GiB are needed"):
        run("too large")


def test_out_of_memory_is_told_from_every_other_failure() -> None:
    for name, kind, said in (
        ("launch error", LaunchError, "the disk is full; make room"),
        ("usage error", UsageError, "no size is called 'huge'"),
        ("bug", LaunchError, "ZeroDivisionError"),
        ("exit", LaunchError, "ended with exit status 7 and said: going"),
    ):
        with pytest.raises(kind, match=said) as caught:
            run(name)
        assert not isinstance(caught.value, OutOfMemory), name


def test_a_process_that_the_system_kills_was_out_of_memory() -> None:
    with pytest.raises(OutOfMemory, match="killed, most likely out of memory"):
        run("signal", name="SIGKILL")
    with pytest.raises(LaunchError, match="died of SIGTERM") as caught:
        run("signal", name="SIGTERM")
    assert not isinstance(caught.value, OutOfMemory)


def test_what_takes_too_long_is_ended(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with pytest.raises(LaunchError, match="was not done after 1 s"):
        isolated.run(MODULE, {"do": "sleep", "file": str(file)}, timeout_s=1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if file.exists():  # it had come so far
        assert not psutil.pid_exists(int(file.read_text()))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_process_ends_with_the_one_that_started_it(how: int, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    spec = {"do": "sleep", "file": str(file)}
    code = f"from profiling.processes import isolated; isolated.run({MODULE!r}, {spec!r})"
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        wait_for(lambda: file.exists() and file.read_text() != "")
        running = psutil.Process(int(file.read_text()))
    finally:
        parent.send_signal(how)
        parent.wait(60)
    wait_for(lambda: not running.is_running() or running.status() == psutil.STATUS_ZOMBIE)


def wait_for(condition: Any) -> None:
    until = time.monotonic() + 180  # a machine may be busy
    while not condition():
        assert time.monotonic() < until, "it did not happen within three minutes"
        time.sleep(0.05)
