"""Run a function on several ranks of this machine, each in a process of its own.

    results = ranks.run("tests.made.parallel.cases:train", 2, {"steps": 5}, timeout_s=60)

Each process finds the variables that torchrun sets, so `model.parallel.process_group` joins them.
When one fails, all are ended, and one line says which and why.

Whoever reaches the store that ranks meet at, or a port of theirs, can read and change what they
compute: nothing there asks who it is. So all of it listens on this machine's loopback address only.
"""

import errno
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from analysis.show.called import option
from analysis.show.errors import reason
from profiling.common.errors import LaunchError, UsageError
from profiling.processes import running
from profiling.processes.failures import Subject
from profiling.processes.notes import rank_folder

HOST: Final = "127.0.0.1"
_LAST_PORT: Final = 65535
_STORE_S: Final = 3.0
_INTERFACES: Final = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
"""The variables that say by which interface ranks reach each other."""


class PortTaken(LaunchError):
    """Ranks cannot meet at the port that was asked for: none of them was started."""


Command = Callable[[int, list[str]], list[str]]
"""Takes a rank and the command line that runs it, and returns the one to run: a recorder's."""


def run(
    function: str,
    ranks: int,
    arguments: Mapping[str, Any],
    *,
    timeout_s: float | None,
    port: int = 0,
    on_told: running.OnTold | None = None,
    command: Command | None = None,
    folder: Path | None = None,
    quiet: bool = True,
    check: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Run a function on every rank, to the end of all.

    Args:
        function: ``module:name`` of a `profiling.processes.notes.Function`.
        ranks: how many.
        arguments: for the function; what JSON holds.
        timeout_s: for everything, the start of the processes too; None waits.
        port: where the ranks meet; 0 takes a free one.
        on_told: called in order with what each rank tells, as it comes.
        command: what to run in place of each rank's own command.
        folder: in which each rank has one of its own for its notes; a temporary one otherwise.
        quiet: whether what ranks print is kept from stderr; else that of rank 0 goes there as it
            is, and lines of the others behind ``[rank1]:``, as PyTorch marks them.
        check: called time and again; what it raises ends all.

    Returns:
        What the function returned on each rank.

    Raises:
        LaunchError: a rank failed, died, or was not done in time (`NotInTime`), and all are ended.
        PortTaken: somebody else listens there.
        UsageError: there is no such port.
    """
    with ExitStack() as stack:
        notes = folder or Path(stack.enter_context(TemporaryDirectory(prefix="ranks-")))
        meeting_port = stack.enter_context(_meeting_point(port))

        def call(rank: int) -> running.Call:
            return running.Call(
                subject=_subject(rank),
                function=function,
                arguments=arguments,
                folder=rank_folder(notes, rank),
                scratch=notes,
                environment=environment(rank, ranks, meeting_port),
                around=None if command is None else lambda own: command(rank, own),
                quiet=quiet or rank > 0,
                label=f"[rank{rank}]: " if rank and not quiet else "",
            )

        return running.run(
            [call(rank) for rank in range(ranks)],
            timeout_s=timeout_s,
            more_time=f"give more time with {option('--timeout')}, or less work",
            on_told=on_told,
            signals=running.AT_ONCE,
            check=check,
        )


def _subject(rank: int) -> Subject:
    return Subject(
        name=f"rank {rank}",
        remedy="use fewer ranks or less at a time",
        follows="; the other ranks were ended",
    )


def environment(rank: int, ranks: int, port: int) -> dict[str, str]:
    """Return the variables of a rank: torchrun's, and as many threads as are its share.

    OMP_NUM_THREADS stays where it is set already. Interfaces do not: a cluster's are for its nodes.
    """
    share = str(max(1, cores() // ranks))
    loopback = _loopback()
    return {
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", share),
        **{name: loopback for name in _INTERFACES if loopback},
        **dict.fromkeys(("RANK", "LOCAL_RANK", "ROLE_RANK"), str(rank)),
        **dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE", "ROLE_WORLD_SIZE"), str(ranks)),
        "GROUP_RANK": "0",
        "GROUP_WORLD_SIZE": "1",
        "ROLE_NAME": "default",
        "MASTER_ADDR": HOST,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": f"spanlight-{os.getpid()}",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_MAX_RESTARTS": "0",
        # The store is ours, as torchrun's is its own, so no port is free and then taken.
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }


def _loopback() -> str | None:
    """Return the name of the interface that leads to this machine alone."""
    import psutil

    for name, addresses in psutil.net_if_addrs().items():
        if any(each.address == HOST for each in addresses):
            return name
    return None


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

    other = "give another, or none to have a free one chosen"
    if port > _LAST_PORT:
        raise UsageError(f"there is no port {port}; {other}")
    try:
        listening = socket.create_server((HOST, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"port {port} is taken; {other}") from None
        raise LaunchError(f"port {port} cannot be used ({reason(error)}); {other}") from None
    with listening:
        # By itself the store would listen on every interface. It closes the descriptor it is given.
        store = dist.TCPStore(  # type: ignore[attr-defined]
            HOST,
            listening.getsockname()[1],
            is_master=True,
            wait_for_workers=False,
            timeout=timedelta(seconds=_STORE_S),
            master_listen_fd=os.dup(listening.fileno()),
        )
    yield int(store.port)
    del store
