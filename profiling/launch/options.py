"""The command line of `profiling.launch`: the workload's own options, and how it is recorded."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from analysis.show import nsys_program
from analysis.show.called import option
from profiling.common import machine
from profiling.common.cli import Parser, add_device
from profiling.common.errors import UsageError
from profiling.common.workload import Workload
from profiling.launch import workloads
from profiling.launch.plan import Launch, earlier
from profiling.launch.workloads import OF_A_SCRIPT, SCRIPT, TRAINING, WORKLOADS
from profiling.recorders.recorder import AUTO, RECORDERS, choose_recorder
from profiling.recorders.report_files import REPORTS, check_free

MODULE: Final = "profiling.launch"
LONGEST_NAME: Final = 100
_OF_MEMORY: Final = (TRAINING, SCRIPT)
"""The workloads whose memory can be recorded too."""


def parser(name: str, doc: str | None) -> Parser:
    """Return the parser of a workload."""
    kind = workloads.load(name)
    about = (doc or "").strip() if name == TRAINING else f"Record {WORKLOADS[name][1]}."
    made = Parser(MODULE, f"{about}\n\n{_all_workloads(name)}")
    what = made.add_argument_group(f"what to run: {WORKLOADS[name][1]}")
    kind.add_to(what)
    if name != SCRIPT:  # never read here: `workloads.split` hands it to the script's own parser
        what.add_argument("--script", metavar="FILE", help="record this instead; its ARGS after --")
    how = made.add_argument_group("how to record it")
    add_device(how)
    how.add_argument(
        "--recorder",
        choices=(AUTO, *RECORDERS),
        default=AUTO,
        help="auto: nsys where it is installed and the device is CUDA, else torch (default: auto)",
    )
    nsys_program.add_option(how)
    how.add_argument(
        "--name",
        help="of the report (default: the size, or the script's name; with a number where it is "
        "taken)",
    )
    how.add_argument(
        "--reports", type=Path, default=REPORTS, help=f"folder (default: {REPORTS.name})"
    )
    if name in _OF_MEMORY:
        how.add_argument(
            "--memory", action="store_true", help="record what tensors hold, too; it takes longer"
        )
    how.add_argument(
        "--shapes",
        action="store_true",
        help="have nsys record operators' shapes, for FLOPs; it slows the host (torch always does)",
    )
    how.add_argument(
        "--stacks",
        action="store_true",
        help="record what the host does besides launching, too: Python functions (torch), or "
        "system calls, CPU samples and scheduling (nsys); it takes longer, and more space",
    )
    how.add_argument("--overwrite", action="store_true", help="replace an earlier report")
    return made


def _all_workloads(chosen: str) -> str:
    lines = [f"  {name:<12}{summary}" for name, (_, summary) in WORKLOADS.items()]
    return "\n".join([f"Workloads, each with options of its own ({chosen} below):", *lines])


def parse(words: Sequence[str], doc: str | None = None) -> tuple[str, argparse.Namespace]:
    """Return the workload that is asked for, and its options.

    Raises:
        UsageError: no such workload, or an option that is another's.
    """
    name, own = workloads.split(words)
    made = parser(name, doc)
    end = own.index("--") if "--" in own else len(own)
    arguments, unknown = made.parse_known_args(own[:end])
    if unknown:
        _refuse(made, name, unknown[0])
    if name == SCRIPT:
        arguments.arguments += own[end + 1 :]
    elif own[end + 1 :]:
        raise UsageError(f"{own[end + 1]!r} is no option; arguments need a {option('--script')}")
    return name, arguments


def _refuse(made: Parser, name: str, word: str) -> None:
    """Say of an option that the workload has not which one has it."""
    flag = word.partition("=")[0].replace("_", "-")
    if word in WORKLOADS:
        raise UsageError(f"{word}: the workload comes first, before its options")
    owners = [
        other
        for other in WORKLOADS
        if flag in parser(other, None)._option_string_actions  # argparse has no public list of them
    ]
    if not owners and name != SCRIPT:
        made.error(f"unrecognized arguments: {word}")
    if not owners:
        raise UsageError(f"{flag} is no option of a recording; {OF_A_SCRIPT}")
    if name == SCRIPT:
        raise UsageError(f"{flag} is of our own model; {OF_A_SCRIPT}")
    raise UsageError(f"{flag} is of {' and '.join(owners)}, not of {name}")


def prepare(name: str, arguments: argparse.Namespace, command: str) -> Launch:
    """Turn the command line into a `Launch`, refusing what cannot be recorded.

    Raises:
        UsageError: it asks for something that does not exist.
        LaunchError: it asks for something this machine cannot do.
    """
    kind = workloads.load(name)
    called = report_name(kind, arguments)
    own = arguments.name is not None
    if own and not arguments.overwrite:
        of_ranks = getattr(arguments, "ranks", None) is not None
        check_free(*earlier(arguments.reports, called, of_ranks=of_ranks), overwrite=False)
    workload = kind.read(arguments, machine.choose_device(arguments.device))
    recorder = choose_recorder(arguments.recorder, workload.device)
    recorder = recorder.with_shapes() if arguments.shapes else recorder
    launch = Launch(
        workload=workload,
        recorder=recorder.with_stacks() if arguments.stacks else recorder,
        name=called,
        base=None if own or arguments.overwrite else called,
        reports=arguments.reports,
        command=command,
        overwrite=arguments.overwrite,
        memory=getattr(arguments, "memory", False),
        shapes=arguments.shapes,
    )
    workload.check()
    return launch


def report_name(kind: type[Workload], arguments: argparse.Namespace) -> str:
    """Return the report's name.

    Raises:
        UsageError: it would be a path or a hidden file.
    """
    default = kind.report_name(arguments)
    chosen: str = default if arguments.name is None else arguments.name
    if len(chosen) > LONGEST_NAME:
        raise UsageError(f"a report's name has at most {LONGEST_NAME} characters")
    if not re.fullmatch(r"[\w][\w.+-]*", chosen):
        raise UsageError(f"a report cannot be called {chosen!r}; use letters, digits, and . _ + -")
    return chosen
