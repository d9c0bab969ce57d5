"""The profiling assignment's five questions, answered in sentences with figures.

    python -m analysis.answers report.sqlite
    python -m analysis.answers forward.sqlite train.sqlite --benchmark benchmark.json

(a) How long do forward and backward take, and does the profiler agree with the benchmark? (b) Which
kernel takes most time in one forward, and which is called most often? (c) Which other kernels
matter? (d) How much of forward, and of a whole step, is GEMM? (e) How does softmax compare with
the matrix products of attention, in time and in FLOPs? Warm-up is left out. A benchmark is a JSON
object with `forward_ns` and `backward_ns`, lists of one time a step.
"""

from __future__ import annotations

import statistics
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from analysis import attention, cli, kernels, placement, render, warmup
from analysis.attribution import Attribution
from analysis.benchmark import Benchmark, read_benchmark
from analysis.brief import brief
from analysis.kernels import Work
from analysis.placement import Phases
from analysis.render import duration, percent, scaled, visible
from analysis.report import Report
from analysis.table import Column, Table
from profiling import names

Bools = npt.NDArray[np.bool_]

GEMM: Final = "gemm"
MATTERS: Final = 0.01
"""The share of forward from which another kernel matters."""

LONGEST_NAME: Final = 60


@dataclass(frozen=True)
class Material:
    """What the answers are made of.

    Attributes:
        found: the attributed work.
        phases: the phase of each piece of work.
        kept: which work counts.
        benchmark: step times measured without a profiler, where they were given.
    """

    found: Attribution
    phases: Phases
    kept: Bools
    benchmark: Benchmark

    @classmethod
    def of(cls, report: Report, benchmark: Benchmark) -> Material:
        """Read a report."""
        found = Attribution.of(report)
        return cls(found, placement.phases(found), warmup.counted(found), benchmark)

    def walls_ns(self, phase: str) -> npt.NDArray[np.int64]:
        """Return how long each instance of a phase was open."""
        ranges = self.found.ranges
        return ranges.wall_ns[ranges.called(phase) & ~self.found.ranges_in_warmup]

    def in_phase(self, phase: str) -> Work:
        """Return the work of a phase; of none where there is no such phase."""
        labels = self.phases.labels
        number = labels.index(phase) if phase in labels else len(labels)
        return self.found.work.take(self.kept & (self.phases.phase == number))

    @property
    def noun(self) -> str:
        """What is ranked: kernel, or operator."""
        return self.found.work.source


def answers(report: Report, benchmark: Benchmark | None = None) -> Table:
    """Return the five answers.

    Args:
        report: with `forward` ranges at least, or (b) to (d) speak of the whole.
        benchmark: ``forward_ns`` and ``backward_ns``, one time a step.

    Returns:
        ``question, answer``, five rows.

    Raises:
        ReportError: there are neither kernels nor operators.
    """
    material = Material.of(report, benchmark or {})
    return Table(
        name="answers",
        columns={
            "question": list(QUESTIONS),
            "answer": [answer(material) for answer in QUESTIONS.values()],
        },
        heading=report.describe(),
        notes=material.phases.notes,
    )


def times(material: Material) -> str:
    """Answer (a): forward and backward on the host and the device, beside the benchmark."""
    said = []
    for phase in (names.FORWARD, names.BACKWARD):
        walls = material.walls_ns(phase)
        if not len(walls):
            continue
        per_step = int(material.in_phase(phase).duration_ns.sum()) / len(walls)
        line = (
            f"{phase} was open on the host for {spread(walls.tolist())} and launched "
            f"{duration(per_step)} of {material.noun} time each"
        )
        measured = material.benchmark.get(f"{phase}_ns")
        if measured:
            ratio = float(np.median(walls)) / statistics.median(measured)
            line += (
                f"; the benchmark measured {spread(measured)} without a profiler, "
                f"so the range is {ratio:.2f} times that"
            )
        said.append(sentence(line))
    if not said:
        return "This report has no forward or backward range, so it cannot tell."
    return " ".join(said)


def top(material: Material) -> str:
    """Answer (b): the kernel with most time in one forward, and the one called most often."""
    forward, count, where = one_forward(material)
    table = kernels.rank(material.found.report, forward)
    if not len(table):
        return f"Nothing was launched in {where}."
    most = table.rows()[0]
    often = max(table.rows(), key=lambda row: (row["calls"], row["total_ns"]))
    said = (
        f"in {where} the {material.noun} with most time is {name(most)}: {duration(total(most))} "
        f"in all, {percent(float(most['share']))} of it, {calls(most, count)}. "
        f"Called most often is {name(often)}, {calls(often, count)}"
    )
    whole = kernels.rank(material.found.report, material.found.work.take(material.kept)).rows()[0]
    backward = material.in_phase(names.BACKWARD)
    if len(backward.kind):
        same = "the same" if whole["name"] == most["name"] else name(whole)
        said += f". With backward and optimizer counted, most time goes to {same}"
    return sentence(said)


def others(material: Material) -> str:
    """Answer (c): what else takes more than a hundredth of a forward."""
    forward, count, where = one_forward(material)
    rows = kernels.rank(material.found.report, forward).rows()
    matter = [row for row in rows if row["category"] != GEMM and float(row["share"]) >= MATTERS]
    if not matter:
        return f"In {where} nothing but GEMM takes {percent(MATTERS)} or more."
    listed = ", ".join(
        f"{name(row)} ({row['category']}, {percent(float(row['share']))}, {calls(row, count)})"
        for row in matter[:5]
    )
    more = f", and {len(matter) - 5} more" if len(matter) > 5 else ""
    return sentence(f"besides GEMM, in {where}: {listed}{more}")


