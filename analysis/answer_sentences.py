"""The sentences that answer the assignment's five questions, each from the same material."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from analysis import attention, kernels, render
from analysis.answer_material import Material, one_forward, shares
from analysis.brief import brief
from analysis.render import duration, percent, scaled, visible
from profiling import names

GEMM: Final = "gemm"

MATTERS: Final = 0.01
"""The share of forward from which another kernel matters."""

LONGEST_NAME: Final = 60


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
