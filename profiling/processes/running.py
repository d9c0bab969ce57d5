"""Run functions in processes of our own, to the end of all: a measurement, a run, all of its ranks.

Each process has a folder for its notes and is a process group of its own. When one fails all are
ended, and one line says which and why; an interruption of ours ends them too.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Final

from profiling.common.errors import LaunchError
from profiling.processes.failures import LOST_A_PEER, Subject
from profiling.processes.notes import (
    FAILURE_NAME,
    LOG_NAME,
    MESSAGES_NAME,
    PLAN_NAME,
    RESULT_NAME,
    UNWRITTEN_NAME,
    Message,
    read_note,
)
from profiling.processes.starting import child_environment, python_command, signals_held_back

STDERR: Final = 2
NO_ROOM: Final = "see that its disk is not full, nor a quota used up"
_POLL_S: Final = 0.05
_SETTLE_S: Final = 0.3
"""How long after the first failure others are waited for: the first seen need not be the cause."""

_CAUSE_S: Final = 5.0
"""How much longer, where those that failed only lost another: that one may be tidying up."""

GENTLY: Final = ((signal.SIGINT, 10.0), (signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0))
"""How a run is ended, and how long each signal is waited for: a script may tidy up."""

AT_ONCE: Final = ((signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0))
"""How ranks are ended: one that waits for another inside a collective hears no interruption."""

OnTold = Callable[[int, Message], None]
"""Takes the place of a process among all, and something it told."""


class NotInTime(LaunchError):
    """Processes of ours were not done when their time was up."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A function to run in a process of ours.

    Attributes:
        subject: whose failure is told of, if it fails.
        function: ``module:name`` of a `profiling.processes.notes.Function`.
        arguments: for it; what JSON holds.
        folder: for its notes; made where it is not there.
        scratch: what the process removes where its launcher was killed; ``folder`` or above it.
        environment: variables besides those of every process of ours.
        around: from the command line that runs it to the one to run: a recorder's.
        quiet: its output goes to a file, whose last line is told where it fails; else to stderr.
        label: where there is one, the lines of that file go to stderr as well, each behind it.
    """

    subject: Subject
    function: str
    arguments: Mapping[str, Any]
    folder: Path
    scratch: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    around: Callable[[list[str]], list[str]] | None = None
    quiet: bool = True
    label: str = ""


def run(
    calls: Sequence[Call],
    *,
    timeout_s: float | None = None,
    more_time: str = "give it more time, or less work",
    on_told: OnTold | None = None,
    signals: Sequence[tuple[signal.Signals, float]] = GENTLY,
    check: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Return what each function returned, called in a process each, all at once.

    Args:
        calls: in order of rank, where they are ranks.
        timeout_s: for everything, the start of the processes too; None waits.
        more_time: what to do where that was not enough.
        on_told: called in order with what each tells, as it comes.
        signals: that end what still runs, each with the seconds it is waited for.
        check: called time and again; what it raises ends all.

    Raises:
        LaunchError: one failed: an `OutOfMemory` where memory was wanting, a `NotInTime` where the
            time was up.
        UsageError: one said that its arguments ask for something that does not exist.
    """
    end_s = None if timeout_s is None else time.monotonic() + timeout_s
    running = [_Running(call) for call in calls]
    try:
        for each in running:
            each.start()
        while _watch(running, on_told):
            try:
                check()
            except BaseException:
                signals = AT_ONCE  # there is nothing to wait for
                raise
            if end_s is not None and time.monotonic() > end_s:
                raise _late(running, float(timeout_s or 0), more_time)
            time.sleep(_POLL_S)
        return [each.result() for each in running]
    except BaseException:
        _end([each.process for each in running if each.process], signals)
        for each in running:
            each.pass_on_output(whole=True)
        raise


def status_of(command: Sequence[str], log: Path, *, timeout_s: float | None = None) -> int:
    """Run a command of any kind to its end, and return its exit status.

    Args:
        command: a process group of its own, ended with ours.
        log: where its output goes.
        timeout_s: when it is ended; None waits.

    Returns:
        Its exit status; below 0 it died of that signal.

    Raises:
        TimeoutExpired: it was ended; of `subprocess`.
        OSError: it cannot be run.
    """
    with log.open("wb") as output, signals_held_back():
        process = _started(command, output, child_environment())
    try:
        return process.wait(timeout_s)
    except BaseException:
        _end([process], GENTLY)
        raise


