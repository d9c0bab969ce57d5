"""Where the reports are read: by processes of this machine, or by the workers of a Dask cluster.

Each report is read by one process where it lies, and what comes back is its summary. Those are put
in the order of the reports: who read what, and when, makes no difference to the answer.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Final

from analysis.fleet.summary import RankSummary, Unread, summarize
from analysis.show.errors import CommandError, NotInstalled, first_line
from analysis.show.progress import Bar

if TYPE_CHECKING:
    from distributed import Client

PATIENCE_S: Final = 10
"""How long a scheduler may take to answer."""

KILLED: Final = "the process that read it was killed; use fewer --workers if memory is short"

Summary = RankSummary | Unread
Read = Callable[..., Summary]
"""What reads a report: given its path, its place among the reports, and how the path is shown."""


@dataclass(frozen=True)
class Engine:
    """Who reads the reports.

    Attributes:
        workers: how many processes of this machine; None for as many as it has processors.
        scheduler: the address of a Dask scheduler, or None.
        scheduler_file: the file in which one has written its address, or None.
    """

    workers: int | None = None
    scheduler: str | None = None
    scheduler_file: str | None = None

    def summaries(
        self, paths: Sequence[str], selected: Mapping[str, Any], wanted: frozenset[str]
    ) -> list[Summary]:
        """Return the summary of each report, or why there is none.

        Args:
            paths: of the reports.
            selected: what counts of each: `analysis.attribution.selection.Options`.
            wanted: what of a summary, of `PARTS_OF_IT`.

        Raises:
            CommandError: the scheduler does not answer, or Dask is not installed.
        """
        read = partial(summarize, selected=dict(selected), wanted=wanted)
        on_cluster = self.scheduler is not None or self.scheduler_file is not None
        count = min(self.workers or len(os.sched_getaffinity(0)), len(paths))
        if count < 2 and not on_cluster:  # each report shows a bar of its own where it takes long
            return [read(path, number) for number, path in enumerate(paths)]
        with Bar("reports") as bar:
            if not on_cluster:
                return _by_processes(paths, read, count, bar)
            with self._client() as client:
                return _on_cluster(client, paths, read, bar)

    @contextlib.contextmanager
    def _client(self) -> Iterator[Client]:
        where = self.scheduler if self.scheduler is not None else self.scheduler_file
        if self.scheduler is None and not os.path.exists(self.scheduler_file or ""):
            raise CommandError(f"{where}: no such file; name what dask scheduler wrote there")
        try:
            from distributed import Client
        except ModuleNotFoundError:
            raise NotInstalled("distributed") from None
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        given: dict[str, Any] = {"address": self.scheduler}
        if self.scheduler is None:
            given = {"scheduler_file": self.scheduler_file}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of versions that differ a little
            try:
                client = Client(**given, timeout=PATIENCE_S, set_as_default=False)
            except (OSError, ValueError, TypeError) as error:
                raise CommandError(
                    f"{where}: no Dask scheduler answers ({first_line(error)}); see that it runs"
                ) from None
            with client:
                try:
                    client.wait_for_workers(1, timeout=PATIENCE_S)
                except OSError:
                    raise CommandError(
                        f"{where}: the Dask scheduler has no workers; start dask worker"
                    ) from None
                yield client


def _by_processes(paths: Sequence[str], read: Read, count: int, bar: Bar) -> list[Summary]:
    """Return the summaries, made by processes of this machine.

    When one is killed, all of its pool end. What they had not done is done anew, each report by a
    process that no other depends on.
    """
    done: dict[int, Summary] = {}

    def keep(number: int, summary: Summary) -> None:
        done[number] = summary
        bar(len(done), len(paths))

    with contextlib.suppress(BrokenProcessPool):
        _computed(dict(enumerate(paths)), read, count, keep)
    for number, path in enumerate(paths):
        if number not in done:
            try:
                _computed({number: path}, read, 1, keep)
            except BrokenProcessPool:
                keep(number, Unread(path, KILLED))
    return [done[number] for number in range(len(paths))]


def _computed(
    paths: Mapping[int, str],
    read: Read,
    count: int,
    keep: Callable[[int, Summary], None],
) -> None:
    """Compute the summaries of some reports by a pool of processes, and keep each as it comes."""
    try:
        from dask import multiprocessing
        from dask.callbacks import Callback
    except ModuleNotFoundError:
        raise NotInstalled("dask") from None
    tasks = {f"report-{number}": (partial(read, path, number),) for number, path in paths.items()}

    def finished(key: str, result: Summary, *_: object) -> None:
        keep(int(key.rpartition("-")[2]), result)

    pool = ProcessPoolExecutor(count, get_context(_start()), initializer=_begin)
    try:
        with Callback(posttask=finished):
            multiprocessing.get(tasks, list(tasks), pool=pool, chunksize=1)
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _start() -> str:
    """Return how a process is started that reads reports.

    A copy of this one has imported everything already, which takes as long as reading a small
    report. A process with other threads is not copied: what they held would stay held.
    """
    alone = sys.platform == "linux" and threading.active_count() == 1
    return "fork" if alone else "spawn"


def _begin() -> None:
    """Leave interrupts and the terminal to the process that waits for the answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115  (until the end)


def _on_cluster(client: Client, paths: Sequence[str], read: Read, bar: Bar) -> list[Summary]:
    """Return the summaries, made by the workers of a cluster; each finds a report at its path."""
    from distributed import as_completed

    futures = [
        client.submit(read, os.path.abspath(path), number, shown=path, pure=False, retries=2)
        for number, path in enumerate(paths)
    ]
    number_of = {future.key: number for number, future in enumerate(futures)}
    done: dict[int, Summary] = {}
    try:
        for future in as_completed(futures, loop=client.loop):
            number = number_of[future.key]
            done[number] = _result(future, paths[number])
            bar(len(done), len(paths))
    except BaseException:
        client.cancel(futures, force=True)
        raise
    return [done[number] for number in range(len(paths))]


def _result(future: Any, path: str) -> Summary:
    error = future.exception()
    if error is None:
        summary: Summary = future.result()
        return summary
    if isinstance(error, ModuleNotFoundError):
        raise CommandError(
            f"the workers have no module {error.name}; pip install spanlight where they run"
        )
    if type(error).__name__ == "KilledWorker":
        return Unread(path, "the workers that read it were killed, one after another")
    raise error
