"""The lines on top of the page: the run, and how far to trust what was recorded of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analysis.gaps import by_cause
from analysis.measures.gpu_time_split import idle_by_phase, occupations, outside
from analysis.measures.mfu import mfu
from analysis.measures.step_times import TRIMMED
from analysis.page.steps import step_lines
from analysis.show.render import duration, percent, plural

if TYPE_CHECKING:
    from analysis.measures.gpu_time_split import Occupation
    from analysis.measures.window import Measured
    from analysis.source.report import Report

MOST_DIGITS: Final = 18

RUN_KEYS: Final = (
    ("size", "num_layers", "d_model", "d_ff", "num_heads", "vocab_size", "parameters"),
    ("mode", "batch", "context", "dtype", "attention", "steps", "warmup", "script"),
    ("recorder", "torch", "nvtx", "nsys", "cuda", "driver", "commit", "date"),
    ("missing",),
)
"""What the page tells of a run, by line."""

COUNTS: Final = ("steps", "warmup")
"""What a trimmed report need not hold as many of as the run had."""

WORTH_A_LINE: Final = 0.01
"""Of a GPU's time: what lies outside the measured window is told from here on."""


def run_lines(report: Report) -> list[str]:
    """Return what the launcher noted of the run; first, that this is only a part of it."""
    cut = told(report.run.get(TRIMMED))
    lines = [trimmed_line(report)] if cut else []
    for keys in RUN_KEYS:
        here = [key for key in keys if told(report.run.get(key)) and not (cut and key in COUNTS)]
        lines.append(" · ".join(f"{key} {grouped(report.run[key])}" for key in here))
    return [line for line in lines if line]


def trimmed_line(report: Report) -> str:
    """Return what was kept of a report that `analysis.trim` wrote, and of what."""
    run = report.run
    source = run.get("trimmed_from") or "a larger report"
    had = ", ".join(f"{key} {grouped(run[key])}" for key in COUNTS if told(run.get(key)))
    return f"trimmed from {source}{f' ({had})' if had else ''}: {run[TRIMMED]}"


def told(value: str | None) -> bool:
    """Return whether there is a value to tell; a number that counts nothing real is none.

    >>> told("24"), told("python train.py"), told(""), told(None), told("9" * 6000)
    (True, True, False, False, False)
    """
    return (
        value is not None and value != "" and not (value.isdecimal() and len(value) > MOST_DIGITS)
    )


def grouped(value: str) -> str:
    """Return a whole number with its thousands apart, anything else as it is.

    >>> grouped("128625408"), grouped("2.13.0")
    ('128,625,408', '2.13.0')
    """
    return f"{int(value):,}" if value.isdecimal() else value


def trust_lines(measured: Measured) -> list[str]:
    """Return how far to trust the rest: coverage, the cost of recording, spread, warm-up."""
    report, chosen = measured.report, measured.chosen
    found, work = measured.found, measured.found.work
    what = plural(len(work), "CPU operator" if work.on_cpu else "kernel")
    if work.on_cpu:
        what += ", by self time (no GPU kernels in this report)"
    total = int(work.duration_ns.sum())
    lines = [f"ranked: {what}, {duration(total)} in all"]
    if len(found.ranges):
        inside = int(work.duration_ns[found.placed].sum())
        unknown = int((~found.launches.known).sum())
        lines[0] += f"; {percent(inside / max(total, 1))} of it launched inside a range"
        if unknown:
            lines[0] += f", {unknown:,} without a recorded launch"
    if chosen.leaves_warmup_out:
        left_out = int(work.duration_ns[found.work_in_warmup].sum())
        lines.append(
            f"warm-up left out below: {plural(len(found.warmup), 'step')}, {duration(left_out)}, "
            f"{percent(left_out / max(total, 1))} of the work"
        )
    lines += chosen.on_others
    used = mfu(report)
    whole = ", of the run it was cut from" if told(report.run.get(TRIMMED)) else ""
    lines += [*step_lines(chosen), *([used.describe() + whole] if used else [])]
    return lines if work.on_cpu else [*lines, *time_lines(measured)]


def time_lines(measured: Measured) -> list[str]:
    """Return what each GPU's time went into, and where the host was while the GPUs were idle."""
    lines = [
        f"{name(measured, each)}: {duration(each.wall_ns)} measured: {each.describe()}"
        for each in occupations(measured)
    ]
    for each, rest in zip(occupations(measured), outside(measured), strict=True):
        if rest.wall_ns > WORTH_A_LINE * (each.wall_ns + rest.wall_ns):
            warm = ", warm-up included" if measured.chosen.leaves_warmup_out else ""
            lines.append(
                f"{name(measured, each)}: {duration(rest.wall_ns)} before and after that{warm}: "
                f"{rest.describe()}"
            )
    idle_ns = sum(each.idle_ns for each in occupations(measured))
    if not idle_ns:
        return lines
    phases = idle_by_phase(measured)
    parts = [f"{phase} {duration(time)}" for phase, time in phases.items()]
    lines += [f"idle {duration(idle_ns)}, with the host in: {' · '.join(parts)}"] if parts else []
    return [*lines, *(f"idle {line}" for line in by_cause(measured.idle, measured.gaps))]


def name(measured: Measured, place: Occupation) -> str:
    """Return what a GPU is called, with its process where there are several.

    Args:
        measured: the report.
        place: of the GPU.
    """
    several = len({each.process for each in occupations(measured)}) > 1
    return f"GPU {place.device}" + (f" in process {place.process}" if several else "")
