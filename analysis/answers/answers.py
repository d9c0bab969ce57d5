"""The assignment's five questions, answered in sentences: as one table, and as paragraphs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Unpack, cast

import numpy as np

from analysis import attention, kernels
from analysis.answers.material import Benchmark, Material, one_forward, shares
from analysis.arithmetic.arrays import Int64
from analysis.attribution.selection import Options, Selection
from analysis.knowledge.short_names import distinct_short_names
from analysis.measures.gemm_calls import GEMM
from analysis.show import render
from analysis.show.render import digits, duration, percent, scaled
from analysis.show.sheet import Sheet, folded, visible
from analysis.show.table import Column, Table
from profiling import names

if TYPE_CHECKING:
    from analysis.source.report import Report

MATTERS: Final = 0.01
"""The share of forward from which another kernel matters."""

LISTED: Final = 5
"""How many other kernels a sentence names."""

LONGEST_NAME: Final = 60

LOW_INTENSITY: Final = 5.0
"""FLOPs a byte. Any GPU of `analysis.knowledge.peaks` does more for each byte of memory traffic."""


def times(material: Material) -> str:
    """Answer (a): forward and backward on the host and the device, beside the benchmark."""
    lines, of_warmup = [], []
    for phase in (names.FORWARD, names.BACKWARD):
        walls, launched = material.times_ns(phase)
        if not len(walls):
            if material.is_of_warmup(phase):
                of_warmup.append(sentence(f"{phase} ran in the warm-up only, which is left out"))
            continue
        middle = " (median)" if len(walls) > 1 else ""
        line = (
            f"{phase} was open on the host for {spread(walls.tolist())} and launched "
            f"{duration(float(np.median(launched)))} of {material.noun} time each{middle}"
        )
        lines.append(sentence(line + beside_benchmark(material, phase, walls)))
    if not lines:
        what = "This report" if material.is_whole else "The part that counts"
        lacking = f"{what} has no forward or backward range, so it cannot tell."
        return " ".join([lacking, *of_warmup])
    lines += of_warmup
    if material.benchmark and (other := material.other_settings):
        lines.append(f"The benchmark was of another run ({other}): its times do not compare.")
    return " ".join(lines)


def beside_benchmark(material: Material, phase: str, walls_ns: Int64) -> str:
    """Return in words what the benchmark measured of a phase, "" without one.

    Args:
        material: of the answers.
        phase: forward or backward.
        walls_ns: ``(F,)`` how long the report's were open, at least one.
    """
    known = material.benchmark
    measured = known.get("forward_ns") if phase == names.FORWARD else known.get("backward_ns")
    if not measured:
        return ""
    text = f"; the benchmark measured {spread(measured)} without a profiler"
    if material.other_settings:
        return text
    ratio = float(np.median(walls_ns)) / statistics.median(measured)
    return f"{text}, so the range is {ratio:.2f} times that"


def top(material: Material) -> str:
    """Answer (b): the kernel with most time in one forward, and the one called most often."""
    forward, count, where = one_forward(material)
    table = kernels.rank(material.attribution.report, forward)
    if not len(table):
        return f"Nothing was launched in {where}."
    most = table.rows()[0]
    often = max(table.rows(), key=lambda row: (row["calls"], row["total_ns"]))
    whole = kernels.rank(
        material.attribution.report, material.attribution.work.take(material.kept)
    ).rows()[0]
    called = short_names([most, often, whole])
    text = (
        f"in {where} the {material.noun} with most time is {called[0]}: "
        f"{duration(total(most) / count)} {'on average' if count > 1 else 'in all'}, "
        f"{percent(float(most['share']))} of it, {calls_a_pass(most, count)}. "
        f"Called most often is {called[1]}, {calls_a_pass(often, count)}"
    )
    backward = material.in_phase(names.BACKWARD)
    if len(backward.kind):
        same = "the same" if whole["name"] == most["name"] else called[2]
        text += f". With backward and optimizer counted, most time goes to {same}"
    return sentence(text)


def others(material: Material) -> str:
    """Answer (c): the other kernels that take more than a hundredth of a forward."""
    forward, count, where = one_forward(material)
    rows = kernels.rank(material.attribution.report, forward).rows()
    matter = [row for row in rows if row["category"] != GEMM and float(row["share"]) >= MATTERS]
    if not matter:
        return f"In {where} nothing but GEMM takes {percent(MATTERS)} or more."
    first = matter[:LISTED]
    listed = ", ".join(
        f"{name} ({row['category']}, {percent(float(row['share']))}, {calls_a_pass(row, count)})"
        for name, row in zip(short_names(first), first, strict=True)
    )
    more = f", and {len(matter) - LISTED} more" if len(matter) > LISTED else ""
    return sentence(f"besides GEMM, in {where}: {listed}{more}")


def gemm_share(material: Material) -> str:
    """Answer (d): GEMM's share in forward against everything, and what took its place."""
    forward = shares(material, material.in_phase(names.FORWARD))
    whole = shares(material, material.attribution.work.take(material.kept))
    step = percent(whole.get(GEMM, 0.0))
    if not forward:
        return f"GEMM takes {step} of all {material.noun} time; no forward range tells its part."
    text = f"GEMM takes {percent(forward.get(GEMM, 0.0))} of forward and {step} of everything"
    change = {label: whole[label] - forward.get(label, 0.0) for label in whole if label != GEMM}
    gained = max(change, key=lambda label: change[label], default="")
    if whole.get(GEMM, 0.0) < forward.get(GEMM, 0.0) and gained:
        text += (
            f": its place is taken by {gained} work, which grows from "
            f"{percent(forward.get(gained, 0.0))} to {percent(whole[gained])}"
        )
        optimizer = shares(material, material.in_phase(names.OPTIMIZER))
        if optimizer.get(GEMM, 0.0) == 0.0 and optimizer:
            text += ", the optimizer having none of GEMM and reading every parameter and moment"
    counted = material.gemms()
    launched = f" One forward launches {counted.describe()}." if counted else ""
    return sentence(text) + launched


