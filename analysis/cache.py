"""The columns of large reports that are kept between commands, so that each is read once.

    python -m analysis.cache
    python -m analysis.cache --clear

Of reports from 50 MB on, what an answer needs is kept in the user's cache folder, 10 GB at most:
those that were not used for longest go. SPANLIGHT_CACHE=off keeps nothing, SPANLIGHT_CACHE=all
keeps reports of any size.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import numpy as np

from analysis.show import cli
from analysis.show.command import Parser
from analysis.show.errors import CommandError, reason
from analysis.show.render import plural, scaled
from analysis.show.sheet import say
from analysis.show.table import Table
from analysis.source.column_cache import cache_folder, clear, kept_reports

FORMATS: Final = ("table", "csv", "json", "markdown")


def kept() -> Table:
    """Return one row per report that columns are kept of, that which was used last first.

    Returns:
        ``report`` (its path), ``bytes``, ``used`` (local time, ISO 8601).
    """
    found = kept_reports()
    total = scaled(sum(each.bytes for each in found), "B")
    return Table(
        name="cache",
        columns={
            "report": [each.report for each in found],
            "bytes": np.array([each.bytes for each in found], np.int64),
            "used": [
                datetime.fromtimestamp(each.used_s).astimezone().isoformat(timespec="seconds")
                for each in found
            ],
        },
        heading=f"{total} of {plural(len(found), 'report')} in {cache_folder()}",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is kept, or throw it away; see the module's docstring."""
    parser = Parser("analysis.cache", __doc__)
    parser.add_argument(
        "--format", choices=FORMATS, default=FORMATS[0], help="how to write it (default table)"
    )
    parser.add_argument("--clear", action="store_true", help="throw everything away")
    args = parser.parse_args(argv)
    if not args.clear:
        cli.write_table(kept(), args.format, sys.stdout)
        return 0
    found = kept_reports()
    try:
        clear()
    except OSError as error:
        raise CommandError(f"{cache_folder()}: cannot be emptied ({reason(error)})") from None
    total = scaled(sum(each.bytes for each in found), "B")
    say(f"note: thrown away: columns of {plural(len(found), 'report')}, {total}")
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
