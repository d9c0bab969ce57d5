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
import textwrap
from collections.abc import Sequence
from typing import Unpack, cast

from analysis.answers.benchmark import Benchmark, read_benchmark
from analysis.answers.material import Material
from analysis.answers.sentences import QUESTIONS
from analysis.attribution import selection
from analysis.attribution.selection import Options, Selection
from analysis.show import cli
from analysis.show.render import visible
from analysis.show.table import Column, Table
from analysis.source.report import Report


def answers(
    report: Report, benchmark: Benchmark | None = None, **selected: Unpack[Options]
) -> Table:
    """Return the five answers.

    Args:
        report: with `forward` ranges at least, or (b) to (d) speak of the whole.
        benchmark: ``forward_ns`` and ``backward_ns``, one time a step.
        selected: what counts: see `analysis.attribution.selection.Options`.

    Returns:
        ``question, answer``, five rows.

    Raises:
        ReportError: there are neither kernels nor operators.
    """
    material = Material.of(report, benchmark or {}, Selection(**selected))
    return Table(
        name="answers",
        columns={
            "question": list(QUESTIONS),
            "answer": [answer(material) for answer in QUESTIONS.values()],
        },
        heading=report.describe(),
        counted=material.chosen.lines,
        notes=material.phases.notes,
    )


def together(tables: Sequence[Table]) -> Table:
    """Return the answers of several reports one under another, with the report as third column."""
    columns: dict[str, Column] = {"question": [], "answer": [], "report": []}
    for table in tables:
        for row in table.rows():
            for name, value in (*row.items(), ("report", table.heading)):
                cast(list[str], columns[name]).append(str(value))
    notes = dict.fromkeys(note for table in tables for note in table.notes)
    lines = dict.fromkeys(
        f"{table.heading}: {line}" if len(tables) > 1 else line
        for table in tables
        for line in table.counted
    )
    return Table("answers", columns, notes=tuple(notes), counted=tuple(lines))


def paragraphs(table: Table) -> str:
    """Return the answers as text, one paragraph each, under a line for each report."""
    lines: list[str] = []
    for row in table.rows():
        if row["question"] == next(iter(QUESTIONS)):
            lines += [*([""] if lines else []), visible(str(row["report"]))]
        text = f"({row['question']}) {row['answer']}"
        lines += ["", textwrap.fill(text, cli.width(), subsequent_indent="    ")]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the answers; see the module's docstring."""
    parser = cli.parser(__doc__, "python -m analysis.answers")
    parser.add_argument("more", nargs="*", metavar="REPORT", help="further reports")
    parser.add_argument("--benchmark", metavar="FILE", help="the benchmark's JSON, for (a)")
    selection.add_options(parser)
    args = cli.parse(parser, argv)
    benchmark = read_benchmark(args.benchmark) if args.benchmark else {}
    found = []
    for path in (args.report, *args.more):
        with Report(path) as report:
            found.append(answers(report, benchmark, **selection.of_arguments(args)))
    table = together(found)
    if args.format == "table" and args.output is None:
        sys.stdout.write("".join(f"{visible(line)}\n" for line in table.counted))
        sys.stdout.write(paragraphs(table))
        cli.say(*table.notes)
    else:
        cli.emit(table, args)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
