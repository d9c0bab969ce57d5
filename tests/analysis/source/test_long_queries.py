"""Ctrl-C is heard while SQLite is at one long query, and the file is let go of properly."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import pytest

from analysis.source.database import both
from analysis.source.threads import begun, interruptible
from tests.made.commands.commands import a_report, contents
from tests.made.tools.shared import ROOT

FOR_MINUTES = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000000) "
    "SELECT count(*) FROM n"
)
AT_WORK_S = 1.5
"""More time of a processor than starting takes, and reading what is not slow."""


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """Return a report whose tables are views that take hours to read."""
    path = a_report(tmp_path / "slow.sqlite")
    with closing(sqlite3.connect(path)) as connection:
        for table in ("NVTX_EVENTS", "CUPTI_ACTIVITY_KIND_KERNEL"):
            connection.execute(f"ALTER TABLE {table} RENAME TO held_{table}")
            connection.execute(
                f"CREATE VIEW {table} AS SELECT * FROM held_{table} WHERE ({FOR_MINUTES}) > 0"
            )
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("kernels",),
        ("nvidia", "--report", "nvtx_kern_sum"),  # two threads read
        ("trim", "--output", "out.sqlite"),
        ("export", "--output", "out.pftrace"),
    ],
)
def test_ctrl_c_during_one_query_ends_the_command_at_once(
    words: tuple[str, ...], slow: Path, tmp_path: Path
) -> None:
    before = contents(tmp_path)
    name, *options = words
    process = subprocess.Popen(
        [sys.executable, "-m", f"analysis.{name}", str(slow), *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        while (
            process.poll() is None and sum(psutil.Process(process.pid).cpu_times()[:2]) < AT_WORK_S
        ):
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, *said) == (130, "", "error: interrupted\n")
    assert contents(tmp_path) == before


def test_what_a_call_uses_is_closed_when_it_is_done_and_nobody_waits() -> None:
    closed: list[str] = []
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    with ExitStack() as used:
        used.callback(closed.append, "connection")
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            interruptible(lambda: time.sleep(0.5), used)
    signal.signal(signal.SIGALRM, before)
    assert closed == []
    for _ in range(100):
        if closed:
            break
        time.sleep(0.05)
    assert closed == ["connection"]


def test_an_error_in_another_thread_is_that_of_who_waits() -> None:
    with ExitStack() as used, pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0, used)
    with pytest.raises(ZeroDivisionError):
        begun(lambda: 1 // 0).result()


def test_of_two_readers_both_are_done_when_one_fails() -> None:
    done: list[int] = []

    def first() -> None:
        time.sleep(0.2)
        done.append(1)

    with pytest.raises(ZeroDivisionError):
        both(first, lambda: 1 // 0)
    assert done == [1]