def softmax(material: Material) -> str:
    """Answer (e): softmax against the matrix products of attention, in time and in FLOPs."""
    table = attention.attention_parts(material.chosen)
    rows = {str(row["part"]): row for row in table.rows()} if table else {}
    if names.SOFTMAX not in rows and names.FUSED_ATTENTION in rows:
        return fused_attention(rows[names.FUSED_ATTENTION])
    if names.SOFTMAX not in rows or not rows[names.SOFTMAX]["kernel_ns"]:
        return "No range around the softmax of attention holds any work, so it cannot be told."
    soft = rows[names.SOFTMAX]
    lines = []
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
        lines.append(line)
    return f"{'; '.join(lines)}. {softmax_limit(rows)}" if lines else softmax_limit(rows)


def softmax_limit(rows: dict[str, dict[str, int | float | str]]) -> str:
    """Return a sentence on what limits the softmax, as far as the report tells.

    Args:
        rows: of attention's parts; the softmax is one of them.
    """
    soft, product = rows[names.SOFTMAX], rows.get(names.FINAL_MATMUL)
    each = intensity(soft)
    if each < LOW_INTENSITY:
        beside = f" (final_matmul {digits(intensity(product))})" if product else ""
        return (
            f"The softmax does {digits(each)} FLOPs for each byte that it must move{beside}: its "
            "time is that of reading and writing the scores, not of arithmetic."
        )
    ratio = float(product["flop_ratio"]) if product else math.nan
    if product and ratio > float(product["time_ratio"]):
        slower = ratio / float(product["time_ratio"])
        return (
            f"A FLOP of the softmax takes {digits(slower)} times as long as one of final_matmul, "
            "so its arithmetic alone does not explain its time; how many bytes it moves is not "
            "known."
        )
    return (
        "What limits the softmax cannot be told: the report does not hold its FLOPs and bytes "
        "(record with profiling.spans)."
    )


def intensity(row: dict[str, int | float | str]) -> float:
    """Return the FLOPs that a part does for each byte it must move, NaN where not known."""
    moved = float(row["bytes"])
    return float(row["flops"]) / moved if moved else math.nan


def fused_attention(row: dict[str, int | float | str]) -> str:
    """Answer (e) for fused attention, which has no softmax of its own."""
    text = (
        f"attention is fused: scores, softmax and final matmul together take "
        f"{duration(total(row, 'kernel_ns'))}"
    )
    if not np.isnan(float(row["flops_per_s"])):
        rate = scaled(float(row["flops_per_s"]), "FLOP/s")
        text += f" for {scaled(float(row['flops']), 'FLOP')}, which is {rate}"
    later = float(row["backward_ns"])
    if later > 0:
        text += f", and {duration(later)} in backward"
    text += f": {percent(float(row['share']))} of all time"
    return sentence(
        f"{text}. The softmax has no time of its own there and moves no scores to memory; record "
        "with eager attention to compare the three"
    )


QUESTIONS: Final[dict[str, Callable[[Material], str]]] = {
    "a": times,
    "b": top,
    "c": others,
    "d": gemm_share,
    "e": softmax,
}


def total(row: dict[str, int | float | str], column: str = "total_ns") -> int:
    """Return a time in ns of a row of a ranking, as a whole number."""
    return int(row[column])


def short_names(rows: Sequence[dict[str, int | float | str]]) -> list[str]:
    """Return short names for rows of a ranking, different ones for different rows."""
    short = distinct_short_names([visible(str(row["name"])) for row in rows])
    return render.cut_apart(short, LONGEST_NAME)


def calls_a_pass(row: dict[str, int | float | str], passes: int) -> str:
    """Return in words how often a kernel is called in each pass."""
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


def paragraphs(table: Table, sheet: Sheet) -> str:
    """Return answers as text, one paragraph each, under a line for each report."""
    above = [part for line in table.counted for part in sheet.lines(line, "  ")]
    lines: list[str] = []
    for row in table.rows():
        if row["question"] == next(iter(QUESTIONS)):
            lines += [*([""] if lines else []), *sheet.lines(str(row["report"]), "  ")]
        text = f"({row['question']}) {row['answer']}"
        lines += ["", *folded(text, sheet.width, "    ")]
    return "\n".join([*above, *lines]) + "\n"
