"""Run the recorded process, and see to it that it ends with us."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from profiling.errors import LaunchError
from profiling.machine import child_environment
from profiling.workload import FAILURE_NAME

_GRACE_S: Final = 10


def run(command: list[str], folder: Path, log: Path | None = None) -> None:
    """Run a command to its end; its output goes to our stderr, or to ``log``.

    It is a process group of its own, which an interruption of ours ends as a whole.

    Raises:
        LaunchError: it failed; the line says how, from the note it left where it could.
    """
    output = log.open("wb") if log else sys.stderr
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=child_environment(),
            start_new_session=True,
        )
        try:
            status = process.wait()
        except BaseException:
            _end(process)
            raise
    finally:
        if log:
            output.close()
    note = folder / FAILURE_NAME
    if note.exists():
        raise LaunchError(_failure(read(note)))
    if status:
        raise LaunchError(_crash(status, log))


def read(path: Path) -> dict[str, Any]:
    """Return a note that the process left.

    Raises:
        LaunchError: there is none, or it cannot be read.
    """
    try:
        note: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise LaunchError(
            "the run ended without leaving its result; no report was made: let it end by itself "
            "(no os._exit), and see that its disk is not full"
        ) from None
    except ValueError:
        raise LaunchError(
            f"{path.name} of the run is cut short; see that its disk is not full"
        ) from None
    return note


def _end(process: subprocess.Popen[bytes]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave it running
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(_GRACE_S)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


def _failure(note: dict[str, str]) -> str:
    what = ": ".join(part for part in (note["kind"], note["message"]) if part)
    if note["kind"] == "LaunchError":
        return note["message"]
    if (
        re.search("out of memory|can't allocate memory", what.lower())
        or note["kind"] == "MemoryError"
    ):
        return f"the run is out of memory ({what}); use a smaller model, batch or context"
    place = f" ({note['place']})" if note["place"] else ""
    return f"the workload failed with {what}{place}; no report was made: run it alone to debug it"


def _crash(status: int, log: Path | None) -> str:
    said = log.read_text(errors="replace").strip().splitlines() if log else []
    last = f" and said: {said[-1]}" if said else ""
    if status in {-signal.SIGKILL, 128 + signal.SIGKILL}:
        return (
            "the run was killed, most likely out of memory; use a smaller model, batch or context"
        )
    if status < 0:
        return f"the run died of {signal.Signals(-status).name}{last}; no report was made"
    return f"the run ended with exit status {status}{last}; no report was made"
