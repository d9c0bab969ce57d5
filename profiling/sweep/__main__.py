"""Time every combination of sizes, batches, contexts, warm-ups, modes and dtypes.

    python -m profiling.sweep --sizes small,medium --contexts 128,512
    python -m profiling.sweep --sizes tiny,small --warmups 0,1,2,5 --explain

Every row is a process of its own. A row that runs out of memory reads OOM, and the others go on.
Finished rows are kept in --results with their raw times; a sweep that was interrupted goes on from
there. MFU is the share of the peak that profiling.benchmark prints, empty where no peak is known.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from analysis.show.cli import print_notes
from analysis.show.render import plural
from analysis.show.sheet import say, visible
from profiling.common.cli import check_outputs, command_line, memory_advice, run, write
from profiling.common.machine import device_name
from profiling.common.progress import steps_bar
from profiling.common.settings import Settings
from profiling.processes import isolated
from profiling.processes.attempts import FAILED, attempt
from profiling.sweep import plan
from profiling.sweep.explain import explained
from profiling.sweep.pictures import draw
from profiling.sweep.store import Store, SweepRow, open_store
from profiling.sweep.table import label, table

MODULE = "profiling.sweep"


def measure(
    every: Sequence[Settings], store: Store, command: str, arguments: argparse.Namespace
) -> tuple[list[SweepRow], int]:
    """Measure rows; return them, and how many were there already.

    What a row asks for and this machine cannot do is that row's failure; it is tried again by the
    next sweep, as a row that ran out of memory is not.

    Raises:
        LaunchError: a finished row cannot be kept.
    """
    rows: list[SweepRow] = []
    taken = 0
    with steps_bar(len(every)) as bar:
        for settings in every:
            row = None if arguments.restart else store.find(settings)
            if row is None or not row.stands(arguments.memory_limit):
                row = _measured(settings, store, command, arguments.memory_limit)
                store.add(row)
            else:
                taken += 1
            rows.append(row)
            bar.done(label(row), 0)
    return rows, taken


def _measured(settings: Settings, store: Store, command: str, limit: int | None) -> SweepRow:
    fields = asdict(settings)
    spec: dict[str, Any] = {"settings": fields, "command": command}
    tried = attempt(
        lambda: isolated.run("profiling.benchmark.isolated_run", spec, limit_bytes=limit)
    )
    return SweepRow(
        fields=fields,
        machine=store.machine,
        status=tried.status,
        reason=tried.why,
        limit_bytes=limit,
        result=tried.found,
    )


def _heading(every: Sequence[Settings]) -> str:
    first, batches = every[0], dict.fromkeys(str(row.batch) for row in every)
    variants = ", ".join([f"{first.attention} attention", *first.variants])
    return (
        f"{device_name(first.device)}: batch{'es' if len(batches) > 1 else ''} "
        f"{', '.join(batches)}, {plural(first.steps, 'step')} a row, {variants}\n"
        "Total is everything a step of the mode does"
    )


@memory_advice()
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return the exit status: 1 if a row failed."""
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = plan.parser(MODULE, __doc__).parse_args(given)
    every = list(plan.rows(arguments))
    check_outputs(arguments)
    with open_store(arguments.results, every[0].device) as store:
        rows, taken = measure(every, store, command_line(MODULE, given), arguments)
    notes = []
    if taken:
        one = taken == 1
        notes.append(
            f"{taken} of {plural(len(rows), 'row')} {'was' if one else 'were'} measured before and "
            f"{'stands' if one else 'stand'} in {arguments.results}; --restart measures "
            f"{'it' if one else 'them'} again"
        )
    write(table(rows, _heading(every), notes), arguments)
    if arguments.explain:
        say("\n".join(["", *explained(rows)]), stream=sys.stdout)
    if arguments.pictures:
        print_notes(*(f"picture {visible(str(path))}" for path in draw(rows, arguments.pictures)))
    return 1 if any(row.status == FAILED for row in rows) else 0


if __name__ == "__main__":
    sys.exit(run(main))
