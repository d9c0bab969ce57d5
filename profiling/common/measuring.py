"""Rows that are measured one after another, and what becomes of what was found."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from analysis.show.cli import print_notes, write_tables
from analysis.show.render import are, plural
from analysis.show.sheet import say
from analysis.show.table import Table
from profiling.common import result_file
from profiling.common.progress import steps_bar

T = TypeVar("T")

Result = dict[str, Any]
"""What was measured of a row; ``message`` says why there is nothing, or what to think of it."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a command measures, and how it shows that.

    Attributes:
        kind: of result file.
        command: as it was typed.
        device: it measures on.
        arguments: of the command, with those of `profiling.common.cli.add_output`.
        tables: makes its tables of results.
        draw: writes its pictures of results into a folder, and returns the files.
        notes: says what else there is to say of results.
        doing: to its rows, in a word.
        what: one of its rows is called.
    """

    kind: str
    command: str
    device: str
    arguments: argparse.Namespace
    tables: Callable[[Sequence[Result]], Sequence[Table]]
    draw: Callable[[Sequence[Result], Path], Iterable[Path]]
    notes: Callable[[Sequence[Result]], Iterable[str]] = lambda _: ()
    doing: str = "timing"
    what: str = "row"

    def run(
        self, rows: Sequence[T], measured: Callable[[T], Result], name: Callable[[T], str] = str
    ) -> list[Result]:
        """Measure every row, and write what was found; an interruption writes what is done.

        Args:
            rows: what to measure, in order.
            measured: measures one.
            name: what one is called beside the progress bar.

        Raises:
            LaunchError: the raw results cannot be written.
            ReportError: a table or a picture cannot be.
        """
        about = result_file.header(self.kind, self.command, self.device)
        say(f"{self.doing} {plural(len(rows), self.what)} on {self.device}")
        results: list[Result] = []
        try:
            with steps_bar(len(rows)) as bar:
                for row in rows:
                    results.append(measured(row))
                    bar.done(name(row), 0)
        except KeyboardInterrupt:
            if results:
                done = len(results)
                print_notes(
                    f"interrupted: {done} of {plural(len(rows), self.what)} {are(len(rows))} done"
                )
                self._write(results, about)
            raise
        self._write(results, about)
        return results

    def _write(self, results: Sequence[Result], about: dict[str, Any]) -> None:
        arguments = self.arguments
        if arguments.json:
            result_file.write(arguments.json, {**about, "results": list(results)})
        write_tables(self.tables(results), arguments)
        if arguments.pictures:
            print_notes(*(f"picture {file}" for file in self.draw(results, arguments.pictures)))
        print_notes(*(result["message"] for result in results if "message" in result))
        print_notes(*self.notes(results))
