"""Time steps of the model end to end, without a profiler: before profiling, and after.

    python -m profiling.benchmark
    python -m profiling.benchmark --size small --mode train --dtype bfloat16 --json before.json
    python -m profiling.benchmark --compare before.json after.json

A step is timed on the host's clock (timeit.default_timer) from an idle device to an idle device,
with one synchronize after it. Its parts come from CUDA events between them, on a CPU from the same
clock; forward + backward + optimizer + rest is the step. In forward_backward zero_grad is a part of
its own; in train it belongs to the optimizer. Forward holds the loss where there is a backward.
Beside the measured backward stands the older estimate: (forward + backward) less a forward pass
alone, timed as --mode forward is, after the other steps.

FLOP/s are the model's: 6N + 12 L d T a token, forward and backward, N without the input embedding
(PaLM, arXiv 2204.02311, appendix B); a forward alone is a third. MFU is their share of the GPU's
peak in the precision of the run. Rates are of the mean step.

--json keeps everything, raw times included. An interrupted run prints what it has, and --json
leaves that in FILE.partial; the exit status is 130. --compare says whether a difference between two
files is more than the steps' own spread (see python -m profiling.benchmark.compare --help).
"""

import sys
from collections.abc import Sequence
from typing import Final

from analysis.show.render import are, plural
from analysis.show.sheet import say
from profiling.benchmark import compare, run_file, show
from profiling.benchmark.figures import figures
from profiling.benchmark.options import Request, parser, request
from profiling.benchmark.run import STEPS, Measurements, check, run
from profiling.benchmark.steadiness import steadiness_warnings
from profiling.common import cli, result_file
from profiling.common.progress import steps_bar

LINES: Final = 10
"""How often the timed steps say how far they are, where there is no terminal."""

MODULE: Final = "profiling.benchmark"
COMPARE: Final = "--compare"
SMALLER: Final = "use a smaller size, batch or context, or --mode forward"


def measured(asked: Request) -> Measurements:
    """Run the benchmark asked for, saying how far it is; an interrupted run is not complete.

    Raises:
        KeyboardInterrupt: it was interrupted before a step was done.
    """
    from profiling.training.training import Training  # here: with torch

    settings = asked.settings
    training = Training(settings, optimizer=False)
    if asked.learning_rate is not None:
        say(show.initializing(settings, asked.learning_rate), stream=sys.stdout)
        training.make_optimizer(asked.learning_rate)
    found = Measurements()
    alone = 0 if settings.mode == "forward" else settings.steps
    try:
        with steps_bar(settings.warmup + settings.steps + alone) as bar:

            def tell(what: str, done: int, count: int) -> None:
                bar.done(f"Completed {done}/{count} {what}", 0)
                if not sys.stderr.isatty():
                    progress_lines(what, done, count)

            run(training, found, tell)
    except KeyboardInterrupt:
        if not found.steps:
            raise
    return found


def progress_lines(what: str, done: int, count: int) -> None:
    """Print a line for every tenth of the timed steps, and one when others are done."""
    often = LINES if what == STEPS else 1
    if done * often // count > (done - 1) * often // count:
        say(f"Completed {done}/{count} {what}")


@cli.memory_advice(SMALLER)
def main(argv: Sequence[str] | None = None) -> int:
    """Run a benchmark, or compare two, and return the exit status; see the module's docstring."""
    given = sys.argv[1:] if argv is None else list(argv)
    if COMPARE in given:
        return compare.main(given)
    arguments = parser(MODULE, __doc__).parse_args(given)
    asked = request(arguments)
    result_file.check_writable(arguments.json)
    settings = asked.settings
    check(settings)
    if asked.on_cpu_for_want_of_cuda:
        say("note: no CUDA device is here; running on the CPU")
    show.say_lines(show.configuration(settings))
    found = measured(asked)
    assert found.memory is not None, "it is read once the steps end, however they do"
    # First, because it is whole whatever becomes of what is printed.
    if arguments.json is not None:
        command = cli.command_line(MODULE, given)
        kept = run_file.content(settings, found, asked.learning_rate, command)
        written = result_file.write(arguments.json, kept, found.complete)
    show.show(settings, figures(settings, found), found.memory)
    for trouble in steadiness_warnings([step.total_ns for step in found.steps]):
        say(f"note: {trouble}")
    if arguments.json is not None:
        say(f"written to {written}")
    if not found.complete:
        done = f"{len(found.steps)} of {plural(settings.steps, 'step')} {are(settings.steps)} timed"
        return cli.failed(f"interrupted; {done}", 130)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
