"""Record a run of the model, or of your own script, and say where the time went.

    python -m profiling.launch --size small
    python -m profiling.launch --script train.py -- --epochs 1

The report lands in nsys_reports/NAME.sqlite. It is recorded by nsys where that is installed and a
CUDA device is there, else by the PyTorch profiler inside the process.
"""

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from profiling import (
    child,
    fit,
    machine,
    memory_report,
    memory_samples,
    options,
    run_facts,
)
from profiling.backward import MOST_NODES
from profiling.capture import TRACE_NAME
from profiling.errors import LaunchError, UsageError, one_line
from profiling.launch_workloads import TRAINING, RunSettings
from profiling.launch_workloads import settings as settings_of
from profiling.nsys import Nsys, check_ranges_arrived
from profiling.report_place import REPORTS, check_free, publish, scratch, shown
from profiling.settings import Settings
from profiling.torch_trace import TraceError, convert
from profiling.trace_names import recordable
from profiling.workload import PLAN_NAME, RESULT_NAME, SETTINGS_NAME


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What to record, how, and where it goes."""

    name: str
    reports: Path
    device: str
    nsys: Nsys | None
    settings: RunSettings | None
    workload: str
    script: Path | None
    arguments: tuple[str, ...]
    command: str
    overwrite: bool
    memory: bool = False

    @property
    def recorder(self) -> str:
        """``nsys`` or ``torch``."""
        return "nsys" if self.nsys else "torch"

    @property
    def report(self) -> Path:
        """Where the report goes."""
        return self.reports / f"{self.name}.sqlite"

    @property
    def recording(self) -> Path:
        """Where nsys' own file goes."""
        return self.reports / f"{self.name}.nsys-rep"


def choose_nsys(recorder: str, device: str) -> Nsys | None:
    """Return the nsys to record with, or nothing for the embedded recorder.

    Raises:
        LaunchError: nsys was asked for and is not there.
    """
    found = None if recorder == "torch" else Nsys.find()
    if recorder == "nsys" and found is None:
        raise LaunchError(
            "nsys was asked for and is not on the PATH; install Nsight Systems, name it with "
            "NSYS=, or use RECORDER=torch"
        )
    if recorder == "auto" and not device.startswith("cuda"):
        return None
    return found


def record(launch: Launch) -> None:
    """Make the report, or leave everything as it was.

    Raises:
        LaunchError: the run failed or its report cannot be kept.
    """
    with scratch(launch.reports) as folder:
        plan = {
            "recorder": launch.recorder,
            "script": str(launch.script.resolve()) if launch.script else None,
            "typed": str(launch.script),
            "workload": launch.workload,
            "device": launch.device,
            "memory": launch.memory,
        }
        (folder / PLAN_NAME).write_text(json.dumps(plan))
        if launch.settings:
            launch.settings.save(folder / SETTINGS_NAME)
        command = machine.python_command("profiling.workload", folder, "--", *launch.arguments)
        made = _under_nsys(launch, command, folder) if launch.nsys else _embedded(command, folder)
        result = child.read(folder / RESULT_NAME)
        _warn(result)
        if launch.nsys:
            nvtx = result["facts"].get("nvtx", "")
            check_ranges_arrived(made, result["pushed"], launch.nsys, nvtx)
        facts = _facts(launch, result) | _memory(launch, made, folder, result)
        run_facts.add(made, facts, _costs(launch, result))
        _keep(launch, made)


def _under_nsys(launch: Launch, command: list[str], folder: Path) -> Path:
    assert launch.nsys
    output = folder / "recording"
    log = None if launch.script else folder / "nsys.log"
    child.run(launch.nsys.profile_command(output, launch.device, command), folder, log)
    child.read(folder / RESULT_NAME)
    recording = output.with_suffix(".nsys-rep")
    if not recording.exists():
        raise LaunchError(f"nsys {launch.nsys.version} left no recording; use RECORDER=torch")
    launch.nsys.export(recording, output.with_suffix(".sqlite"))
    return output.with_suffix(".sqlite")


def _embedded(command: list[str], folder: Path) -> Path:
    child.run(command, folder)
    pushed = child.read(folder / RESULT_NAME)["pushed"]
    report, trace = folder / "recording.sqlite", folder / TRACE_NAME
    try:
        done = convert(trace, report, strict=False)
    except TraceError as error:
        if not pushed and "no operators" in str(error):
            problem = "nothing was recorded: the script ran no torch operator and opened no span"
            raise LaunchError(f"{problem}; give one that does") from None
        raise LaunchError(str(error).replace(str(trace), "the trace")) from None
    for what, count in done.unpaired.items():
        print(f"note: {count:,} payloads left out: {what}", file=sys.stderr)
    return report


