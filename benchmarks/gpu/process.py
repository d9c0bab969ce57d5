"""One step of the evidence: run to its end or to its limit, and then nothing of it is left running.

A recording starts processes in sessions of their own (nsys its agent, the launcher what it
records), which the end of a process group does not reach. So each carries a mark in its
environment, and what carries it is ended, also after this process was killed and started again.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

MARK: Final = "GPU_EVIDENCE_OF"
"""The variable that marks the processes of an output folder; its value is the folder."""

GRACE_S: Final = {signal.SIGINT: 10.0, signal.SIGTERM: 5.0}
"""How long each signal is waited for: an interruption first, it lets a command keep what it has."""

_GONE_S: Final = 5.0
_POLL_S: Final = 0.05
_PROC: Final = Path("/proc")


class Ended(NamedTuple):
    """How a command ended: its exit status or what happened to it, and the seconds it took."""

    status: int | str
    seconds: float


def run(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    mark: Path,
    *,
    folder: Path,
    most_s: float,
) -> Ended:
    """Run a command, its output in a log that ends with how it ended.

    Args:
        mark: the output folder.
        folder: where it runs.
        most_s: it is ended after that.
    """
    began = time.monotonic()
    with log.open("w+b") as file:
        _write(file.fileno(), " ".join(command))
        try:
            status = _run(command, file.fileno(), {**environment, MARK: str(mark)}, folder, most_s)
        except OSError as error:
            status = f"cannot be run: {error.strerror}"
        except BaseException:
            _write(file.fileno(), f"[interrupted after {time.monotonic() - began:.1f} s]")
            raise
        finally:
            ended = end_marked(mark)
        seconds = time.monotonic() - began
        if ended:
            _write(file.fileno(), f"[{ended} processes it had left were ended]")
        said = f"status {status}" if isinstance(status, int) else status
        _write(file.fileno(), f"[{said}, {seconds:.1f} s]")
    return Ended(status, seconds)


def _write(file: int, line: str) -> None:
    # Straight to the end of the file: the command writes there, too, and may leave a line open.
    end = os.lseek(file, 0, os.SEEK_END)
    open_line = end > 0 and os.pread(file, 1, end - 1) != b"\n"
    text = f"\n{line}\n" if open_line else f"{line}\n"
    os.write(file, text.encode(errors="backslashreplace"))


def last_words(log: Path) -> str:
    """Return the last line that a command left in its log; empty where it left none."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()[1:]]
    said = [line for line in lines if line and not line.startswith("[")]
    return said[-1] if said else ""


def _run(
    command: Sequence[str], log: int, environment: Mapping[str, str], folder: Path, most_s: float
) -> int | str:
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(most_s)
    except subprocess.TimeoutExpired:
        _end(process)
        return f"ended after {most_s:.0f} s"
    except BaseException:
        _end(process)
        raise


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process group; the hard way is left to `end_marked`."""
    for number, grace_s in GRACE_S.items():
        try:
            os.killpg(process.pid, number)
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            break
        break
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def end_marked(mark: Path) -> int:
    """Kill every process of an output folder that still runs; return how many there were."""
    seen: set[int] = set()
    give_up = time.monotonic() + _GONE_S
    while time.monotonic() < give_up:
        left = list(marked(mark))
        if not left:
            break
        for pid in left:
            seen.add(pid)
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        time.sleep(_POLL_S)
    return len(seen)


def marked(mark: Path) -> Iterator[int]:
    """Yield the processes that carry the mark of an output folder; not those that have ended."""
    wanted = f"{MARK}={mark}".encode()
    for folder in _PROC.glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # somebody else's, or gone
            continue
        if wanted in variables and int(folder.name) != os.getpid():
            yield int(folder.name)
