"""The report of what the PyTorch profiler left in the folder of a run. Nothing here needs torch."""

from pathlib import Path
from typing import Any, Final

from analysis.show.render import plural
from analysis.show.sheet import say
from analysis.source.trace.convert import TraceError, convert
from analysis.source.trace.source import Progress
from profiling.common.errors import LaunchError
from profiling.processes.notes import SendMessage
from profiling.processes.running import NO_ROOM
from profiling.recorders.recorder import RECORDING
from profiling.recorders.run_notes import RunNotes

TRACE_NAME: Final = "trace.json"
"""The file the PyTorch profiler leaves in the run's folder."""


def report_of_trace(
    folder: Path,
    pushed: dict[str, int],
    progress: Progress | None = None,
    *,
    empty: str = "the script ran no torch operator and opened no span; give one that does",
) -> Path:
    """Convert the trace in the folder of a run; return the report.

    Args:
        folder: of the run.
        pushed: how often each range was pushed.
        progress: told how much is done of how much.
        empty: why nothing was recorded, where that is so, and what to do.

    Raises:
        LaunchError: there is no trace, or nothing in it.
    """
    made, trace = folder / f"{RECORDING}.sqlite", folder / TRACE_NAME
    if not trace.exists():
        raise LaunchError(f"the PyTorch profiler could not write its trace; {NO_ROOM}")
    try:
        done = convert(trace, made, strict=False, progress=progress)
    except TraceError as error:
        if not pushed and "no operators" in str(error):
            raise LaunchError(f"nothing was recorded: {empty}") from None
        raise LaunchError(str(error).replace(str(trace), "the trace")) from None
    for what, count in done.unpaired.items():
        say(f"note: {plural(count, 'payload')} left out: {what}")
    return made


def make_report(arguments: dict[str, Any], _: SendMessage) -> dict[str, Any]:
    """Make the report in a process of its own: a `profiling.processes.notes.Function`.

    Args:
        arguments: ``folder``, of the run; ``notes``, the fields of `RunNotes`; ``empty``, as above.
    """
    notes = RunNotes(**arguments["notes"])
    made = report_of_trace(Path(arguments["folder"]), notes.pushed, empty=arguments["empty"])
    notes.add(made)
    return {"report": str(made)}
