"""Ranks read by the workers of a Dask cluster: the same answer, also when a worker is killed."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from analysis.fleet import engine, fleet
from analysis.show.errors import CommandError
from analysis.show.progress import Bar
from tests.analysis.fleet.test_fleet import answers
from tests.made.reports.rank_reports import MICRO, rank_reports
from tests.made.tools.shared import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the reports of 16 ranks."""
    return rank_reports(tmp_path_factory.mktemp("ranks"), 16, loads={(5, 3): 500 * MICRO})


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[Path, list[subprocess.Popen[bytes]]]]:
    """Yield the file of a scheduler, and its two workers."""
    file = tmp_path / "scheduler.json"
    local = ("--scheduler-file", str(file), "--host", "127.0.0.1", "--no-dashboard")
    with ExitStack() as stack:

        def started(module: str, *more: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", f"distributed.cli.{module}", *local, *more]
            process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        started("dask_scheduler", "--port", "0")
        until = time.monotonic() + 60
        while not file.exists() and time.monotonic() < until:
            time.sleep(0.1)
        own = ("--no-nanny", "--nthreads", "1", "--local-directory", str(tmp_path))
        yield file, [started("dask_worker", *own) for _ in range(2)]


def test_the_workers_of_a_cluster_give_the_same_bytes(
    ranks: list[Path], cluster: tuple[Path, list[subprocess.Popen[bytes]]]
) -> None:
    file, _ = cluster
    assert answers(ranks, scheduler_file=str(file)) == answers(ranks, workers=2)


def test_a_worker_that_is_killed_keeps_no_rank_out_of_the_answer(
    ranks: list[Path],
    cluster: tuple[Path, list[subprocess.Popen[bytes]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file, workers = cluster

    class Killing(Bar):
        def __call__(self, done: int, total: int) -> None:
            if done == 3:
                workers[0].kill()

    alone = answers(ranks, workers=1)
    monkeypatch.setattr(engine, "Bar", Killing)
    assert answers(ranks, scheduler_file=str(file)) == alone
    assert workers[0].wait() != 0


def test_a_scheduler_that_does_not_answer_is_an_error_within_ten_seconds(
    ranks: list[Path],
) -> None:
    begun = time.monotonic()
    with pytest.raises(CommandError, match=r"tcp://127\.0\.0\.1:1: no Dask scheduler answers"):
        fleet(*ranks, scheduler="tcp://127.0.0.1:1")
    assert time.monotonic() - begun < 20
