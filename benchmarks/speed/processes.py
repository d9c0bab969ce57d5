"""Whole processes, measured from outside: wall time, and the most memory they held."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.conditions import ROOT
from benchmarks.text import BenchmarkError

Command = Sequence[str]

ANEW: Final = ("env", "SPANLIGHT_CACHE=off")
"""What begins a command that reads a report as if for the first time, and keeps nothing of it."""


UNCOMPILED: Final = "PYTHONDONTWRITEBYTECODE"
"""The variable that has Python compile modules anew in every process; those installed are not."""


def keeping(folder: Path) -> Command:
    """Return what begins a command that keeps columns of a report in a folder, and maps them."""
    return ("env", "SPANLIGHT_CACHE=all", f"XDG_CACHE_HOME={folder}")


@dataclass
class Runs:
    """Every timed run of one command, in the order of the rounds.

    Attributes:
        seconds: from the start of the process to its end.
        peak_bytes: the most resident memory of it, or of the largest process it waited for.
        cpu_seconds: what it and those it waited for had of the processors, which other work on the
            machine lengthens far less than ``seconds``.
    """

    seconds: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    def add(self, seconds: float, peak_bytes: int, cpu_seconds: float) -> None:
        """Add a run."""
        self.seconds.append(seconds)
        self.peak_bytes.append(peak_bytes)
        self.cpu_seconds.append(cpu_seconds)


def measure(command: Command, folder: Path, output: Path) -> tuple[float, int, float]:
    """Run a command in a folder and return what `Runs.add` takes of it.

    The peak of a child counts what its parent held when it was made, so a process that measures
    others must be small: nothing here imports numpy.

    Raises:
        BenchmarkError: it failed.
    """
    complaints = folder / "stderr.txt"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop(UNCOMPILED, None)
    with output.open("wb") as out, complaints.open("wb") as err:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder, env=environment
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    said = complaints.read_text(errors="replace")
    check_status(process.returncode, said, " ".join(command), "run it by hand")
    return seconds, usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime


def output_of(
    command: Command, what: str, remedy: str, environment: Mapping[str, str] | None = None
) -> str:
    """Run a command that is not timed, and return what it prints.

    Raises:
        BenchmarkError: it failed; see `check_status`.
    """
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    check_status(done.returncode, done.stderr, what, remedy)
    return done.stdout.strip()


def check_status(status: int, said: str, what: str, remedy: str) -> None:
    """Refuse to go on after a command that failed.

    Raises:
        BenchmarkError: it did; what it was, the last line it said on stderr, and the remedy.
    """
    if status:
        last = (said.strip().splitlines() or [f"exit {status}"])[-1]
        raise BenchmarkError(f"{what}: {last}; {remedy}")


def contest(
    commands: Mapping[str, Command], folder: Path, rounds: int
) -> tuple[dict[str, Runs], dict[str, Path]]:
    """Run commands in turn, round after round, and every other round in reverse.

    A round that is not timed comes first: files are in memory then, and modules compiled. What
    nsys prints is not looked at here: where it fails it exits with 0 and prints nothing.

    Returns:
        ``(runs, outputs)`` by name; an output is what the command printed last.
    """
    runs = {name: Runs() for name in commands}
    outputs = {name: folder / f"{place}.out" for place, name in enumerate(commands)}
    for turn in range(rounds + 1):
        order = list(commands) if turn % 2 else list(commands)[::-1]
        for name in order:
            run = measure(commands[name], folder, outputs[name])
            if turn:
                runs[name].add(*run)
    return runs, outputs


def program(variable: str, remedy: str) -> str:
    """Return the program that an environment variable names.

    Raises:
        BenchmarkError: it names none, or is not set.
    """
    asked = os.environ.get(variable, "")
    found = shutil.which(asked)
    if found is None:
        raise BenchmarkError(f"{variable}={asked} is no program; {remedy}")
    return os.path.abspath(found)
