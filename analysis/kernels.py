"""Rank kernels by the GPU time they took.

    python -m analysis.kernels report.sqlite
    python -m analysis.kernels report.sqlite --by category
    python -m analysis.kernels report.sqlite --format csv --output kernels.csv

Kernels are grouped by their full name over all devices and processes, as in NVIDIA's
cuda_gpu_kern_sum. The time of a CUDA graph that was recorded as a whole is added as a row of its
own. Copies and sets are no kernels. In a report of a CPU run operators take the kernels' place, by
self time; the heading and the column `source` say so. `share` is of everything listed before --top.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from analysis.arithmetic.statistics import summarize
from analysis.knowledge import categories
from analysis.recorded import operators
from analysis.show import cli
from analysis.show.errors import ReportError
from analysis.show.render import duration
from analysis.show.table import Table
from analysis.source import tables
from analysis.source.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Int64 = npt.NDArray[np.int64]

CPU_HEADING = "no GPU kernels in this report: CPU operators, by self time"


@dataclass(frozen=True)
class Work:
    """What is ranked: calls with a duration, each of a kind.

    Attributes:
        names: ``(K,)`` the name of each kind.
        sources: ``(K,)`` ``kernel``, ``graph`` or ``operator``.
        kind: ``(N,)`` the kind of each call, a position in ``names``.
        duration_ns: ``(N,)`` of each call; of an operator its self time.
        notes: what was left out, and why.
        calls: the same with their threads and times, where they are operators.
    """

    names: list[str]
    sources: list[str]
    kind: Int64
    duration_ns: Int64
    notes: tuple[str, ...] = ()
    calls: operators.Operators | None = None

    @property
    def on_cpu(self) -> bool:
        """Whether operators stand in for kernels."""
        return self.calls is not None

    @property
    def source(self) -> str:
        """``operator`` where operators stand in for kernels, else ``kernel``."""
        return "operator" if self.on_cpu else "kernel"

    def take(self, kept: npt.NDArray[np.bool_]) -> Work:
        """Return some of the calls; the kinds stay as they are."""
        calls = self.calls.take(kept) if self.calls else None
        return replace(self, kind=self.kind[kept], duration_ns=self.duration_ns[kept], calls=calls)


def ranking(
    report: Report,
    *,
    by: str = "name",
    sort: str = "time",
    device: int | None = None,
    process: int | None = None,
) -> Table:
    """Return one row per kernel name, the one with the most time first.

    The statistics are those of NVIDIA's ``cuda_gpu_kern_sum``, and so is the order of names with
    the same time: fewer calls first, then by name.

    Args:
        report: what was recorded.
        by: ``name``, or ``category`` for one row per category.
        sort: ``time``, or ``calls`` for the most often called first.
        device: only kernels on this CUDA ordinal.
        process: only kernels of this process id.

    Returns:
        ``name, category, calls, total_ns, mean_ns, median_ns, min_ns, max_ns, std_ns, share,
        source``; ``std_ns`` is the sample's, 0.0 for one call.

    Raises:
        ReportError: there are neither kernels nor operators, or no such device or process.
    """
    return rank(report, load(report, device, process), by=by, sort=sort)


def rank(report: Report, work: Work, *, by: str = "name", sort: str = "time") -> Table:
    """Return the same for some of a report's work."""
    labels = labels_of(work)
    names, sources, kind = work.names, work.sources, work.kind
    if by == "category":
        names = [label for label in categories.CATEGORIES if label in set(labels)]
        places = np.array([names.index(label) for label in labels], np.int64)
        sources = [joined(np.array(sources)[places == place]) for place in range(len(names))]
        labels, kind = names, places[kind]
    found = summarize(kind, work.duration_ns, len(names))
    everything = int(found.total_ns.sum())
    table = Table(
        name="kernels",
        columns={
            "name": names,
            "category": labels,
            "calls": found.calls,
            "total_ns": found.total_ns,
            "mean_ns": found.mean_ns,
            "median_ns": found.median_ns,
            "min_ns": found.min_ns,
            "max_ns": found.max_ns,
            "std_ns": found.std_ns,
            "share": found.total_ns / max(everything, 1),
            "source": sources,
        },
        heading=heading(report, work, everything),
        notes=work.notes,
        hidden=("source", "std_ns", *(("category",) if by == "category" else ())),
        droppable=("median_ns", "min_ns", "max_ns"),
    )
    alphabet = np.argsort(np.argsort(np.array(names, dtype=object), kind="stable"))
    keys = [alphabet, found.calls, -found.total_ns]
    if sort == "calls":
        keys = [alphabet, -found.total_ns, -found.calls]
    order = np.lexsort(keys)
    return table.take(order[found.calls[order] > 0])


