"""Compare precisions: float32, TF32, bfloat16 and float16, as weights or by autocast.

    python -m profiling.precision --size small
    python -m profiling.precision --size small --mode train --precisions float32,bfloat16-autocast
    python -m profiling.precision --components

One row for each precision, measured as `python -m profiling.benchmark` does, in a process of its
own: a model of that precision, warm-up, steps. `ratio` is the mean step over that of float32, so
below 1 is faster. Peak memory is what tensors held on the GPU during the steps; on a CPU it is the
whole process's. A precision that the device has not, or that runs out of memory, keeps its row and
says so. With float16 autocast the loss is scaled, in the mode train.

--components shows, instead of times, in which number format each part of the model really runs:
that of the operands and, after an arrow, of the result where it differs, watched while a small
model takes a training step. --json keeps all that was found, raw times too. After an interruption
the rows that are done are printed, and --json leaves them in FILE.partial.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Final

from analysis.show.render import are, plural
from analysis.show.sheet import say
from profiling.benchmark.options import BenchmarkSteps, Request, add_model, request
from profiling.common import cli, result_file
from profiling.common.errors import UsageError
from profiling.common.options import add_options
from profiling.common.progress import steps_bar
from profiling.common.settings import IMPLEMENTATION, PRECISIONS, SHAPE_FIELDS, Settings
from profiling.precision.table import (
    UNAVAILABLE,
    Outcome,
    components_table,
    narrow_components,
    rounded_times,
    times_table,
)
from profiling.processes import isolated
from profiling.processes.attempts import FAILED, OK, attempt

MODULE: Final = "profiling.precision"
STEPS: Final = "profiling.benchmark.isolated_run"
COMPONENTS: Final = "profiling.precision.components"
"""What measures one precision, in a process of its own."""

OF_TIMES: Final = (
    *("size", *SHAPE_FIELDS, "rope_theta", "context_length", "batch_size"),
    *("compile", "compile_mode", "compile_scope", "checkpoint", "mode", "learning_rate"),
    *("warmup_steps", "num_steps"),
)
"""Options that --components has no use for."""


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = cli.Parser(MODULE, __doc__)
    made.add_argument(
        "--precisions",
        type=cli.comma_separated(cli.one_of(*PRECISIONS)),
        default=tuple(PRECISIONS),
        metavar="P,P",
        help=f"some of {', '.join(PRECISIONS)} (default: all)",
    )
    made.add_argument(
        "--components", action="store_true", help="show number formats by component, no times"
    )
    add_model(made.add_argument_group("the model and its input"))
    add_options(made.add_argument_group("how the model computes"), Settings, *IMPLEMENTATION)
    add_options(made.add_argument_group("what is timed"), BenchmarkSteps)
    cli.add_output(made, json="keep everything there, raw too")
    return made


def outcomes(module: str, asked: Request, precisions: Sequence[str], done: list[Outcome]) -> None:
    """Measure all precisions, each in a process of its own, into ``done``, saying how far it is."""
    with steps_bar(len(precisions)) as bar:
        for precision in precisions:
            settings = asdict(replace(asked.settings, **PRECISIONS[precision]))
            spec = {"settings": settings, "learning_rate": asked.learning_rate}
            tried = attempt(partial(isolated.run, module, spec))
            status = UNAVAILABLE if tried.status == FAILED else tried.status
            done.append(Outcome(precision, status, tried.why, tried.found))
            bar.done(precision, 0)
            if not sys.stderr.isatty():
                said = f"Completed {len(done)}/{len(precisions)}: {precision}, {status}"
                say(said)


def check_components(arguments: argparse.Namespace) -> None:
    """Refuse options that --components would ignore: its model and its step are its own.

    Raises:
        UsageError: such an option was given.
    """
    plain = parser().parse_args([])
    for option in OF_TIMES:
        if arguments.components and getattr(arguments, option) != getattr(plain, option):
            flag = option.replace("_", "-")
            raise UsageError(f"--{flag} has no effect with --components; leave it out")


@cli.memory_advice()
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return the exit status."""
    given = sys.argv[1:] if argv is None else list(argv)
    arguments = parser().parse_args(given)
    check_components(arguments)
    asked = request(arguments)
    cli.check_outputs(arguments)
    if asked.on_cpu_for_want_of_cuda:
        say("note: no CUDA device is here; running on the CPU")
    of_times = STEPS, times_table, rounded_times
    of_formats = COMPONENTS, components_table, narrow_components
    module, table, for_people = of_formats if arguments.components else of_times
    done: list[Outcome] = []
    interrupted = False
    try:
        outcomes(module, asked, arguments.precisions, done)
    except KeyboardInterrupt:
        interrupted = True
        if not done:
            raise
    made = table(asked.settings, done)
    # First, because it is whole whatever becomes of what is printed.
    if path := arguments.json:
        content = {
            **result_file.header(
                "precision", cli.command_line(MODULE, given), asked.settings.device
            ),
            "settings": asdict(asked.settings),
            "precisions": {each.precision: asdict(each) for each in done},
        }
        written = result_file.write(path, content, not interrupted)
    cli.write(for_people(made) if arguments.format in cli.FOR_PEOPLE else made, arguments)
    if path:
        say(f"written to {written}")
    if interrupted:
        wanted = len(arguments.precisions)
        found = f"{len(done)} of {plural(wanted, 'precision')} {are(wanted)} done"
        return cli.failed(f"interrupted; {found}", 130)
    return 0 if any(each.status == OK for each in done) else cli.failed("no precision could be run")


if __name__ == "__main__":
    sys.exit(cli.run(main))
