"""Time every combination of sizes, batches, contexts, warm-ups, modes and dtypes.

    python -m profiling.sweep --sizes small,medium --contexts 128,512
    python -m profiling.sweep --sizes tiny,small --warmups 0,1,2,5 --explain

Every row is a process of its own. A row that runs out of memory reads OOM, and the others go on.
Finished rows are kept in --results with their raw times; a sweep that was interrupted goes on from
there. MFU is the share of the peak that profiling.benchmark prints, empty where no peak is known.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from analysis.show.cli import print_notes
from analysis.show.render import visible
from profiling.common.cli import check_outputs, command_line, memory_advice, run, write
from profiling.common.machine import device_name
from profiling.common.progress import steps_bar
from profiling.common.settings import Settings
from profiling.processes import isolated
from profiling.processes.attempts import FAILED, attempt
from profiling.sweep import plan as sweep_plan
from profiling.sweep.explain import explained
from profiling.sweep.plan import Plan
from profiling.sweep.store import Store, SweepRow, open_store
from profiling.sweep.table import label, table

MODULE = "profiling.sweep"


def measure(plan: Plan, store: Store, command: str) -> tuple[list[SweepRow], int]:
    """Measure the rows of a plan; return them, and how many were there already.

    What a row asks for and this machine cannot do is that row's failure; it is tried again by the
    next sweep, as a row that ran out of memory is not.

    Raises:
        LaunchError: a finished row cannot be kept.
    """
    rows: list[SweepRow] = []
    taken = 0
    with steps_bar(len(plan.rows)) as bar:
        for settings in plan.rows:
            began = time.perf_counter_ns()
            row = None if plan.restart else store.find(settings)
            if row is None or not row.stands(plan.limit_bytes):
                row = _measured(settings, plan, store, command)
                store.add(row)
            else:
                taken += 1
            rows.append(row)
            bar.done(label(row), time.perf_counter_ns() - began)
    return rows, taken


def _measured(settings: Settings, plan: Plan, store: Store, command: str) -> SweepRow:
    fields = asdict(settings)
    spec: dict[str, Any] = {"settings": fields, "command": command}
    limit = plan.limit_bytes
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


def _heading(plan: Plan) -> str:
    first = plan.rows[0]
    variants = ", ".join([f"{first.attention} attention", *first.variants])
    return (
        f"{device_name(first.device)}: {_batches(plan)}, {first.steps} steps a row, {variants}\n"
        "Total is everything a step of the mode does"
    )


def _batches(plan: Plan) -> str:
    sizes = dict.fromkeys(str(row.batch) for row in plan.rows)
    return f"batch{'es' if len(sizes) > 1 else ''} {', '.join(sizes)}"


@memory_advice()
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return the exit status: 1 if a row failed."""
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = sweep_plan.parser(MODULE, __doc__).parse_args(given)
    plan = sweep_plan.plan(arguments)
    check_outputs(arguments)
    with open_store(plan.results, plan.rows[0].device) as store:
        rows, taken = measure(plan, store, command_line(MODULE, given))
    notes = []
    if taken:
        notes.append(
            f"{taken} of {len(rows)} rows were measured before and stand in {plan.results}; "
            "--restart measures them again"
        )
    write(table(rows, _heading(plan), notes), arguments)
    if arguments.explain:
        print("\n".join(["", *explained(rows)]))
    if arguments.pictures:
        from profiling.sweep.pictures import draw

        print_notes(*(f"picture {visible(str(path))}" for path in draw(rows, arguments.pictures)))
    return 1 if any(row.status == FAILED for row in rows) else 0


if __name__ == "__main__":
    sys.exit(run(main))
