"""What a recorded process left, made into a report that explains itself."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from profiling.backward import MOST_NODES
from profiling.capture import TRACE_NAME
from profiling.errors import LaunchError, one_line
from profiling.nsys import Nsys
from profiling.torch_trace import TraceError, convert
from profiling.trace_names import recordable

if TYPE_CHECKING:
    from profiling.launch import Launch

RECORDING: Final = "recording"
"""What the report, and nsys' own file, are called in the folder of a run."""


def exported(nsys: Nsys, folder: Path) -> Path:
    """Return the report made of what nsys recorded in a run's folder.

    Raises:
        LaunchError: nsys recorded nothing, or cannot export it.
    """
    recording = folder / f"{RECORDING}.nsys-rep"
    if not recording.exists():
        raise LaunchError(f"nsys {nsys.version} left no recording; use RECORDER=torch")
    nsys.export(recording, recording.with_suffix(".sqlite"))
    return recording.with_suffix(".sqlite")


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


def costs(launch: "Launch", result: dict[str, Any]) -> list[list[object]]:
    """Return the costs of the ranges, by the names that the report has them under."""
    if launch.nsys:
        return list(result["costs"])
    return [[recordable(name), *rest] for name, *rest in result["costs"]]


def facts(launch: "Launch", result: dict[str, Any]) -> dict[str, object]:
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
    for key in ("step_ns", "unprofiled_step_ns", "compiled"):
        if key in result:
            known[key] = result[key]
    return known
