"""How much memory a model takes, when, and for what: measured, beside what is computed.

    python -m profiling.memory --size small --contexts 128,256,512 --dtypes float32,bfloat16
    python -m profiling.memory --size tiny --device cpu --show spans --format csv

Every configuration runs in a process of its own: a forward pass for no gradient, then a step. What
does not fit reads OOM, and the others go on. Peaks are of what tensors hold, told by torch's
allocator at every change, on a GPU and on a CPU; libraries' own memory is not in them. Bytes saved
for backward are counted by hooks on saved tensors, each storage once, in the range that keeps it
first; the computed figures are those of model/memory.py, for eager attention.

--show peaks   the most held in inference, forward, backward, optimizer, and the whole step
--show parts   parameters, gradients, optimizer state, activations: measured and computed
--show spans   bytes saved for backward, range by range
--show largest the five largest contributors to those
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

from analysis.show import pictures
from analysis.show.render import plural
from analysis.show.table import Table
from profiling.common.cli import (
    Parser,
    add_device,
    add_limit,
    add_output,
    check_outputs,
    command_line,
    count,
    memory_advice,
    run,
)
from profiling.common.errors import UsageError
from profiling.common.machine import choose_device
from profiling.common.measuring import Measurement, Result
from profiling.common.options import ByDevice, add_options, chosen, combinations, listed
from profiling.common.settings import IMPLEMENTATION, PRECISIONS, ModelShape, Settings
from profiling.memory.pictures import draw
from profiling.memory.tables import TABLES, outcome
from profiling.processes import isolated
from profiling.processes.attempts import FAILED, attempt

MODULE: Final = "profiling.memory"
ALL: Final = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Configurations:
    """What is combined: each is a list on the command line."""

    precision: tuple[str, ...] = listed(("float32",), "--dtypes", choices=tuple(PRECISIONS))
    context: tuple[int, ...] = listed(
        ByDevice((128, 256, 512), cpu=(128,)), "--contexts", "positions", read=count
    )


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = Parser(MODULE, __doc__)
    what = made.add_argument_group("what to run")
    add_options(what, ModelShape)
    add_options(what, Configurations)
    add_options(what, Settings, "batch", "mode", "seed", *IMPLEMENTATION)
    add_device(what)
    add_limit(what)
    add_output(
        made,
        json="everything measured, raw",
        pictures="memory over time, phases marked; the peaks",
    )
    made.add_argument(
        "--show",
        choices=(ALL, *TABLES),
        help="which table (default: all; in csv and json peaks, for they hold one)",
    )
    made.add_argument(
        "--snapshots",
        type=Path,
        metavar="DIR",
        help="the allocator's history of a step, for pytorch.org/memory_viz (GPU)",
    )
    return made


def every_settings(arguments: argparse.Namespace, device: str) -> list[Settings]:
    """Return the configurations, in order of dtype and context.

    Raises:
        UsageError: no such size, or an impossible shape.
    """
    config = chosen(ModelShape, arguments).config
    return [
        chosen(Settings, arguments, config=config, device=device, **each, **PRECISIONS[precision])
        for each in combinations(chosen(Configurations, arguments, device=device))
        for precision in [each.pop("precision")]
    ]


def check(arguments: argparse.Namespace, device: str) -> None:
    """Refuse what cannot be done, before any work.

    Raises:
        UsageError: options that do not go together.
        LaunchError: a file or folder that cannot be written.
    """
    on_gpu = device.startswith("cuda")
    if arguments.snapshots and not on_gpu:
        raise UsageError("--snapshots are of CUDA's allocator; on a CPU use --pictures")
    if arguments.limit and on_gpu:
        raise UsageError("--limit is of a CPU's memory; on a GPU leave it out")
    if arguments.show == ALL and arguments.format in {"csv", "json"}:
        raise UsageError(f"{arguments.format} holds one table; give --show {', '.join(TABLES)}")
    check_outputs(arguments)
    if arguments.snapshots:
        pictures.make_folder(arguments.snapshots)


def measure_configuration(settings: Settings, arguments: argparse.Namespace) -> Result:
    """Measure one configuration in a process of its own; a failure becomes a result too."""
    fields = asdict(settings)
    name = f"memory-{settings.size}-{settings.precision}-{settings.context}.pickle"
    spec = {
        "settings": fields,
        "timeline": bool(arguments.pictures or arguments.json),
        "snapshot": arguments.snapshots and str((arguments.snapshots / name).resolve()),
    }
    measure = partial(isolated.run, "profiling.memory.run", spec, limit_bytes=arguments.limit)
    return attempt(measure).result({"settings": fields}, name_of(settings))


def name_of(settings: Settings) -> str:
    """Return what tells a configuration from the others."""
    return f"{settings.precision}, context {settings.context}"


def tables(results: Sequence[Result], arguments: argparse.Namespace) -> list[Table]:
    """Return the tables that are asked for; of all, those that have rows."""
    one = arguments.format in {"csv", "json"}
    show = arguments.show or ("peaks" if one else ALL)
    made = [table(results) for name, table in TABLES.items() if show in {ALL, name}]
    return [table for table in made if len(table) or show != ALL]


def notes(results: Sequence[Result]) -> Iterator[str]:
    """Yield what is odd about each result."""
    for result in results:
        if unasked := result.get("unasked_nodes"):
            nodes = plural(unasked, "autograd node was", "autograd nodes were")
            yield f"{nodes} too many to ask; their operators are unknown"
        if leaked := result.get("leaked_bytes"):
            yield f"the step ended with {leaked:+,} bytes against its start: something stays behind"


@memory_advice()
def main(argv: Sequence[str] | None = None) -> int:
    """Measure all configurations; return exit status 1 where one failed, but not out of memory."""
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = parser().parse_args(given)
    device = choose_device(arguments.device)
    every = every_settings(arguments, device)
    check(arguments, device)
    measurement = Measurement(
        kind="memory",
        command=command_line(MODULE, given),
        device=device,
        arguments=arguments,
        tables=lambda results: tables(results, arguments),
        draw=draw,
        notes=notes,
        doing="measuring",
        what="configuration",
    )
    results = measurement.run(
        every,
        lambda settings: measure_configuration(settings, arguments),
        name_of,
    )
    return 1 if any(outcome(result) == FAILED for result in results) else 0


if __name__ == "__main__":
    sys.exit(run(main))
