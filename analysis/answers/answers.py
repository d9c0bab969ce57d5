"""The profiling assignment's five answers, as one table and as paragraphs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack, cast

from analysis.answers.material import Benchmark, Material
from analysis.answers.sentences import QUESTIONS
from analysis.attribution.selection import Options, Selection
from analysis.show import cli
from analysis.show.render import visible
from analysis.show.table import Column, Table

if TYPE_CHECKING:
    from analysis.source.report import Report


def answers(
    report: Report, benchmark: Benchmark | None = None, **selected: Unpack[Options]
) -> Table:
    """Return the answers to the profiling assignment's five questions.

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
        counted=material.chosen.heading_lines,
        notes=material.phases.notes,
    )


def joined_answers(tables: Sequence[Table]) -> Table:
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
    """Return answers as text, one paragraph each, under a line for each report."""
    lines: list[str] = []
    for row in table.rows():
        if row["question"] == next(iter(QUESTIONS)):
            lines += [*([""] if lines else []), visible(str(row["report"]))]
        text = f"({row['question']}) {row['answer']}"
        lines += ["", textwrap.fill(text, cli.width(), subsequent_indent="    ")]
    return "\n".join(lines) + "\n"
