"""What the tables over attention's shapes share: rows in turn, and what becomes of them."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from analysis.show.cli import print_notes
from analysis.show.table import Table
from profiling.common import result_file
from profiling.common.cli import write
from profiling.common.progress import steps_bar

Result = dict[str, Any]


class BenchmarkRow(Protocol):
    """One attention that a benchmark measures."""

    @property
    def implementation(self) -> str:
        """The implementation that computes attention."""

    @property
    def width(self) -> int:
        """Channels of a head."""

    @property
    def length(self) -> int:
        """Positions of the sequence."""


R = TypeVar("R", bound=BenchmarkRow)


def measure_rows(
    every: Sequence[R], measured: Callable[[R], Result], finish: Callable[[Sequence[Result]], None]
) -> list[Result]:
    """Return the results of all rows; an interruption finishes with those that are done."""
    results: list[Result] = []
    try:
        with steps_bar(len(every)) as bar:
            for row in every:
                results.append(measured(row))
                bar.done(f"{row.implementation}, width {row.width}, length {row.length}", 0)
    except KeyboardInterrupt:
        if results:
            print_notes(f"interrupted: {len(results)} of {len(every)} rows are done")
            finish(results)
        raise
    finish(results)
    return results


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
