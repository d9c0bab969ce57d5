"""Processes that are started: what a signal meanwhile does."""

import os
import signal
import site
from collections.abc import Iterator
from pathlib import Path

import pytest

from profiling.processes import starting
from profiling.processes.starting import child_environment, signals_held_back


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def number(request: pytest.FixtureRequest) -> Iterator[int]:
    """A signal, whose handler is put back afterwards."""
    before = signal.getsignal(request.param)
    yield request.param
    signal.signal(request.param, before)


def test_a_signal_waits_until_what_was_started_is_known(number: int) -> None:
    heard: list[str] = []
    signal.signal(number, lambda *_: heard.append("signal"))
    with signals_held_back():
        os.kill(os.getpid(), number)
        heard.append("started")
    assert heard == ["started", "signal"]


def test_a_signal_that_is_ignored_stays_so(number: int) -> None:
    signal.signal(number, signal.SIG_IGN)
    with signals_held_back():
        os.kill(os.getpid(), number)
        assert signal.getsignal(number) == signal.SIG_IGN
    assert signal.getsignal(number) == signal.SIG_IGN


def test_a_child_of_a_checkout_is_told_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(starting._ROOT)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert child_environment()["PYTHONPATH"] == root
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    assert child_environment()["PYTHONPATH"] == f"{root}{os.pathsep}/theirs"
    monkeypatch.setenv("PYTHONPATH", f"/theirs{os.pathsep}{root}")
    assert child_environment()["PYTHONPATH"] == f"/theirs{os.pathsep}{root}"


def test_installed_packages_go_before_nothing_of_the_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(starting, "_ROOT", Path(site.getsitepackages()[0]))
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    assert child_environment()["PYTHONPATH"] == "/theirs"
    monkeypatch.delenv("PYTHONPATH")
    assert child_environment()["PYTHONPATH"] == ""
