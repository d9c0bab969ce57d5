"""What becomes of the rows of the tables over attention's shapes."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from analysis.show.cli import print_notes
from analysis.show.table import Table
from profiling.common import result_file
from profiling.common.cli import write

Result = dict[str, Any]


def write_results(
    results: Sequence[Result],
    made: Table,
    arguments: argparse.Namespace,
    about: dict[str, Any],
    draw: Callable[[Sequence[Result], Path], Sequence[Path]],
) -> None:
    """Write the results in every form asked for, and say why rows are missing.

    Raises:
        LaunchError: the raw results cannot be written.
        ReportError: the table or a picture cannot be.
    """
    if arguments.json:
        result_file.write(arguments.json, {**about, "results": list(results)})
    write(made, arguments)
    if arguments.pictures:
        print_notes(*(f"picture {file}" for file in draw(results, arguments.pictures)))
    print_notes(*(result["message"] for result in results if "message" in result))
