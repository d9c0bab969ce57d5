"""Runs one after another: what is there is kept, what takes too long or fails leaves its log."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.gpu.runs import Run
from profiling.common.cli import relative_to_here
from profiling.common.errors import LaunchError
from profiling.processes.running import status_of
from profiling.processes.starting import child_environment, python_command

LOG: Final = "log.txt"
MACHINE: Final = "machine.json"

MARK: Final = "SPANLIGHT_GPU_RUN"
"""The variable that all processes of a run have; its value is the folder of the run."""

_ASK: Final = """
import json, sys, torch
device = sys.argv[1]
if device.startswith("cuda") and not torch.cuda.is_available():
    sys.exit("no CUDA device is here")
from profiling.common.host import ROOT, commit
from profiling.common.machine import facts
print(json.dumps(facts(device) | commit(ROOT)))
"""


def facts(device: str) -> dict[str, str]:
    """Return what is known of this machine, by `profiling.common.machine` in a process of its own.

    Raises:
        LaunchError: it has no such device, or the interpreter no torch.
    """
    command = [sys.executable, "-P", "-c", _ASK, device]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise LaunchError(
            f"nothing is measured: {why}; "
            "make gpu FROM=gpu.tar keeps what was measured on a machine with a GPU"
        )
    known: dict[str, str] = json.loads(done.stdout)
    return known


def folder_name(known: dict[str, str]) -> str:
    """Return what the folder of a machine's results is called.

    >>> folder_name({"device_name": "NVIDIA H100 80GB HBM3"})
    'nvidia-h100-80gb-hbm3'
    """
    return re.sub("[^a-z0-9]+", "-", known["device_name"].lower()).strip("-")


def measure(runs: Sequence[Run], folder: Path, known: dict[str, str], device: str) -> list[str]:
    """Run what has no result yet, and return the names of those that failed.

    Args:
        runs: in their order.
        folder: with a folder for the results of each run that is done.
        known: the facts of the machine, kept beside each result.
        device: ``cuda``, ``cuda:N`` or ``cpu``.
    """
    failed = []
    for run in runs:
        if (folder / run.name).is_dir():
            _say(f"{run.name}: is there")
            continue
        _say(f"{run.name}: at most {run.limit_s:g} s")
        began = time.monotonic()
        if why := attempt(run, folder, known, device):
            failed.append(run.name)
        how = f"failed, {why}" if why else "done"
        _say(f"{run.name}: {how}, after {time.monotonic() - began:.1f} s")
    return failed


def attempt(run: Run, folder: Path, known: dict[str, str], device: str) -> str:
    """Run one command; keep all of its results, or the log alone where it fails or is interrupted.

    Returns:
        Why it failed, empty where it did not.
    """
    draft, kept_log = folder / f".{run.name}", folder / f"{run.name}.log"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    log = draft / LOG
    # As typed from here: a report keeps its command, and is read on other machines.
    place = relative_to_here(draft)
    filled = {"device": device, "name": run.name, "folder": place, "result": place / run.name}
    words = [word.format_map(filled) for word in shlex.split(run.command)]
    os.environ[MARK] = str(draft.resolve())
    try:
        why = _failure(python_command(*words), log, run.limit_s)
        if not why:
            (draft / MACHINE).write_text(json.dumps(known, indent=1) + "\n")
            os.replace(draft, folder / run.name)
            kept_log.unlink(missing_ok=True)
        else:
            with log.open("a") as said:
                said.write(f"{why}\n")
    finally:
        _end_what_is_left(f"{MARK}={os.environ.pop(MARK)}")
        if log.exists():
            os.replace(log, kept_log)
        shutil.rmtree(draft, ignore_errors=True)
    return why


def _failure(command: list[str], log: Path, limit_s: float) -> str:
    try:
        status = status_of(command, log, timeout_s=limit_s)
    except subprocess.TimeoutExpired:
        return f"ended at its limit of {limit_s:g} s"
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    said = last_words(log)
    return f"status {status}{f' ({said})' if said else ''}" if status else ""


def _end_what_is_left(mark: str) -> None:
    """Kill what a run has started in sessions of their own, which the end of its group leaves."""
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in environment.read_bytes().split(b"\0"):
                os.kill(int(environment.parent.name), signal.SIGKILL)
        except OSError:  # somebody else's, or gone
            continue


def last_words(log: Path) -> str:
    """Return the last line of a log, where there is one."""
    lines = log.read_text(errors="replace").split("\n") if log.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")[:200]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
