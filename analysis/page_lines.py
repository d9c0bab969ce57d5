"""The lines on top of the page: the run, and how far to trust what was recorded of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis import idle
from analysis.gaps import heading
from analysis.mfu import mfu, step_times
from analysis.render import duration, percent

if TYPE_CHECKING:
    from analysis.attribution import Attribution
    from analysis.report import Report

Times = npt.NDArray[np.float64]

MOST_DIGITS: Final = 18

RUN_KEYS: Final = (
    ("size", "num_layers", "d_model", "d_ff", "num_heads", "vocab_size", "parameters"),
    ("mode", "batch", "context", "dtype", "attention", "steps", "warmup", "script"),
    ("recorder", "torch", "nvtx", "nsys", "cuda", "driver", "commit", "date"),
    ("missing",),
)
"""What the page tells of a run, by line."""


def run_lines(report: Report) -> list[str]:
    """Return what the launcher noted of the run."""
    lines = [
        " · ".join(f"{key} {grouped(report.run[key])}" for key in keys if told(report.run.get(key)))
        for keys in RUN_KEYS
    ]
    return [line for line in lines if line]


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


def trust_lines(report: Report, found: Attribution) -> list[str]:
    """Return how far to trust the rest: coverage, the cost of recording, spread, warm-up."""
    work = found.work
    what = (
        "CPU operators, by self time (no GPU kernels in this report)" if work.on_cpu else "kernels"
    )
    total = int(work.duration_ns.sum())
    lines = [f"ranked: {len(work.kind):,} {what}, {duration(total)} in all"]
    if len(found.ranges):
        inside = int(work.duration_ns[found.placed].sum())
        unknown = int((~found.launches.known).sum())
        lines[0] += f"; {percent(inside / max(total, 1))} of it launched inside a range"
        if unknown:
            lines[0] += f", {unknown:,} without a recorded launch"
    if len(found.warmup):
        left_out = int(work.duration_ns[found.work_in_warmup].sum())
        lines.append(
            f"warm-up left out below: {plural(len(found.warmup), 'step')}, {duration(left_out)}, "
            f"{percent(left_out / max(total, 1))} of the work"
        )
    return [*lines, *step_lines(report), *utilisation(report, found)]


def step_lines(report: Report) -> list[str]:
    """Return the spread of the steps' times, recorded beside not recorded."""
    recorded = step_times(report, "step_ns")
    if not len(recorded):
        return []
    lines = [f"step, recorded: {spread(recorded)}"]
    bare = step_times(report, "unprofiled_step_ns")
    if len(bare):
        lines.append(f"step, not recorded: {spread(bare)}: {cost(recorded, bare)}")
    return lines


def cost(recorded: Times, bare: Times) -> str:
    """Return what recording cost a step, and whether that is more than noise."""
    if min(len(recorded), len(bare)) < 2:
        return "too few steps to tell what recording costs"
    more = float(np.median(recorded) / np.median(bare)) - 1
    line = f"recording cost {more * 100:+.1f} %"
    overlap = recorded.min() <= bare.max() and bare.min() <= recorded.max()
    return f"{line}, no more than steps differ among themselves" if overlap else line


def spread(times: Times) -> str:
    """Return the median of some times and how far they lie apart."""
    ends = f"{duration(float(times.min()))} to {duration(float(times.max()))}"
    return f"median {duration(float(np.median(times)))} ({ends}, {plural(len(times), 'step')})"


def plural(count: int, word: str) -> str:
    """Return a count with its word.

    >>> plural(1, "step"), plural(3, "step")
    ('1 step', '3 steps')
    """
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def utilisation(report: Report, found: Attribution) -> list[str]:
    """Return the model FLOPs utilisation, and how long each GPU was idle; what is known of them."""
    used = mfu(report)
    lines = [used.describe()] if used else []
    if not found.work.on_cpu:
        gaps = idle.of(report)
        every = np.ones(len(gaps.duration_ns), np.bool_)
        idle_lines = heading(gaps, every) if gaps.places else ()
        warm = " (warm-up included)" if len(found.warmup) else ""
        lines += [f"{line}{warm}" for line in idle_lines]
    return lines
