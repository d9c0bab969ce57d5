"""The profiling assignment's five questions, answered in sentences with figures.

    python -m analysis.answers report.sqlite
    python -m analysis.answers forward.sqlite train.sqlite --benchmark benchmark.json

(a) How long do forward and backward take, and does the profiler agree with the benchmark? (b) Which
kernel takes most time in one forward, and which is called most often? (c) Which other kernels
matter? (d) How much of forward, and of a whole step, is GEMM, and how many products does a forward
launch? (e) How does softmax compare with the matrix products of attention, in time and in FLOPs?
Warm-up is left out; `--exclude none` includes it. A benchmark is a JSON object with `forward_ns`
and `backward_ns`, lists of one time a step.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from analysis.answers.answers import answers, joined_answers, paragraphs
from analysis.answers.material import read_benchmark
from analysis.attribution import selection
from analysis.show import cli
from analysis.show.sheet import sheet_of
from analysis.source.report import Report


def main(argv: Sequence[str] | None = None) -> int:
    """Print the answers; see the module's docstring."""
    parser = cli.parser(__doc__, "analysis.answers")
    parser.add_argument("more", nargs="*", metavar="REPORT", help="further reports")
    parser.add_argument("--benchmark", metavar="FILE", help="the benchmark's JSON, for (a)")
    selection.add_options(parser)
    args = cli.parse(parser, argv)
    benchmark = read_benchmark(args.benchmark) if args.benchmark is not None else {}
    found = []
    for path in (args.report, *args.more):
        with Report(path) as report:
            found.append(answers(report, benchmark, **selection.options_of(args)))
    table = joined_answers(found)
    if args.format == "table" and args.output is None:
        sys.stdout.write(paragraphs(table, sheet_of(sys.stdout)))
        cli.print_notes(*table.notes)
    else:
        cli.write_answer(table, args)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
