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
from pathlib import Path

from analysis.show.errors import one_line
from analysis.show.interrupts import Interruptible
from profiling.common import machine, memory_fit
from profiling.common.cli import relative_to_here
from profiling.common.errors import LaunchError, UsageError
from profiling.common.settings import Settings
from profiling.launch import options, report
from profiling.launch import ranks as launch_ranks
from profiling.launch.plan import Launch, choose_nsys
from profiling.launch.workloads import MODULES, TRAINING, RunSettings, workload_settings
from profiling.processes import child
from profiling.processes.notes import PLAN_NAME, RESULT_NAME, SETTINGS_NAME
from profiling.processes.starting import ended_by_signals, python_command, show_page
from profiling.recorders.report_files import REPORTS, check_free, files_of, scratch_folder


def record(launch: Launch) -> list[Path]:
    """Record a run and make its report, or leave everything as it was.

    Returns:
        The reports, in order of rank where there are several; where nsys cannot make them here,
        the recordings that `profiling.complete` makes them of.

    Raises:
        LaunchError: the run failed or its report cannot be kept.
    """
    if launch.ranks:
        return launch_ranks.record(launch)
    with scratch_folder(launch.reports) as folder:
        plan = {
            "recorder": launch.recorder,
            "script": str(launch.script.resolve()) if launch.script else None,
            "typed": str(launch.script),
            "module": MODULES[launch.workload],
            "device": launch.device,
            "memory": launch.memory,
        }
        (folder / PLAN_NAME).write_text(json.dumps(plan))
        if launch.settings:
            launch.settings.save(folder / SETTINGS_NAME)
        command = python_command("profiling.launch.recorded", folder, "--", *launch.arguments)
        made = _under_nsys(launch, command, folder) if launch.nsys else _embedded(command, folder)
        result = child.read_note(folder / RESULT_NAME)
        report.warn(result)
        report.finish(made, report.notes(launch, result, folder))
        return [report.keep(made, launch.stem, launch.overwrite)]


def _under_nsys(launch: Launch, command: list[str], folder: Path) -> Path:
    assert launch.nsys
    output = folder / report.RECORDING
    log = None if launch.script else folder / "nsys.log"
    child.run(launch.nsys.profile_command(output, launch.device, command), folder, log)
    child.read_note(folder / RESULT_NAME)
    return report.exported(launch.nsys, folder)


def _embedded(command: list[str], folder: Path) -> Path:
    child.run(command, folder)
    return report.converted(folder, child.read_note(folder / RESULT_NAME)["pushed"])


def prepare(arguments: argparse.Namespace, command: str) -> Launch:
    """Turn the command line into a `Launch`, refusing what cannot be recorded.

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
    config = None if script or workload != TRAINING else options.model_config(arguments)
    name = options.report_name(arguments)
    device = machine.choose_device(arguments.device)
    settings: RunSettings | None = None
    ranks = None if script or workload != TRAINING else launch_ranks.choose_ranks(arguments, device)
    if config:
        settings = options.training_settings(arguments, config, device)
    elif not script:
        settings = workload_settings(arguments, device)
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
    taken = launch_ranks.earlier_reports(launch) if ranks else files_of(launch.stem)
    check_free(*taken, overwrite=launch.overwrite)
    if isinstance(settings, Settings):
        from profiling.training import training  # here: beside a script its own `model` may stand

        training.check(settings)
        if ranks:
            launch_ranks.check_memory(settings, ranks)
        elif not device.startswith("cuda"):
            memory_fit.check(settings)
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
    where = ", ".join(str(relative_to_here(path)) for path in launch.made)
    print(f"recording {what}\nwith {how}, into {where}", file=sys.stderr)
    if launch.memory and launch.script and not launch.nsys:
        alone = "of the script's main thread and autograd's alone"
        print(f"note: with --memory the PyTorch profiler records {alone}", file=sys.stderr)


def show(launch: Launch, made: list[Path]) -> int:
    """Print the page of the reports, or how they are made where there are none yet."""
    if all(map(report.is_finished, made)):
        return show_page(made)
    assert launch.nsys
    print(report.how_to_finish(launch.nsys, made), file=sys.stderr)
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
