"""Layer times of a language model: by configuration, by part, by layer, and how they grow.

    python -m analysis.layers timing_results/timing_records.json
    python -m analysis.layers run.json --by layer --format csv
    python -m analysis.layers before.json after.json --pictures pictures

It reads what python -m profiling.model_timing writes. Times are the GPU's where it was timed, else
the host's. Without --by a table has the configurations, the parts of the longest, and how the main
parts grow; the other formats give the configurations.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.layers.groups import groups
from analysis.layers.pictures import MOST, draw
from analysis.layers.records import read
from analysis.layers.tables import QUESTIONS, Files, in_brief
from analysis.show import cli
from analysis.show.called import called
from analysis.source.json_files import about_all


def main(argv: Sequence[str] | None = None) -> int:
    """Print the layer times; see the module's docstring."""
    parser = cli.parser(
        __doc__, "analysis.layers", reads=f"records of {called('profiling.model_timing')} (.json)"
    )
    parser.add_argument("more", nargs="*", metavar="REPORT", help="further ones, kept apart")
    parser.add_argument("--by", choices=QUESTIONS, help="one answer only")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="draw them there too")
    args = cli.parse(parser, argv)
    files = {}
    for path in (args.report, *args.more):
        files[path], wrong = read(Path(path))
        cli.print_notes(*wrong)
    if args.pictures:
        drawn = groups(files if len(files) > 1 else {"": files[args.report]})
        for picture in draw(drawn, args.pictures, about_all(map(Path, files))):
            cli.print_notes(f"drawn: {picture}")
        if len(drawn) > MOST:
            cli.print_notes(
                f"the picture of parts has the first {MOST} of {len(drawn)} configurations"
            )
    _answer(args, files)
    return 0


def _answer(args: argparse.Namespace, files: Files) -> None:
    if args.by or args.format != "table":
        cli.write_answer(QUESTIONS[args.by or "configuration"](files), args, most=None)
        return
    answers = in_brief(files)
    shown = [table for table in answers if len(table)]
    cli.write_tables([cli.first_rows(table, args.top)[0] for table in shown], args)
    cli.print_notes(*(note for table in answers for note in table.notes))
    cli.print_notes("--by part, --by growth and --by layer show all of it")


if __name__ == "__main__":
    sys.exit(cli.run(main))