def labels_of(work: Work) -> list[str]:
    """Return the category of each kind of work; of a graph's kernels none is known."""
    return [
        categories.OTHER if source == "graph" else label
        for label, source in zip(categories.categories(work.names), work.sources, strict=True)
    ]


def load(report: Report, device: int | None = None, process: int | None = None) -> Work:
    """Return what this report has to rank: kernels and graph replays, else operators.

    Raises:
        ReportError: it has neither, or no such device or process.
    """
    if all(tables.is_empty(report, table) for table in (tables.KERNEL, tables.GRAPH)):
        return cpu_work(report, device, process)
    check(report, "device", device, tables.devices)
    check(report, "process", process, tables.processes)
    kernels = tables.device_work(
        report, tables.KERNEL, "name_id", "duration_ns", device=device, process=process
    )
    graphs = tables.device_work(
        report, tables.GRAPH, "graph", "duration_ns", device=device, process=process
    )
    names, kind = tables.named(report, kernels["name_id"])
    numbers, graph = tables.compact(graphs["graph"])
    replays = [
        f"[CUDA graph replay] graph {'unknown' if number == tables.MISSING else number}"
        for number in numbers.tolist()
    ]
    notes: tuple[str, ...] = ()
    if replays:
        time = duration(int(graphs["duration_ns"].sum()))
        notes = (
            f"{len(graph):,} CUDA graph replays, {time}, were recorded as a whole: the kernels "
            "inside are not known (record with --cuda-graph-trace=node to see them)",
        )
    return Work(
        names=names + replays,
        sources=["kernel"] * len(names) + ["graph"] * len(replays),
        kind=np.concatenate([kind, graph + len(names)]) if replays else kind,
        duration_ns=np.concatenate([kernels["duration_ns"], graphs["duration_ns"]])
        if replays
        else kernels["duration_ns"],
        notes=notes,
    )


def cpu_work(report: Report, device: int | None, process: int | None) -> Work:
    """Return the CPU operators of a report without kernels.

    Raises:
        ReportError: there are none, a device is asked for, or there is no such process.
    """
    if not operators.has_operators(report):
        problem = "no CUDA kernels and no CPU operators in this report"
        raise ReportError(report.path, problem, "record it again with --trace=cuda,nvtx")
    if device is not None:
        raise ReportError(report.path, f"no device {device}: a CPU run", "leave --device out")
    calls = operators.load(report)
    check(report, "process", process, lambda _: sorted(set(calls.process.tolist())))
    if process is not None:
        calls = calls.take(calls.process == process)
    notes = []
    if calls.others:
        notes.append(
            f"{calls.others:,} rows, {duration(calls.others_ns)}, are no aten:: operators (they "
            "contain some, or stand beside them); left out"
        )
    if calls.unclosed:
        notes.append(
            f"{calls.unclosed:,} operators were never closed and have no duration; left out"
        )
    return Work(
        names=calls.names,
        sources=["operator"] * len(calls.names),
        kind=calls.name,
        duration_ns=calls.self_ns,
        notes=tuple(notes),
        calls=calls,
    )


def check(
    report: Report, what: str, chosen: int | None, known: Callable[[Report], list[int]]
) -> None:
    """Refuse a device or process that is not there, naming those that are.

    Raises:
        ReportError: ``known`` does not hold the one chosen.
    """
    if chosen is not None and chosen not in (there := known(report)):
        listed = ", ".join(map(str, there)) or "none"
        raise ReportError(report.path, f"no {what} {chosen}", f"this report has: {listed}")


def joined(sources: Iterable[str]) -> str:
    """Return where a category's time comes from, for example ``kernel+graph``."""
    return "+".join(sorted(set(sources), key=("kernel", "graph", "operator").index))


def heading(report: Report, work: Work, total_ns: int) -> str:
    """Return the lines above the table: which report, and what is listed."""
    what = "CPU operator calls" if work.on_cpu else "kernels"
    lines = [report.describe(), f"{len(work.kind):,} {what}, {duration(total_ns)} in all"]
    if work.on_cpu:
        lines.insert(1, CPU_HEADING)
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the ranking; see the module's docstring."""
    from analysis.attribution import selection  # it is built on this module

    parser = cli.parser(__doc__, "python -m analysis.kernels")
    parser.add_argument(
        "--by", choices=("name", "category"), default="name", help="one row for each (default name)"
    )
    parser.add_argument(
        "--sort", choices=("time", "calls"), default="time", help="first the most (default time)"
    )
    selection.add_arguments(parser)
    args = cli.parse(parser, argv)
    with Report(args.report) as report:
        work = selection.work(report, selection.of(args))
        table = rank(report, work, by=args.by, sort=args.sort)
    cli.emit(table, args)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
