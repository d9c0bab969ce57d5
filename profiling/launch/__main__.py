"""Record a run of the model, or of your own script, and say where the time went.

    python -m profiling.launch --size small
    python -m profiling.launch --size small --ranks 2 --strategy naive
    python -m profiling.launch layers --size 0.6b
    python -m profiling.launch --script train.py -- --epochs 1
    python -m profiling.launch --script train.py --ranks 2 -- --epochs 1

The report lands in nsys_reports/NAME.sqlite, its page for a browser in NAME.html beside it, whose
path is the last line printed. It is recorded by nsys where that is installed and a
CUDA device is there, else by the PyTorch profiler inside the process. Of
--ranks N each is a process, by NCCL on a GPU of its own or by gloo on the CPU, and has a report,
NAME.rank0.sqlite and so on: all of them, or none where one fails. A script of yours is run on ranks
as torchrun --nproc-per-node N runs it.

An nsys without its importer (containers and clusters often have only the half that records) leaves
NAME.qdstrm and NAME.qdstrm.json instead of a report. The run is recorded, so the status is 0, but
there is no page: `python -m profiling.complete NAME.qdstrm` makes both where the whole nsys is.
"""

import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.show.called import called
from analysis.show.sheet import say
from profiling.common import cli
from profiling.common.cli import relative_to_here
from profiling.common.progress import run_bar
from profiling.launch import naming, options
from profiling.launch.plan import Launch, is_finished
from profiling.launch.script import ScriptRun
from profiling.processes import running
from profiling.processes.failures import Subject
from profiling.processes.notes import Message, rank_folder
from profiling.processes.starting import ended_by_signals, show_page, write_page
from profiling.recorders.scratch import Scratch, named_folder

FUNCTION = "profiling.launch.recorded:run"


def record(launch: Launch) -> list[Path]:
    """Record a run and make its report, or leave everything as it was.

    Returns:
        The reports, in order of rank where there are several; where they cannot be made here, the
        recordings that `profiling.complete` makes them of.

    Raises:
        LaunchError: the run failed or its report cannot be kept.
    """
    from profiling.launch import report  # here and below: what needs torch, once words are read

    def choose(going_on: Collection[str]) -> str:
        return naming.named(launch, going_on).name

    with named_folder(launch.reports, choose) as scratch:
        launch = replace(launch, name=scratch.name)
        announce(launch)
        # A script writes to the terminal itself, and nsys about it.
        is_script = isinstance(launch.workload, ScriptRun)
        with run_bar(launch.workload.steps_in_all, at_once=not is_script) as bar:

            def on_told(rank: int, told: Message) -> None:
                if rank:
                    return
                if "step" in told:
                    bar.step()
                    return
                if not launch.recorder.talks:
                    bar.show()
                bar.phase(told["phase"])

            results = _run(launch, scratch, on_told)
            bar.show()
            return report.make(launch, scratch, results, bar)


def _run(launch: Launch, scratch: Scratch, on_told: running.OnTold) -> list[dict[str, Any]]:
    """Run the workload, in a process or one for each rank, under the recorder."""
    from profiling.launch import recorded

    folder = scratch.folder
    plan = recorded.plan(
        launch.workload, launch.recorder, folder, memory=launch.memory, shapes=launch.shapes
    )
    recorder, chosen = launch.recorder, launch.workload.ranks
    is_script = isinstance(launch.workload, ScriptRun)
    if chosen:
        from profiling.processes import ranks

        def around(rank: int, command: list[str]) -> list[str]:
            return recorder.around(command, launch.device, rank_folder(folder, rank))

        return ranks.run(
            FUNCTION,
            chosen.count,
            plan,
            timeout_s=chosen.timeout_s,
            on_told=on_told,
            command=around if recorder.talks else None,
            folder=folder,
            quiet=not is_script,
            check=scratch.check_disk,
        )
    call = running.Call(
        subject=Subject(name="the run", follows="; no report was made: run it alone to debug it"),
        function=FUNCTION,
        arguments=plan,
        folder=folder,
        scratch=folder,
        around=(lambda command: recorder.around(command, launch.device, folder))
        if recorder.talks
        else None,
        quiet=recorder.talks and not is_script,
    )
    return running.run([call], on_told=on_told, check=scratch.check_disk)


def announce(launch: Launch) -> None:
    """Say on stderr what is recorded, how, and every default."""
    how = launch.recorder.describe(launch.device)
    say(f"recording {launch.workload.describe()}\nwith {how}, into {launch.places()}")
    for lack in launch.recorder.lacks():
        say(f"note: {lack}")
    if isinstance(launch.workload, ScriptRun):
        for limit in launch.recorder.limits(memory=launch.memory):
            say(f"note: {limit}")


def show(launch: Launch, made: list[Path]) -> int:
    """Print the page of the reports, and write it for a browser; or print how they are made."""
    if not all(map(is_finished, made)):
        say(launch.recorder.how_to_complete(made))
        return 0
    status = show_page(made)
    if not status and len(made) > 1:
        reports = (str(relative_to_here(path)) for path in made)
        say("who keeps whom waiting: ", command=called("analysis.fleet", *reports))
    if not status and (before := naming.earlier_alike(launch, made[0])):
        both = (str(relative_to_here(path)) for path in (before, made[0]))
        say("to compare it with the run before: ", command=called("analysis.compare", *both))
    return status or write_page(made[0])


def main(argv: Sequence[str] | None = None) -> int:
    """Record, then print the page of answers; return the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)

    def run() -> int:
        name, arguments = options.parse(given, __doc__)
        launch = options.prepare(name, arguments, cli.command_line(options.MODULE, given))
        with ended_by_signals():
            made = record(launch)
        return show(launch, made)

    return cli.run(run)


if __name__ == "__main__":
    sys.exit(main())
