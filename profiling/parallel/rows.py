"""Rows that ranks measure together: how they are started, and how a command over them ends."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from analysis.show.render import are, plural
from analysis.show.table import Table
from profiling.common import cli, result_file
from profiling.common.errors import LaunchError
from profiling.common.progress import StepsBar, steps_bar
from profiling.processes import ranks
from profiling.processes.running import OnTold

DONE: Final = "ok"
NOT_MEASURED: Final = "not measured"


class Row(Protocol):
    """What is measured: its status is `DONE`, or why there is nothing."""

    status: str


def run_ranks(
    function: str,
    count: int,
    backend: str,
    plan: Mapping[str, Any],
    arguments: argparse.Namespace,
    on_told: OnTold,
) -> list[dict[str, Any]]:
    """Run a function of `profiling.parallel`, ``module:name``, on some ranks, as `ranks.run` does.

    Args:
        function: what each rank runs.
        count: of ranks.
        backend: by which they communicate.
        plan: for the function, the backend and the limit of time aside.
        arguments: with those of `profiling.parallel.options.RankTiming`.
        on_told: called with what each rank tells.
    """
    return ranks.run(
        f"profiling.parallel.{function}",
        count,
        {**plan, "backend": backend, "timeout_s": arguments.timeout},
        timeout_s=arguments.timeout,
        port=arguments.port or 0,
        on_told=on_told,
    )


def measure_rows(
    rows: Sequence[Row],
    measure: Callable[[StepsBar], None],
    table: Callable[[], Table],
    content: Callable[[], dict[str, Any]],
    arguments: argparse.Namespace,
    *,
    steps: int,
    what: tuple[str, str],
) -> int:
    """Measure rows, and write what was found, after an interruption too; return the exit status.

    Args:
        rows: to be measured.
        measure: fills them in.
        table: makes the table of them.
        content: makes what the JSON file holds.
        arguments: with those of `profiling.common.cli.add_output`.
        steps: how often the progress bar moves.
        what: one of the rows is called, and several.

    Raises:
        LaunchError: none could be measured.
    """
    interrupted = False
    try:
        with steps_bar(steps) as bar:
            measure(bar)
    except KeyboardInterrupt:
        interrupted = True
    done = sum(row.status == DONE for row in rows)
    if not done and not interrupted:
        raise LaunchError(f"nothing could be measured: {rows[0].status}")
    if arguments.json:  # first, because it is whole whatever becomes of what is printed
        result_file.write(arguments.json, content())
    cli.write(table(), arguments)
    if interrupted:
        return cli.failed(
            f"interrupted; {done} of {plural(len(rows), *what)} {are(len(rows))} measured", 130
        )
    return 0
