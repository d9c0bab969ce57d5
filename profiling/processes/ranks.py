"""Run a function on several ranks of this machine, each in a process of its own.

    results = ranks.run("tests.made.parallel.cases:train", 2, {"steps": 5}, timeout_s=60)

Each process finds the variables that torchrun sets, so `model.parallel.process_group` joins them.
When one fails, all are ended, and one line says which and why.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from profiling.common.cli import OUT_OF_MEMORY
from profiling.common.errors import LaunchError
from profiling.processes import child
from profiling.processes.notes import (
    FAILURE_NAME,
    MESSAGES_NAME,
    PLAN_NAME,
    RESULT_NAME,
    RankMessage,
    rank_folder,
)
from profiling.processes.starting import (
    child_environment,
    python_command,
    signals_held_back,
)

HOST: Final = "127.0.0.1"
LOG_NAME: Final = "log"
_POLL_S: Final = 0.05
_SETTLE_S: Final = 0.3
"""How long after the first failure others are waited for: the first seen need not be the cause."""
_GRACE_S: Final = 3.0
_LOOPBACK: Final = "lo"

OnTold = Callable[[int, RankMessage], None]
"""Takes a rank, and something it told."""

Command = Callable[[int, list[str]], list[str]]
"""Takes a rank and the command line that runs it, and returns the one to run: a recorder's."""


class RanksError(LaunchError):
    """A rank failed: which one and how, in one line.

    Attributes:
        late: there was not time enough.
    """

    def __init__(self, message: str, *, late: bool = False) -> None:
        super().__init__(message)
        self.late = late


def run(
    function: str,
    ranks: int,
    arguments: Mapping[str, Any],
    *,
    timeout_s: float,
    port: int = 0,
    on_told: OnTold | None = None,
    command: Command | None = None,
) -> list[dict[str, Any]]:
    """Run a function on every rank, to the end of all.

    Args:
        function: ``module:name`` of a `profiling.processes.rank.RankFunction`.
        ranks: how many.
        arguments: for the function; what JSON holds.
        timeout_s: for everything, the start of the processes too.
        port: where the ranks meet; 0 takes a free one.
        on_told: called in order with what each rank tells, as it comes.
        command: what to run in place of each rank's own command.

    Returns:
        What the function returned on each rank.

    Raises:
        RanksError: a rank failed, died, or was not done in time; all are ended.
        LaunchError: the port is taken.
    """
    end_s = time.monotonic() + timeout_s
    with TemporaryDirectory(prefix="ranks-") as name, _meeting_point(port) as meeting_port:
        folder = Path(name)
        plan = {"function": function, "arguments": dict(arguments), "launcher": os.getpid()}
        (folder / PLAN_NAME).write_text(json.dumps(plan))
        running = _Running(folder, on_told, command)
        try:
            for rank in range(ranks):
                running.start(rank, environment(rank, ranks, meeting_port))
            while running.watch():
                if time.monotonic() > end_s:
                    raise running.late(timeout_s)
                time.sleep(_POLL_S)
        finally:
            running.end()
        return [child.read_note(rank_folder(folder, rank) / RESULT_NAME) for rank in range(ranks)]


def environment(rank: int, ranks: int, port: int) -> dict[str, str]:
    """Return the environment of a rank: torchrun's variables, and as many threads as are its share.

    What is set already stays: OMP_NUM_THREADS, GLOO_SOCKET_IFNAME.
    """
    known = child_environment()
    share = max(1, cores() // ranks)
    known.setdefault("OMP_NUM_THREADS", str(share))
    import psutil

    if _LOOPBACK in psutil.net_if_addrs():
        # Else gloo looks this machine's name up, which need not lead anywhere.
        known.setdefault("GLOO_SOCKET_IFNAME", _LOOPBACK)
    return known | {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
        "MASTER_ADDR": HOST,
        "MASTER_PORT": str(port),
        # The store is ours, as torchrun's is its own, so no port is free and then taken.
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }


def cores() -> int:
    """Return how many cores this process and those it starts may use."""
    return len(os.sched_getaffinity(0))


def crowding(counts: Iterable[int]) -> list[str]:
    """Return what to say of ranks on CPUs that have less than a core each."""
    many = sorted({count for count in counts if count > cores()})
    if not many:
        return []
    return [
        f"{', '.join(map(str, many))} gloo ranks shared {cores()} cores: they waited for the "
        "processor, not only for each other"
    ]


@contextmanager
def _meeting_point(port: int) -> Iterator[int]:
    """Hold the store through which the ranks find each other; gives its port."""
    import torch.distributed as dist

    try:
        store = dist.TCPStore(  # type: ignore[attr-defined]
            HOST, port, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=_GRACE_S)
        )
    except dist.DistNetworkError:
        raise LaunchError(
            f"port {port} is taken; give another, or none to have a free one chosen"
        ) from None
    yield int(store.port)
    del store