def _warn(result: dict[str, Any]) -> None:
    for name, count in result["too_deep"].items():
        print(
            f"note: {count:,} ranges {one_line(name)} left out: over {MOST_NODES:,} autograd nodes",
            file=sys.stderr,
        )
    if seen := result.get("compiled"):
        every, known = sum(seen.values()), seen["one"] + seen["several"]
        print(
            f"note: compiled: {known:,} of {every:,} kernel launches stand in the ranges of their "
            f"spans, {seen['several']:,} of them in ranges of several, joined by +",
            file=sys.stderr,
        )


def _costs(launch: Launch, result: dict[str, Any]) -> list[list[object]]:
    """Return the costs of the ranges, by the names that the report has them under."""
    if launch.nsys:
        return list(result["costs"])
    return [[recordable(name), *rest] for name, *rest in result["costs"]]


def _facts(launch: Launch, result: dict[str, Any]) -> dict[str, object]:
    known: dict[str, object] = {
        "recorder": launch.recorder,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": launch.command,
        **result["facts"],
    }
    if launch.nsys:
        known["nsys"] = launch.nsys.version
    if launch.script:
        known["script"] = launch.script.name
    if launch.settings:
        known |= launch.settings.facts()
    for key in ("step_ns", "unprofiled_step_ns", "compiled"):
        if key in result:
            known[key] = result[key]
    return known


def _memory(launch: Launch, made: Path, folder: Path, result: dict[str, Any]) -> dict[str, object]:
    """Add the memory to the report, where it was recorded, and return what is noted of that."""
    if not launch.memory:
        return {}
    rows = [[recordable(name), *rest] for name, *rest in result.get("range_memory", ())]
    facts, lost = memory_report.add(made, child.read(folder / memory_samples.NOTE_NAME), rows)
    for name, count in lost.items():
        print(
            f"note: the memory at {count:,} ranges {one_line(name)} left out: not all arrived",
            file=sys.stderr,
        )
    return facts


def _keep(launch: Launch, made: Path) -> None:
    recording = made.with_suffix(".nsys-rep")
    if launch.nsys:
        publish(recording, launch.recording, launch.overwrite)
    elif launch.recording.exists() and launch.overwrite:
        launch.recording.unlink()  # of the earlier report, which this one replaces
    publish(made, launch.report, launch.overwrite)


def prepare(arguments: argparse.Namespace, command: str) -> Launch:
    """Turn the command line into what is to be done, refusing what cannot be.

    Raises:
        UsageError: it asks for something that does not exist.
        LaunchError: it asks for something this machine cannot do.
    """
    script: Path | None = arguments.script
    if script and not script.is_file():
        raise LaunchError(f"{script}: no such file; give the script to record")
    if script:
        options.check_script(arguments)
    options.check_arguments(arguments)
    workload = arguments.workload or TRAINING
    config = None if script or workload != TRAINING else options.config(arguments)
    name = options.name(arguments)
    device = machine.choose_device(arguments.device)
    settings: RunSettings | None = None
    if config:
        settings = options.settings(arguments, config, device)
    elif not script:
        settings = settings_of(arguments, device)
    launch = Launch(
        name=name,
        reports=arguments.reports,
        device=device,
        nsys=choose_nsys(arguments.recorder, device),
        settings=settings,
        workload=workload,
        script=script,
        arguments=tuple(arguments.arguments),
        command=command,
        overwrite=arguments.overwrite,
        memory=arguments.memory,
    )
    check_free(launch.report, launch.recording, overwrite=launch.overwrite)
    if isinstance(settings, Settings):
        from profiling import training  # here: beside a script its own `model` may stand

        training.check(settings)
        if not device.startswith("cuda"):
            fit.check(settings)
    return launch


def announce(launch: Launch) -> None:
    """Say on stderr what is recorded, how, and every default."""
    what = launch.settings.describe() if launch.settings else str(launch.script)
    if launch.nsys:
        how = f"nsys {launch.nsys.version}"
    elif launch.device.startswith("cuda"):
        how = "the embedded recorder (PyTorch profiler)"
    else:
        how = "the embedded recorder (PyTorch profiler) over CPU operators: no CUDA device here"
    print(f"recording {what}\nwith {how}, into {shown(launch.report)}", file=sys.stderr)
    if launch.memory and launch.script and not launch.nsys:
        alone = "of the script's main thread and autograd's alone"
        print(f"note: with --memory the PyTorch profiler records {alone}", file=sys.stderr)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let a signal end us like an interruption: the recorded process first, then what it left."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(argv: Sequence[str] | None = None) -> int:
    """Record, then print the page of answers; return the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = options.parser(__doc__ or "", REPORTS).parse_args(given)
    try:
        launch = prepare(arguments, " ".join(["python -m profiling.launch", *given]))
        announce(launch)
        with _ended_by_signals():
            record(launch)
        page = machine.python_command("analysis", shown(launch.report))
        return subprocess.run(page, env=machine.child_environment(), check=False).returncode
    except UsageError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return 2
    except LaunchError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
