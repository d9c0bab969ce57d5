"""One measurement in a process of its own, so that its memory and its first step are its own.

    isolated.run("profiling.memory.run", {"size": "tiny", ...})

The module has a function ``measure(spec)``, which takes and returns what JSON can hold. Whatever
becomes of it, we go on: out of memory is told apart from every other failure, and the process ends
with ours, even where ours is killed.
"""

import contextlib
import importlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from analysis.show.interrupts import Interruptible
from profiling.common.cli import OUT_OF_MEMORY, is_out_of_memory
from profiling.common.errors import LaunchError, OutOfMemory, UsageError
from profiling.processes import child
from profiling.processes.notes import FAILURE_NAME, RESULT_NAME, write_note
from profiling.processes.starting import python_command

SPEC_NAME: Final = "spec.json"
LOG_NAME: Final = "log.txt"
_DIED_OF_IT: Final = (
    "MemoryError",
    "bad_alloc",
    "can't start new thread",
    "Thread creation failed",
)
"""How a process says that memory was wanting when it can no longer leave a note."""

_REMEDY: Final = "use a smaller model, batch or context"


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
        folder = Path(name)
        (folder / SPEC_NAME).write_text(json.dumps({"spec": spec, "limit_bytes": limit_bytes}))
        command = python_command("profiling.processes.isolated", module, folder)
        try:
            status = child.run_for_status(
                command, folder / LOG_NAME, timeout_s=timeout_s, stdin=subprocess.PIPE
            )
        except subprocess.TimeoutExpired:
            raise LaunchError(
                f"{module} was ended after {timeout_s:g} s; {_REMEDY}, or give it more time"
            ) from None
        return _outcome(module, folder, status)


def _outcome(module: str, folder: Path, status: int) -> dict[str, Any]:
    failure = folder / FAILURE_NAME
    if failure.exists():
        raise _noted(module, json.loads(failure.read_text()))
    if status == 0 and (folder / RESULT_NAME).exists():
        result: dict[str, Any] = json.loads((folder / RESULT_NAME).read_text())
        return result
    raise _crashed(module, status, (folder / LOG_NAME).read_text(errors="replace"))


def _noted(module: str, note: dict[str, Any]) -> LaunchError | UsageError:
    """Return the error that the process left a note of."""
    if note["out_of_memory"]:
        return OutOfMemory(f"out of memory ({note['message'] or note['kind']}); {_REMEDY}")
    if note["kind"] == UsageError.__name__:
        return UsageError(note["message"])
    if note["kind"] == LaunchError.__name__:
        return LaunchError(note["message"])
    what = ": ".join(part for part in (note["kind"], note["message"]) if part)
    return LaunchError(f"{module} failed with {what} ({note['place']})")


def _crashed(module: str, status: int, said: str) -> LaunchError:
    """Return the error of a process that left no note."""
    if OUT_OF_MEMORY.search(said) or any(sign in said for sign in _DIED_OF_IT):
        return OutOfMemory(f"out of memory; {_REMEDY}")
    if status == -signal.SIGKILL:
        return OutOfMemory(f"killed, most likely out of memory; {_REMEDY}")
    how = f"died of {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    last = said.strip().splitlines()[-1:]
    return LaunchError(f"{module} {how}" + "".join(f" and said: {line}" for line in last))


def _end_with_parent(folder: Path) -> None:
    """End this process when the one that started it has gone: then our stdin closes."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(130)

    threading.Thread(target=wait, daemon=True).start()


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


def _failure(error: BaseException) -> dict[str, object]:
    frames = traceback.extract_tb(error.__traceback__)
    said = str(error).strip().splitlines()
    kind = type(error).__name__  # here this module is __main__, so its classes are others
    return {
        "kind": kind,
        "message": said[0] if said else "",
        "place": f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "",
        "out_of_memory": is_out_of_memory(error) or kind == OutOfMemory.__name__,
    }


def main(argv: list[str]) -> int:
    """Measure what the folder's spec says, and leave there the result or a note of the failure."""
    module, folder = argv[0], Path(argv[1])
    _end_with_parent(folder)
    given = json.loads((folder / SPEC_NAME).read_text())
    try:
        measure = importlib.import_module(module).measure
        with _limited(given["limit_bytes"]):
            result = measure(given["spec"])
    except Exception as error:
        traceback.print_exc()
        write_note(folder / FAILURE_NAME, _failure(error))
        return 1
    write_note(folder / RESULT_NAME, result)
    return 0


if __name__ == "__main__":
    with Interruptible():
        sys.exit(main(sys.argv[1:]))