class _Running:
    """The processes of all ranks."""

    def __init__(self, folder: Path, on_told: OnTold | None, command: Command | None) -> None:
        self._folder = folder
        self._command = command
        self._processes: list[subprocess.Popen[bytes]] = []
        self._heard: list[int] = []
        self._on_told = on_told

    def start(self, rank: int, known: dict[str, str]) -> None:
        """Start a rank, whose output goes to a file."""
        own = rank_folder(self._folder, rank)
        own.mkdir()
        command = python_command("profiling.processes.rank", self._folder)
        with (own / LOG_NAME).open("wb") as log, signals_held_back():
            self._processes.append(
                subprocess.Popen(
                    self._command(rank, command) if self._command else command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=known,
                    start_new_session=True,
                )
            )
        self._heard.append(0)

    def watch(self) -> bool:
        """Return whether any rank still runs.

        Raises:
            RanksError: one has failed.
        """
        statuses = self._look()
        if any(statuses):
            time.sleep(_SETTLE_S)
            statuses = self._look()
            raise RanksError(self._blame(statuses))
        return None in statuses

    def late(self, timeout_s: float) -> RanksError:
        """Return what to raise when the time is up."""
        waiting = [rank for rank, status in enumerate(self._look()) if status is None]
        which = f"rank{'s' if len(waiting) > 1 else ''} {', '.join(map(str, waiting))}"
        return RanksError(
            f"{which} not done after {timeout_s:g} s; give more time with --timeout, or less work",
            late=True,
        )

    def end(self) -> None:
        """End what still runs, and what that started."""
        for number, grace_s in ((signal.SIGTERM, _GRACE_S), (signal.SIGKILL, _GRACE_S)):
            left = [process for process in self._processes if process.poll() is None]
            for process in left:
                os.killpg(process.pid, number)
            end_s = time.monotonic() + grace_s
            for process in left:
                try:
                    process.wait(max(0.0, end_s - time.monotonic()))
                except subprocess.TimeoutExpired:
                    continue

    def _look(self) -> list[int | None]:
        """Return the exit status of every rank, None where it runs; hear what they told before."""
        statuses = [process.poll() for process in self._processes]
        for rank, heard in enumerate(self._heard):
            told = _lines(rank_folder(self._folder, rank) / MESSAGES_NAME)[heard:]
            self._heard[rank] += len(told)
            for line in told:
                if self._on_told:
                    self._on_told(rank, json.loads(line))
        return statuses

    def _blame(self, statuses: Sequence[int | None]) -> str:
        """Say which rank failed first: those that waited for it fail too, a moment later."""
        failed = [rank for rank, status in enumerate(statuses) if status]
        notes = {rank: rank_folder(self._folder, rank) / FAILURE_NAME for rank in failed}
        # Without a note it did not get to see an exception, so it is not one of those that waited.
        dead = [rank for rank in failed if not notes[rank].exists()]
        if dead:
            # A recorder around it has the last word in the log.
            log = None if self._command else rank_folder(self._folder, dead[0]) / LOG_NAME
            return _death(dead[0], statuses[dead[0]] or 0, log)
        first = min(failed, key=lambda rank: notes[rank].stat().st_mtime_ns)
        gone = [rank for rank, status in enumerate(statuses) if status == 0]
        after = f", after rank {gone[0]} had ended" if gone else ""
        return _failure(first, child.read_note(notes[first]), after)


def _lines(path: Path) -> list[str]:
    """Return the whole lines of a file that is being written."""
    try:
        return path.read_text().split("\n")[:-1]
    except FileNotFoundError:
        return []


def _failure(rank: int, note: dict[str, str], after: str) -> str:
    if note["kind"] in {"LaunchError", "ParallelError"}:
        return note["message"]  # written for the user, and the same on every rank
    what = child.failure_text(note)
    if note["kind"] == "MemoryError" or OUT_OF_MEMORY.search(what):
        return f"rank {rank} is out of memory ({what}); use fewer ranks or less at a time"
    place = f" ({note['place']})" if note["place"] else ""
    return f"rank {rank} failed with {what}{place}{after}; the other ranks were ended"


def _death(rank: int, status: int, log: Path | None) -> str:
    if status in {-signal.SIGKILL, 128 + signal.SIGKILL}:
        return (
            f"rank {rank} was killed, most likely out of memory; use fewer ranks or less at a time"
        )
    last = child.last_line(log)
    if status < 0:
        name = signal.Signals(-status).name
        return f"rank {rank} died of {name}{last}; the other ranks were ended"
    return f"rank {rank} ended with exit status {status}{last}; the other ranks were ended"
