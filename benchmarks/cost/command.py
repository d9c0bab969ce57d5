"""What the commands of this folder share: options, sides that are compared, what is kept."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.conditions import RESULTS, Conditions, conditions_text
from benchmarks.samples import (
    Goal,
    Sample,
    SideTimes,
    median_and_interval,
    median_and_range,
    ratios,
)
from benchmarks.text import aligned, writable, write
from model import SIZES
from profiling.common.cli import DEVICE, Parser
from profiling.common.errors import UsageError
from profiling.common.machine import choose_device

WITHIN: Final = Goal("<= 1 %", 1.01)
COMPARED: Final = ("on top", "goal", "verdict", "control")
"""The columns behind the times of two sides."""

FEWEST: Final = 20
"""Turns of the sides, however long a step takes."""


def parser(module: str, doc: str | None, device: str | None) -> Parser:
    """Return the parser of a command that compares two sides on models.

    Args:
        module: of the command; its data goes into the file of that name.
        doc: the docstring of its module.
        device: the default; None is a GPU where there is one, else the CPU.
    """
    default = RESULTS / f"{module.rpartition('.')[2]}.json"
    made = Parser(module, doc)
    made.add_argument("--sizes", default="tiny,small", help="models (default: tiny,small)")
    made.add_argument("--seconds", type=float, default=20.0, help="for each model (default: 20)")
    where = DEVICE if device is None else f"cpu, cuda or cuda:N (default: {device})"
    made.add_argument("--device", default=device, help=where)
    made.add_argument("--json", type=Path, default=default, metavar="FILE", help="the data")
    return made


def read(made: Parser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments: ``sizes`` are a list, ``device`` is there, ``json`` can be written.

    Raises:
        BenchmarkError: it cannot.
        LaunchError: there is no such device.
    """
    args = made.parse_args(argv)
    args.sizes = args.sizes.split(",")
    if not set(args.sizes) <= set(SIZES) or not args.seconds > 0:
        made.error(f"--sizes is some of {', '.join(SIZES)}, and --seconds above 0")
    try:
        args.device = choose_device(args.device)
    except UsageError as error:
        made.error(str(error))
    writable(args.json)
    return args


def overhead(found: SideTimes, side: str, base: str) -> Sample:
    """Return the time of one side in that of another, of each turn's pair."""
    return median_and_interval(ratios(found[side], found[base]))


def overhead_text(ratio: Sample) -> str:
    """Return a ratio near 1 as what comes on top.

    >>> overhead_text(Sample(1.004, 0.999, 1.01, 9))
    '+0.40 % (-0.10 to +1.00)'
    """
    above = (ratio.middle - 1, ratio.low - 1, ratio.high - 1)
    return "{:+.2f} % ({:+.2f} to {:+.2f})".format(*(100 * part for part in above))


def compared(found: SideTimes, shown: tuple[str, str], ratio: Sample, control: Sample) -> list[str]:
    """Return the cells of two sides: their times, and `COMPARED`.

    Args:
        found: the seconds of each side.
        shown: the two whose times are shown.
        ratio: of the side that costs more to the other.
        control: of a side to itself.
    """
    times_s = (median_and_range(found[side]).middle for side in shown)
    against_goal = (overhead_text(ratio), WITHIN.words, WITHIN.verdict(ratio))
    return [*(f"{s * 1e3:.3f} ms" for s in times_s), *against_goal, overhead_text(control)]


def show(
    path: Path,
    known: Conditions,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    data: dict[str, object],
    *above: str,
) -> None:
    """Print a table below the conditions and what is ``above``; write it, and ``data`` with it."""
    print("\n\n".join(["\n".join(conditions_text(known)), *above, aligned(header, rows)]))
    lines = [dict(zip(header, row, strict=True)) for row in rows]
    write(path, {"conditions": known, "lines": lines, **data})
