"""Hold what `benchmarks.gpu.evidence` left against what was to be shown, point by point.

    python -m benchmarks.gpu.verdict OUT
    python -m benchmarks.gpu.verdict OUT --keep benchmarks/results --samples nsys_reports

Each row holds, is missed, is not measured (and says why), or stands beside others' figures without
a goal. A missed goal is no failure of the command: the exit status stays 0. --keep writes the rows
and the tables as data, with device, driver, versions and date; --samples cuts the recordings down
to 2 MB each. What is kept is what README.md shows.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from analysis.show import cli
from analysis.show.command import failed
from analysis.show.render import visible
from analysis.show.table import Table
from benchmarks.gpu import verdict_keep
from benchmarks.gpu.verdict_answers import answers, forward
from benchmarks.gpu.verdict_attribution import attribution
from benchmarks.gpu.verdict_rows import NOT_MEASURED, Left, Row
from benchmarks.gpu.verdict_times import flash, mfu, spans, sweep
from benchmarks.text import BenchmarkError

POINTS: Final = (attribution, answers, forward, spans, flash, mfu, sweep)


def rows(left: Left) -> list[Row]:
    """Return every row of every point, in order."""
    return [each for point in POINTS for each in point(left)]


def table(found: Sequence[Row], heading: str) -> Table:
    """Return the rows: ``point, what, reached, goal, verdict, source, value``."""
    open_ = sum(each.verdict == NOT_MEASURED for each in found)
    return Table(
        "gpu_verdict",
        {
            "point": np.array([each.point for each in found], np.int64),
            "what": [each.what for each in found],
            "reached": [each.reached for each in found],
            "goal": [each.goal for each in found],
            "verdict": [each.verdict for each in found],
            "source": [each.source for each in found],
            "value": np.array([each.value for each in found], np.float64),
        },
        heading=heading,
        notes=(f"{open_} of {len(found)} rows are not measured",) if open_ else (),
        hidden=("value", "source"),
    )


def paragraphs(made: Table) -> str:
    """Return the rows as text: the verdict, what it is of, what was reached, and the goal."""
    lines = [made.heading]
    before = 0
    for each in made.rows():
        if each["point"] != before:
            before = int(each["point"])
            lines += ["", f"({before})"]
        goal = f" [{each['goal']}]" if each["goal"] else ""
        said = f"{each['verdict']}: {each['what']}: {each['reached']}{goal}"
        lines.append(textwrap.fill(visible(said), cli.width(), subsequent_indent="    "))
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the verdict, and keep it where asked; see the module's docstring."""
    reads = "the folder that benchmarks.gpu.evidence filled, OUT"
    parser = cli.parser(__doc__, "benchmarks.gpu.verdict", reads=reads)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write the data there")
    parser.add_argument("--samples", type=Path, metavar="FOLDER", help="and small reports there")
    args = cli.parse(parser, argv)
    try:
        left = Left(Path(args.report))
        found = rows(left)
        about = verdict_keep.conditions(left)
        made = table(found, verdict_keep.heading(about))
        if args.format == "table" and args.output is None and not args.top:
            sys.stdout.write(paragraphs(made))
            cli.print_notes(*made.notes)
        else:
            cli.write_answer(made, args, most=None)
        if args.keep:
            cli.print_notes(*verdict_keep.keep(left, found, about, args.keep))
        if args.samples:
            cli.print_notes(*verdict_keep.samples(left, args.samples))
    except BenchmarkError as error:
        return failed(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
