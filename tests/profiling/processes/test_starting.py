"""Processes that are started: what a signal meanwhile does."""

import os
import signal
from collections.abc import Iterator

import pytest

from profiling.processes.starting import signals_held_back


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
