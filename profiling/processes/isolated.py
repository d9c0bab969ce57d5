"""One measurement in a process of its own, so that its memory and its first step are its own.

    isolated.run("profiling.memory.run", {"size": "tiny", ...})

The module has a function ``measure(spec)``, which takes and returns what JSON can hold. Whatever
becomes of it, we go on: out of memory is told apart from every other failure, and the process ends
with ours, even where ours is killed.
"""

import contextlib
import resource
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from profiling.processes import running
from profiling.processes.failures import Subject
from profiling.processes.notes import SendMessage

MEASUREMENT: Final = Subject(name="the measurement")


def run(
    module: str,
    spec: dict[str, Any],
    *,
    limit_bytes: int | None = None,
    timeout_s: float | None = None,
) -> dict[str, Any]:
    """Return what ``measure(spec)`` of a module returns, called in a process of its own.

    Its output, on stdout or stderr, is not shown; where it fails, the last line is in the error.

    Args:
        module: of this project, by its full name.
        spec: whatever the module asks for; JSON must hold it.
        limit_bytes: how much memory it may take beyond what its imports took, as the address space
            grows: a thread counts with its stack and heap. None sets no limit.
        timeout_s: when it is ended; None waits for it.

    Raises:
        OutOfMemory: memory was wanting, or the system killed the process, as it does then.
        LaunchError: it failed otherwise, or took too long.
        UsageError: the module says that the spec asks for something that does not exist.
    """
    with tempfile.TemporaryDirectory(prefix="isolated-") as name:
        call = running.Call(
            subject=MEASUREMENT,
            function=f"{__name__}:measured",
            arguments={"module": module, "spec": spec, "limit_bytes": limit_bytes},
            folder=Path(name),
            scratch=Path(name),
        )
        return running.run([call], timeout_s=timeout_s)[0]


def measured(arguments: dict[str, Any], _: SendMessage) -> dict[str, Any]:
    """Return what the module's ``measure`` returns: what the process runs."""
    measure = import_module(arguments["module"]).measure
    with _limited(arguments["limit_bytes"]):
        found: dict[str, Any] = measure(arguments["spec"])
    return found


@contextlib.contextmanager
def _limited(limit_bytes: int | None) -> Iterator[None]:
    """Keep the address space from growing by more than ``limit_bytes`` while inside."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if limit_bytes is not None:
        import psutil

        most = psutil.Process().memory_info().vms + limit_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
