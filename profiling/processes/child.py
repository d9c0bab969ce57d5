"""Run the recorded process, and see to it that it ends with us."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import DEVNULL
from typing import Any, Final

from profiling.common.errors import LaunchError
from profiling.processes.notes import FAILURE_NAME
from profiling.processes.starting import child_environment, signals_held_back

_GRACE_S: Final = 10


def run(command: list[str], folder: Path, log: Path | None = None) -> None:
    """Run a command to its end; its output goes to our stderr, or to ``log``.

    It is a process group of its own, which an interruption of ours ends as a whole.

    Raises:
        LaunchError: it failed; the line says how, from the note it left where it could.
    """
    status = run_for_status(command, log)
    note = folder / FAILURE_NAME
    if note.exists():
        raise LaunchError(_failure(read_note(note)))
    if status:
        raise LaunchError(_crash(status, log))


def run_for_status(
    command: list[str],
    log: Path | None = None,
    *,
    timeout_s: float | None = None,
    stdin: int = DEVNULL,
) -> int:
    """Run a command as `run` does, and return its exit status; below 0 it died of that signal.

    Args:
        command: a process group of its own.
        log: where its output goes; to our stderr, where there is none.
        timeout_s: when it is ended.
        stdin: as `subprocess` takes it.

    Raises:
        TimeoutExpired: it was ended; of `subprocess`.
    """
    output = log.open("wb") if log else sys.stderr
    try:
        process = None
        try:
            with signals_held_back():
                process = subprocess.Popen(
                    command,
                    stdin=stdin,
                    stdout=output,
                    stderr=output,
                    env=child_environment(),
                    start_new_session=True,
                )
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            assert process is not None, "it was started, and waited for"
            interrupted = signal.getsignal(signal.SIGINT)
            _end(process)
            signal.signal(signal.SIGINT, interrupted)  # we go on, and can be interrupted again
            raise
        except BaseException:
            if process is not None:
                _end(process)
            raise
        finally:
            if process is not None and process.stdin:
                process.stdin.close()
    finally:
        if log:
            output.close()


def read_note(path: Path) -> dict[str, Any]:
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
            process.wait()  # it has ended by itself
            return
        except subprocess.TimeoutExpired:
            continue
        return


def failure_text(note: dict[str, str]) -> str:
    """Return what a failure note says: the kind of exception and its first line."""
    return ": ".join(part for part in (note["kind"], note["message"]) if part)


def _failure(note: dict[str, str]) -> str:
    what = failure_text(note)
    if note["kind"] == "LaunchError":
        return note["message"]
    if (
        re.search("out of memory|can't allocate memory", what.lower())
        or note["kind"] == "MemoryError"
    ):
        return f"the run is out of memory ({what}); use a smaller model, batch or context"
    place = f" ({note['place']})" if note["place"] else ""
    return f"the workload failed with {what}{place}; no report was made: run it alone to debug it"


def last_line(log: Path | None) -> str:
    """Return ``and said: ...``, with the last line of a log that has one."""
    said = log.read_text(errors="replace").strip().splitlines() if log else []
    return f" and said: {said[-1]}" if said else ""


def _crash(status: int, log: Path | None) -> str:
    last = last_line(log)
    if status in {-signal.SIGKILL, 128 + signal.SIGKILL}:
        return (
            "the run was killed, most likely out of memory; use a smaller model, batch or context"
        )
    if status < 0:
        return f"the run died of {signal.Signals(-status).name}{last}; no report was made"
    return f"the run ended with exit status {status}{last}; no report was made"
