"""What a recorded process left, made into a report that explains itself."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from analysis.show.called import called
from analysis.show.errors import one_line
from analysis.source.trace.convert import TraceError, convert
from profiling.common.cli import relative_to_here
from profiling.common.errors import LaunchError
from profiling.launch.plan import Launch
from profiling.names import recordable
from profiling.processes import child
from profiling.recorders import memory_samples
from profiling.recorders.capture import TRACE_NAME
from profiling.recorders.nsys import Nsys
from profiling.recorders.report_files import files_of, replace_report
from profiling.recorders.run_notes import RunNotes
from profiling.spans.backward import MOST_NODES

RECORDING: Final = "recording"
"""What the report, and nsys' own file, are called in the folder of a run."""


def exported(nsys: Nsys, folder: Path) -> Path:
    """Return the report made of what nsys recorded in a run's folder.

    Where that nsys cannot make it, this is the recording itself: a ``.qdstrm`` where there is no
    importer beside it, a ``.nsys-rep`` where it could not export that.

    Raises:
        LaunchError: nsys recorded nothing.
    """
    recording = folder / f"{RECORDING}.nsys-rep"
    stream = recording.with_suffix(".qdstrm")
    if not recording.exists():
        if stream.exists():
            return stream
        raise LaunchError(f"nsys {nsys.version} left no recording; use RECORDER=torch")
    try:
        nsys.export(recording, recording.with_suffix(".sqlite"))
    except LaunchError as error:
        print(f"note: {one_line(str(error))}", file=sys.stderr)
        recording.with_suffix(".sqlite").unlink(missing_ok=True)
        return recording
    return recording.with_suffix(".sqlite")


def is_finished(made: Path) -> bool:
    """Return whether this is a report, not a recording that waits to be completed."""
    return made.suffix == ".sqlite"


def finish(made: Path, notes: RunNotes) -> None:
    """Add the notes to a report, or keep them beside a recording.

    Raises:
        LaunchError: not all ranges are in the report.
    """
    if is_finished(made):
        notes.add(made)
    else:
        notes.keep(made)


def destinations(made: Path, stem: Path) -> dict[Path, Path]:
    """Return the files of a report, or of a recording, and where each goes; itself comes last.

    Args:
        made: it, in the folder of the run; what belongs to it lies beside it.
        stem: where it goes, without suffix.
    """
    beside = files_of(made.with_suffix(""))
    found = [path for path in beside if path != made and path.exists()]
    ends = {path: path.name.removeprefix(made.stem) for path in (*found, made)}
    return {path: stem.with_name(stem.name + end) for path, end in ends.items()}


def keep(made: Path, stem: Path, overwrite: bool) -> Path:
    """Give a report or recording, and all that belongs to it, their names; return its own.

    Raises:
        LaunchError: an earlier one is there, and not to be replaced.
    """
    names = destinations(made, stem)
    replace_report(names, files_of(stem), overwrite)
    return names[made]


def how_to_finish(nsys: Nsys, recordings: Sequence[Path]) -> str:
    """Return the line that says where and how recordings are completed."""
    files = [str(relative_to_here(path)) for path in recordings]
    alone = recordings[0].suffix == ".qdstrm"
    why = "has no importer here" if alone else "could not export it here"
    return (
        f"note: recorded, and kept in {', '.join(files)}; no report and no page yet: nsys "
        f"{nsys.version} {why}. Where the whole nsys {nsys.version} is: "
        f"{called('profiling.complete', *files)}"
    )


def converted(folder: Path, pushed: dict[str, int]) -> Path:
    """Return the report made of what the PyTorch profiler left in a run's folder.

    Raises:
        LaunchError: nothing was recorded, or it cannot be converted.
    """
    report, trace = folder / f"{RECORDING}.sqlite", folder / TRACE_NAME
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


def warn(result: dict[str, Any]) -> None:
    """Say on stderr what of a run is not in its report."""
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


def costs(launch: Launch, result: dict[str, Any]) -> list[list[object]]:
    """Return the costs of the ranges, by the names that the report has them under."""
    if launch.nsys:
        return list(result["costs"])
    return [[recordable(name), *rest] for name, *rest in result["costs"]]


def facts(launch: Launch, result: dict[str, Any]) -> dict[str, object]:
    """Return what the report tells of the run: rows of TOOLKIT_RUN."""
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
    for key in ("step_ns", "unprofiled_step_ns", "compiled", "flash_tilings"):
        if key in result:
            known[key] = result[key]
    return known


def notes(
    launch: Launch, result: dict[str, Any], folder: Path, more: dict[str, str] | None = None
) -> RunNotes:
    """Return the notes that a report gets besides what was recorded.

    Args:
        result: what the recorded process left.
        folder: of the run, where it left what it noted of its memory.
        more: further facts.
    """
    memory = None
    if launch.memory:
        ranges = [[recordable(name), *rest] for name, *rest in result.get("range_memory", ())]
        memory = {"note": child.read_note(folder / memory_samples.NOTE_NAME), "ranges": ranges}
    return RunNotes(
        facts=facts(launch, result) | (more or {}),
        costs=costs(launch, result),
        pushed=result["pushed"],
        memory=memory,
    )
