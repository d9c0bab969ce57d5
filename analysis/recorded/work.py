"""Work: what is ranked and attributed, each call with a kind and a duration.

On a GPU that is kernels and the replays of CUDA graphs. In a report of a run without a GPU the CPU
operators take their place, by self time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.knowledge import categories
from analysis.recorded import operators
from analysis.recorded.device_work import GRAPH, KERNEL, device_work, replay_names
from analysis.show.errors import ReportError
from analysis.show.render import are, duration, plural
from analysis.source import device_tables, tables

if TYPE_CHECKING:
    from collections.abc import Collection

    from analysis.source.report import Report

CPU_HEADING: Final = "no GPU kernels in this report: CPU operators, by self time"


@dataclass(frozen=True)
class Work:
    """Calls with a duration, each of a kind: kernels and graph replays, or CPU operators.

    Attributes:
        names: ``(K,)`` the name of each kind.
        sources: ``(K,)`` ``kernel``, ``graph`` or ``operator``.
        kind: ``(N,)`` the kind of each call, a position in ``names``.
        duration_ns: ``(N,)`` of each call; of an operator its self time.
        notes: what was left out, and why.
        calls: the operators themselves, with their threads and times, where they are operators.
    """

    names: list[str]
    sources: list[str]
    kind: Int64
    duration_ns: Int64
    notes: tuple[str, ...] = ()
    calls: operators.Operators | None = None

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def on_cpu(self) -> bool:
        """Whether operators stand in for kernels."""
        return self.calls is not None

    @property
    def source(self) -> str:
        """``operator`` where operators stand in for kernels, else ``kernel``."""
        return "operator" if self.on_cpu else "kernel"

    @property
    def categories(self) -> list[str]:
        """``(K,)`` the category of each kind of work; of a graph's kernels none is known."""
        return [
            categories.OTHER if source == "graph" else label
            for label, source in zip(categories.categories(self.names), self.sources, strict=True)
        ]

    def in_category(self, label: str) -> Bools:
        """Return ``(N,)`` which calls are of a category."""
        return np.array([each == label for each in self.categories], np.bool_)[self.kind]

    def take(self, kept: Bools) -> Work:
        """Return the calls that a mask keeps; the kinds stay as they are."""
        calls = self.calls.take(kept) if self.calls else None
        return replace(self, kind=self.kind[kept], duration_ns=self.duration_ns[kept], calls=calls)


NO_WORK: Final = Work([], [], np.empty(0, np.int64), np.empty(0, np.int64))


def has_device_work(report: Report) -> bool:
    """Return whether a GPU computed anything: whether there are kernels or graph replays."""
    return not device_tables.are_empty(report, (tables.KERNEL, tables.GRAPH))


def has_work(report: Report) -> bool:
    """Return whether there is anything to rank: device work, or CPU operators in its place."""
    return has_device_work(report) or operators.has_operators(report)


def no_device_work(report: Report, lacking: str) -> ReportError:
    """Return the error of a question on what GPUs did about a report in which they did nothing.

    Args:
        report: what was recorded.
        lacking: what the question is about, with ``no`` or the like before it.
    """
    problem = f"no GPU work in this report, so {lacking}"
    if operators.has_operators(report):
        problem += " (a CPU run)"
    return ReportError(report.path, problem, "record on a GPU, with --trace=cuda,nvtx")


def ranked_work(report: Report) -> Work:
    """Return the kernels and graph replays of a report, else its CPU operators; read once.

    Raises:
        ReportError: there are none of these.
    """
    return report.once(_ranked)


def _ranked(report: Report) -> Work:
    if not has_device_work(report):
        return operator_ranking(report)
    done = device_work(report)
    (names, kind), (replays, replay) = done.names_by_kind[KERNEL], done.names_by_kind[GRAPH]
    duration_ns = done.duration_ns[: done.ranked]
    return device_ranking((names, kind), (replays, replay + len(names)), duration_ns)


def ranked_work_quickly(report: Report) -> Work:
    """Return the ranked work of a report, for which of kernels only names and times are read.

    Raises:
        ReportError: there are neither kernels nor graph replays nor operators.
    """
    if not has_device_work(report):
        return ranked_work(report)
    kernels = device_tables.kernel_durations(report)
    graphs = device_tables.device_events(report, tables.GRAPH)
    names, kind = tables.named(report, kernels["name_id"])
    replays, replay = replay_names(graphs["graph"])
    durations = [kernels["duration_ns"], graphs["end_ns"] - graphs["start_ns"]]
    together = np.concatenate(durations) if replays else durations[0]
    return device_ranking((names, kind), (replays, replay + len(names)), together)


def device_ranking(
    kernels: tuple[list[str], Int64], replays: tuple[list[str], Int64], duration_ns: Int64
) -> Work:
    """Return kernels and graph replays as ranked work.

    Args:
        kernels: ``(K,)`` names, and ``(N,)`` the position of each kernel's.
        replays: ``(R,)`` names, and ``(M,)`` positions of each replay's, from ``K``.
        duration_ns: ``(N + M,)``.
    """
    (names, kind), (graphs, graph) = kernels, replays
    notes: tuple[str, ...] = ()
    if graphs:
        time = duration(int(duration_ns[len(kind) :].sum()))
        notes = (
            f"{len(graph):,} CUDA graph replays, {time}, were recorded as a whole: the kernels "
            "inside are not known (record with --cuda-graph-trace=node to see them)",
        )
    return Work(
        names=names + graphs,
        sources=["kernel"] * len(names) + ["graph"] * len(graphs),
        kind=np.concatenate([kind, graph]) if graphs else kind,
        duration_ns=duration_ns,
        notes=notes,
    )


def operator_ranking(report: Report) -> Work:
    """Return the CPU operators of a report without kernels as ranked work.

    Raises:
        ReportError: there are none.
    """
    if not operators.has_operators(report):
        problem = "no CUDA kernels and no CPU operators in this report"
        raise ReportError(report.path, problem, "record it again with --trace=cuda,nvtx")
    calls = operators.cpu_operators(report)
    notes = []
    if calls.others:
        notes.append(
            f"{plural(calls.others, 'row')}, {duration(calls.others_ns)}, {are(calls.others)} no "
            "aten:: operators (they contain some, or stand beside them); left out"
        )
    if calls.unclosed:
        notes.append(
            plural(
                calls.unclosed,
                "operator was never closed and has",
                "operators were never closed and have",
            )
            + " no duration; left out"
        )
    return Work(
        names=calls.names,
        sources=["operator"] * len(calls.names),
        kind=calls.name,
        duration_ns=calls.self_ns,
        notes=tuple(notes),
        calls=calls,
    )


def check_known(report: Report, what: str, chosen: int | None, known: Collection[int]) -> None:
    """Refuse a device or process that a report does not have, naming those that it has.

    Raises:
        ReportError: ``known`` does not hold the one chosen.
    """
    if chosen is not None and chosen not in known:
        listed = ", ".join(map(str, sorted(known))) or "none"
        raise ReportError(report.path, f"no {what} {chosen}", f"this report has: {listed}")
