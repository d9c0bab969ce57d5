"""Record a run of the model, or of your own script, and say where the time went.

    python -m profiling.launch --size small
    python -m profiling.launch --size small --ranks 2 --strategy naive
    python -m profiling.launch --script train.py -- --epochs 1

The report lands in nsys_reports/NAME.sqlite. It is recorded by nsys where that is installed and a
CUDA device is there, else by the PyTorch profiler inside the process. Of
--ranks N each is a process, by NCCL on a GPU of its own or by gloo on the CPU, and has a report,
NAME.rank0.sqlite and so on: all of them, or none where one fails.

An nsys without its importer (containers and clusters often have only the half that records) leaves
NAME.qdstrm and NAME.qdstrm.json instead of a report. The run is recorded, so the status is 0, but
there is no page: `python -m profiling.complete NAME.qdstrm` makes both where the whole nsys is.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.show.interrupts import Interruptible
from profiling import (
    child,
    fit,
    launch_ranks,
    launch_report,
    machine,
    options,
)
from profiling.errors import LaunchError, UsageError, one_line
from profiling.launch_workloads import TRAINING, RunSettings
from profiling.launch_workloads import settings as settings_of
from profiling.nsys import Nsys
from profiling.processes import ended_by_signals, python_command, show_page
from profiling.report_place import REPORTS, check_free, files_of, scratch, shown
from profiling.settings import Settings
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
    ranks: launch_ranks.Ranks | None = None

    @property
    def recorder(self) -> str:
        """``nsys`` or ``torch``."""
        return "nsys" if self.nsys else "torch"

    @property
    def report(self) -> Path:
        """Where the report goes."""
        return self.stem.with_name(f"{self.name}.sqlite")

    @property
    def made(self) -> list[Path]:
        """All reports, in order of rank where there are several."""
        return launch_ranks.reports_of(self) if self.ranks else [self.report]

    @property
    def stem(self) -> Path:
        """Where the report and what belongs to it go, without suffix."""
        return self.reports / self.name


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


def record(launch: Launch) -> list[Path]:
    """Make the report, or leave everything as it was.

    Returns:
        The reports, in order of rank where there are several; where nsys cannot make them here,
        the recordings that `profiling.complete` makes them of.

    Raises:
        LaunchError: the run failed or its report cannot be kept.
    """
    if launch.ranks:
        return launch_ranks.record(launch)
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
        command = python_command("profiling.workload", folder, "--", *launch.arguments)
        made = _under_nsys(launch, command, folder) if launch.nsys else _embedded(command, folder)
        result = child.read(folder / RESULT_NAME)
        launch_report.warn(result)
        launch_report.finish(made, launch_report.notes(launch, result, folder))
        return [launch_report.keep(made, launch.stem, launch.overwrite)]


def _under_nsys(launch: Launch, command: list[str], folder: Path) -> Path:
    assert launch.nsys
    output = folder / launch_report.RECORDING
    log = None if launch.script else folder / "nsys.log"
    child.run(launch.nsys.profile_command(output, launch.device, command), folder, log)
    child.read(folder / RESULT_NAME)
    return launch_report.exported(launch.nsys, folder)


def _embedded(command: list[str], folder: Path) -> Path:
    child.run(command, folder)
    return launch_report.converted(folder, child.read(folder / RESULT_NAME)["pushed"])


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
    ranks = None if script or workload != TRAINING else launch_ranks.choose(arguments, device)
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
        ranks=ranks,
    )
    taken = launch_ranks.earlier(launch) if ranks else files_of(launch.stem)
    check_free(*taken, overwrite=launch.overwrite)
    if isinstance(settings, Settings):
        from profiling import training  # here: beside a script its own `model` may stand

        training.check(settings)
        if ranks:
            launch_ranks.check_memory(settings, ranks)
        elif not device.startswith("cuda"):
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
    if launch.ranks:
        what = f"{what}, {launch.ranks.describe()}"
    where = ", ".join(str(shown(path)) for path in launch.made)
    print(f"recording {what}\nwith {how}, into {where}", file=sys.stderr)
    if launch.memory and launch.script and not launch.nsys:
        alone = "of the script's main thread and autograd's alone"
        print(f"note: with --memory the PyTorch profiler records {alone}", file=sys.stderr)


def show(launch: Launch, made: list[Path]) -> int:
    """Print the page, or where there is no report yet, how it is made."""
    if all(map(launch_report.is_finished, made)):
        return show_page(made)
    assert launch.nsys
    print(launch_report.how_to_finish(launch.nsys, made), file=sys.stderr)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Record, then print the page of answers; return the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = options.parser(__doc__ or "", REPORTS).parse_args(given)
    try:
        with Interruptible():
            launch = prepare(arguments, " ".join(["python -m profiling.launch", *given]))
            announce(launch)
            with ended_by_signals():
                made = record(launch)
            return show(launch, made)
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
