"""How much memory was held, in which range, by whom, and whether it grows.

    python -m analysis.memory report.sqlite
    python -m analysis.memory report.sqlite --show holders --format csv

--show peaks    the most held while each range was open
--show holders  what was held at the peak, by the range that took it
--show steps    every step: what it found, held at most, and left (does it leak?)
--show saved    what one forward pass keeps for its backward pass, measured and computed

Reads what `make profile MEMORY=1` records, PyTorch traces of profile_memory=True, and nsys' own
memory events (--cuda-memory-usage=true). Warm-up is left out unless --exclude none.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from analysis.attribution import selection
from analysis.attribution.selection import Selection
from analysis.memory.tables import TABLES, Memory, all_tables, with_report_heading
from analysis.show import cli
from analysis.source.report import Report

ALL: Final = "all"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; see the module's docstring."""
    parser = cli.parser(__doc__, "analysis.memory")
    parser.add_argument(
        "--show",
        choices=(ALL, *TABLES),
        help="which table (default all; in csv, json, parquet and sqlite peaks, for they take one)",
    )
    parser.add_argument("--pictures", metavar="DIR", help="write memory over time there, as PNG")
    selection.add_options(parser)
    args = cli.parse(parser, argv)
    one = args.format in {"csv", "json", "parquet", "sqlite"}
    show = args.show or ("peaks" if one else ALL)
    if one and show == ALL:
        parser.error(f"--format {args.format} takes one table: --show {', '.join(TABLES)}")
    with Report(args.report) as report:
        found = Memory.of(report, Selection(**selection.options_of(args)))
        tables, notes = all_tables(found) if show == ALL else ([TABLES[show](found)], [])
        tables[0] = with_report_heading(tables[0], found)
        if args.pictures:
            from analysis.memory.pictures import draw

            notes += [f"picture {file}" for file in draw(found, Path(args.pictures))]
    top = args.top or (cli.TOP_OF_A_TABLE if args.format == "table" else None)
    shown = [cli.first_rows(table, top, f" of {table.name}") for table in tables]
    cli.write_tables([table for table, _ in shown], args)
    for table, more in shown:
        cli.print_notes(*table.notes, *more)
    cli.print_notes(*cli.counted_notes(tables[0], args), *notes)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