def _started(
    command: Sequence[str], output: IO[Any] | int, environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    """Start a command in a process group of its own."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=environment,
        start_new_session=True,
    )


class _Running:
    """One process: started, heard, and told of."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.process: subprocess.Popen[bytes] | None = None
        self._heard = 0
        self._passed_on_bytes = 0

    @property
    def status(self) -> int | None:
        return self.process.poll() if self.process else None

    def start(self) -> None:
        call = self.call
        call.folder.mkdir(exist_ok=True)
        plan = {
            "function": call.function,
            "arguments": dict(call.arguments),
            "launcher": os.getpid(),
            "scratch": str(call.scratch.resolve()),
        }
        (call.folder / PLAN_NAME).write_text(json.dumps(plan))
        command = python_command("profiling.processes.process", call.folder)
        around = call.around(command) if call.around else command
        environment = child_environment() | dict(call.environment)
        with _output(call) as output, signals_held_back():
            self.process = _started(around, output, environment)

    def messages(self) -> Iterator[Message]:
        """Yield what it told since it was heard last: whole lines of a file that is written."""
        try:
            told = (self.call.folder / MESSAGES_NAME).read_text().split("\n")[self._heard : -1]
        except FileNotFoundError:
            return
        self._heard += len(told)
        for line in told:
            yield json.loads(line)

    def pass_on_output(self, *, whole: bool) -> None:
        """Write what it printed since the last time to stderr, where its lines have a label.

        Args:
            whole: whether it has ended, so that what follows the last line end is passed on too.
        """
        label = self.call.label
        if not label or self.process is None:
            return
        with (self.call.folder / LOG_NAME).open("rb") as log:
            log.seek(self._passed_on_bytes)
            printed = log.read()
        if not whole:
            printed = printed[: printed.rfind(b"\n") + 1]
        self._passed_on_bytes += len(printed)
        for line in printed.decode(errors="replace").split("\n"):
            shown = line.rstrip("\r").rpartition("\r")[2]  # a bar, as it was drawn last
            if shown:
                known = shown.startswith(label)
                print(shown if known else label + shown, file=sys.stderr, flush=True)

    @property
    def failed_ns(self) -> int | None:
        """When it left the note of its failure, or nothing where it left none."""
        note = self.call.folder / FAILURE_NAME
        return note.stat().st_mtime_ns if note.exists() else None

    @property
    def lost_a_peer(self) -> bool:
        """Whether it noted that another process was gone, whose failure came first then."""
        note = read_note(self.call.folder / FAILURE_NAME)
        return note is not None and LOST_A_PEER.search(note["message"]) is not None

    def failure(self, after: str = "") -> Exception:
        """Return the error of this process, which has failed."""
        subject, log = self.call.subject, self.call.folder / LOG_NAME
        if (self.call.folder / UNWRITTEN_NAME).exists():
            return LaunchError(f"{subject.name} could not write what it found; {NO_ROOM}")
        between = self.call.around is not None
        # What stands around the process has the last word in the log, and its own status.
        said = log.read_text(errors="replace") if log.exists() and not between else ""
        note = read_note(self.call.folder / FAILURE_NAME)
        return replace(subject, follows=after + subject.follows).died(
            note, self.status or 0, said, between=between
        )

    @property
    def is_done(self) -> bool:
        """Whether it left its result; it may still be ending."""
        return (self.call.folder / RESULT_NAME).exists()

    def result(self) -> dict[str, Any]:
        note = read_note(self.call.folder / RESULT_NAME)
        if note is None:
            raise self.failure()
        return note


@contextmanager
def _output(call: Call) -> Iterator[IO[Any] | int]:
    if call.quiet:
        with (call.folder / LOG_NAME).open("wb") as log:
            yield log
    else:
        try:
            stderr = sys.stderr.fileno()
        except (AttributeError, OSError):  # a notebook's stderr is no file of the system's
            stderr = STDERR
        yield stderr


def _watch(running: Sequence[_Running], on_told: OnTold | None) -> bool:
    """Hear what processes tell; return whether any still runs, or raise the error of the first."""
    statuses = _statuses(running, on_told)
    if any(statuses):
        if len(running) > 1:
            time.sleep(_SETTLE_S)
            _wait_for_cause(running)
        raise _blame(running, _statuses(running, on_told))
    return None in statuses


def _wait_for_cause(running: Sequence[_Running]) -> None:
    """Wait a while where all that failed did so because another process was gone."""
    until = time.monotonic() + _CAUSE_S
    while time.monotonic() < until:
        statuses = [each.status for each in running]
        failed = [each for each, status in zip(running, statuses, strict=True) if status]
        if None not in statuses or not all(each.lost_a_peer for each in failed):
            return
        time.sleep(_POLL_S)


def _statuses(running: Sequence[_Running], on_told: OnTold | None) -> list[int | None]:
    """Return the exit status of every process, None where it runs; hear what they told before."""
    statuses = [each.status for each in running]
    for place, each in enumerate(running):
        each.pass_on_output(whole=statuses[place] is not None)
        for told in each.messages():
            if on_told:
                on_told(place, told)
    return statuses


def _blame(running: Sequence[_Running], statuses: Sequence[int | None]) -> Exception:
    """Return the error of what failed first: ranks that waited for it fail too, a moment later."""
    dead = [
        each
        for each, status in zip(running, statuses, strict=True)
        if status and each.failed_ns is None
    ]
    if dead:  # it did not get to see an exception, so it is not one of those that waited
        return dead[0].failure()
    noted = [(failed_ns, each) for each in running if (failed_ns := each.failed_ns) is not None]
    causes = [one for one in noted if not one[1].lost_a_peer]
    first = min(causes or noted, key=lambda one: one[0])[1]
    gone = [each.call.subject.name for each in running if each.is_done]
    return first.failure(f", after {gone[0]} had ended" if gone else "")


def _late(running: Sequence[_Running], timeout_s: float, more_time: str) -> NotInTime:
    waiting = [each.call.subject.name for each in running if each.status is None]
    were = "were" if len(waiting) > 1 else "was"
    return NotInTime(f"{_together(waiting)} {were} not done after {timeout_s:g} s; {more_time}")


def _together(names: Sequence[str]) -> str:
    """Return names as one reads them.

    >>> _together(["rank 0", "rank 2"]), _together(["the run"])
    ('ranks 0, 2', 'the run')
    """
    if len(names) < 2:
        return "".join(names)
    kind = names[0].rpartition(" ")[0]
    return f"{kind}s {', '.join(name.rpartition(' ')[2] for name in names)}"


def _end(
    started: Sequence["subprocess.Popen[bytes]"],
    signals: Sequence[tuple[signal.Signals, float]],
) -> None:
    """End what still runs, and what any has started; a second Ctrl-C waits until that is done."""
    with signals_held_back():
        for number, grace_s in signals:
            left = [process for process in started if process.poll() is None]
            for process in left:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
            end_s = time.monotonic() + grace_s
            for process in left:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, end_s - time.monotonic()))
        for process in started:  # one that died could not end what it had started
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