def gemm_share(material: Material) -> str:
    """Answer (d): GEMM's share in forward against everything, and what took its place."""
    forward = shares(material, material.in_phase(names.FORWARD))
    whole = shares(material, material.found.work.take(material.kept))
    step = percent(whole.get(GEMM, 0.0))
    if not forward:
        return f"GEMM takes {step} of all {material.noun} time; no forward range tells its part."
    said = f"GEMM takes {percent(forward.get(GEMM, 0.0))} of forward and {step} of everything"
    change = {label: whole[label] - forward.get(label, 0.0) for label in whole if label != GEMM}
    gained = max(change, key=lambda label: change[label], default="")
    if whole.get(GEMM, 0.0) < forward.get(GEMM, 0.0) and gained:
        said += (
            f": its place is taken by {gained} work, which grows from "
            f"{percent(forward.get(gained, 0.0))} to {percent(whole[gained])}"
        )
        optimizer = shares(material, material.in_phase(names.OPTIMIZER))
        if optimizer.get(GEMM, 0.0) == 0.0 and optimizer:
            said += ", the optimizer having none of GEMM and reading every parameter and moment"
    return sentence(said)


def softmax(material: Material) -> str:
    """Answer (e): softmax against the matrix products of attention, in time and in FLOPs."""
    table = attention.attention_parts(material.found)
    rows = {str(row["part"]): row for row in table.rows()} if table else {}
    if names.SOFTMAX not in rows and names.FUSED_ATTENTION in rows:
        return fused(rows[names.FUSED_ATTENTION])
    if names.SOFTMAX not in rows or not rows[names.SOFTMAX]["kernel_ns"]:
        return "No range around the softmax of attention holds any work, so it cannot be told."
    soft = rows[names.SOFTMAX]
    said = []
    for part in (names.ATTENTION_SCORES, names.FINAL_MATMUL):
        if part not in rows:
            continue
        row = rows[part]
        line = (
            f"{part} takes {duration(total(row, 'kernel_ns'))}, {float(row['time_ratio']):.2f} "
            f"times the softmax's {duration(total(soft, 'kernel_ns'))}"
        )
        if not np.isnan(float(row["flop_ratio"])):
            line += f", for {float(row['flop_ratio']):.1f} times its FLOPs"
        said.append(line)
    reason = (
        "The softmax does few FLOPs for each number but must read and write all of them, so its "
        "time is that of moving bytes, while a matrix product uses each number it reads many times"
    )
    return f"{'; '.join(said)}. {reason}."


def fused(row: dict[str, int | float | str]) -> str:
    """Answer (e) where there is no softmax apart."""
    said = (
        f"attention is fused: scores, softmax and final matmul together take "
        f"{duration(total(row, 'kernel_ns'))}"
    )
    if not np.isnan(float(row["flops_per_s"])):
        rate = scaled(float(row["flops_per_s"]), "FLOP/s")
        said += f" for {scaled(float(row['flops']), 'FLOP')}, which is {rate}"
    return sentence(
        f"{said}. The softmax has no time of its own there and moves no scores to memory; record "
        "with eager attention to compare the three"
    )


QUESTIONS: Final[dict[str, Callable[[Material], str]]] = {
    "a": times,
    "b": top,
    "c": others,
    "d": gemm_share,
    "e": softmax,
}


def one_forward(material: Material) -> tuple[Work, int, str]:
    """Return the forward work, how many forwards it is, and what to call it."""
    count = len(material.walls_ns(names.FORWARD))
    if count:
        return material.in_phase(names.FORWARD), count, "one forward"
    return material.found.work.take(material.kept), 1, "the whole report (it has no forward range)"


def shares(material: Material, work: Work) -> dict[str, float]:
    """Return each category's share of some work."""
    rows = kernels.rank(material.found.report, work, by="category").rows()
    return {str(row["name"]): float(row["share"]) for row in rows}


def total(row: dict[str, int | float | str], column: str = "total_ns") -> int:
    """Return a time of a row."""
    return int(row[column])


def name(row: dict[str, int | float | str]) -> str:
    """Return the name of a row, as short as a sentence bears."""
    return render.cut(brief(visible(str(row["name"]))), LONGEST_NAME)


def calls(row: dict[str, int | float | str], passes: int) -> str:
    """Return how often something is called in each pass."""
    each = int(row["calls"]) / passes
    count = f"{each:,.0f}" if each == int(each) else f"{each:,.1f}"
    return f"{count} {'call' if each == 1 else 'calls'}"


def spread(times_ns: Sequence[float]) -> str:
    """Return the median of some times and how far they lie apart."""
    middle = duration(statistics.median(times_ns))
    if len(times_ns) == 1:
        return f"{middle} (once)"
    ends = f"{duration(min(times_ns))} to {duration(max(times_ns))}"
    return f"{middle} (median of {len(times_ns)}, {ends})"


def sentence(text: str) -> str:
    """Return text with a capital and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def together(tables: Sequence[Table]) -> Table:
    """Return the answers of several reports one under another, with the report as third column."""
    columns: dict[str, Column] = {"question": [], "answer": [], "report": []}
    for table in tables:
        for row in table.rows():
            for name, value in (*row.items(), ("report", table.heading)):
                cast(list[str], columns[name]).append(str(value))
    notes = dict.fromkeys(note for table in tables for note in table.notes)
    return Table("answers", columns, notes=tuple(notes))


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
    args = cli.parse(parser, argv)
    benchmark = read_benchmark(args.benchmark) if args.benchmark else {}
    found = []
    for path in (args.report, *args.more):
        with Report(path) as report:
            found.append(answers(report, benchmark))
    table = together(found)
    if args.format == "table" and args.output is None:
        sys.stdout.write(paragraphs(table))
        cli.say(*table.notes)
    else:
        cli.emit(table, args)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
