"""Ranges that a report does not mark, and that follow from what PyTorch records by itself.

Where no range is called forward, backward or optimizer, ranges of these names are put beside those
recorded, as if the author of the script had opened them on the thread that trains:

* *backward* from the first to the last node that autograd runs without work of that thread between:
  its ranges and operators (``autograd::engine::evaluate_function: X``, operators that know their
  forward thread), and whatever autograd's own threads launch;
* *optimizer* around ``Optimizer.step#X.step``, and ``Optimizer.zero_grad#X.zero_grad`` with work;
* *forward* the rest of each step, from its first work to its last. What lies between a backward
  pass and the step of the optimizer after it (clipping of gradients, say) is none of the three.

Where no range is a step either, one runs from the end of ``Optimizer.step`` (of several in a row
the last) to the end of the next. A first step that is an outlier is warm-up: kernels are loaded and
memory is reserved in it. Steps of PyTorch's profiler (``ProfilerStep#N``) are steps as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.containment import Intervals
from analysis.arithmetic.global_ids import process_of
from analysis.arithmetic.intervals import NONE, ordered
from analysis.arithmetic.statistics import is_high_outlier
from analysis.arithmetic.union import IntervalUnion
from analysis.knowledge import vocabulary
from analysis.recorded import ranges as nvtx
from analysis.recorded.device_work import device_work
from analysis.recorded.operators import cpu_operators, has_operators
from analysis.recorded.ranges import RangeNames, outermost
from analysis.recorded.work import has_device_work
from analysis.source import tables
from analysis.source.operator_tables import operator_nodes
from profiling import names

if TYPE_CHECKING:
    from analysis.recorded.ranges import Ranges
    from analysis.source.report import Report

FEWEST_OTHERS: Final = 3
"""How many steps must follow a first one before that can be called an outlier."""

OUTLYING: Final = 1.5
"""How many times as long as the median of the others an outlying first step takes, at least."""

PHASES_NOTE: Final = (
    "phases are inferred, no range marks them: backward is what autograd ran, optimizer "
    "Optimizer.step and zero_grad, other what lies between those two, forward the rest of a step"
)
NO_OPTIMIZER_NOTE: Final = "no Optimizer.step was recorded: what an optimizer did is in forward"
FORWARD_NOTE: Final = (
    "phases are inferred, no range marks them: neither autograd nor an optimizer ran, so all is "
    "forward"
)
STEPS_NOTE: Final = "where a step ends is inferred: with its last Optimizer.step"

STEP_GLOBS: Final = ("ProfilerStep#*", "Optimizer.step#*")
"""The names of ranges without which no warm-up is inferred."""


class Span(NamedTuple):
    """A stretch of time of a thread: a range that is inferred."""

    name: str
    thread: int
    start_ns: int
    end_ns: int


@dataclass(frozen=True)
class Marked:
    """The ranges of a report, with those that are inferred, and what is to be said of them.

    Attributes:
        ranges: recorded and inferred ones.
        notes: on the phases that are inferred, or that are marked in part.
        slower: how many times as long as the median of the others the first step took, where it
            is warm-up for that; else 0.0.
    """

    ranges: Ranges
    notes: tuple[str, ...] = ()
    slower: float = 0.0

    @classmethod
    def of(cls, report: Report) -> Marked:
        """Return the ranges of a report; made once."""
        return report.once(marked_ranges)


@dataclass(frozen=True)
class Traces:
    """What PyTorch recorded by itself.

    Attributes:
        nodes: what autograd ran: its nodes, and what its own threads launched.
        updates: what optimizers ran: the outermost of their ranges.
        is_step: ``(U,)`` which of those are a step, not ``zero_grad``.
        work: what launched work on the host, or was it, on any thread.
        engine: the threads of autograd's own.
    """

    nodes: Intervals
    updates: Intervals
    is_step: Bools
    work: Intervals
    engine: Int64

    @classmethod
    def of(cls, report: Report, recorded: Ranges) -> Traces:
        """Return the traces in a report."""
        engine = tables.named_threads(report, vocabulary.ENGINE_THREAD)
        work = host_work(report)
        operators = operator_nodes(report)
        evaluates = [name.startswith(vocabulary.EVALUATE) for name in operators["name"].tolist()]
        backward = np.array(evaluates, np.bool_) | (operators["forward_thread"] > 0)
        of_operators = Intervals(*(operators[key] for key in ("thread", "start_ns", "end_ns")))
        of_ranges = intervals(recorded)
        evaluated = named(recorded, lambda name: name.startswith(vocabulary.EVALUATE))
        nodes = (
            of_ranges.take(evaluated),
            of_operators.take(backward),
            work.take(np.isin(work.thread, engine)),
        )
        calls = recorded.take(named(recorded, lambda name: vocabulary.optimizer_call(name) != ""))
        calls = calls.take(outermost(calls))
        return cls(
            nodes=Intervals(
                *(np.concatenate(parts) for parts in zip(*map(columns, nodes), strict=True))
            ),
            updates=intervals(calls),
            is_step=named(calls, lambda name: vocabulary.optimizer_call(name) == "step"),
            work=work,
            engine=engine,
        )

    def of_process(self, process: int) -> Traces:
        """Return those of one process."""
        nodes, updates, work = (
            process_of(each.thread) == process for each in (self.nodes, self.updates, self.work)
        )
        return replace(
            self,
            nodes=self.nodes.take(nodes),
            updates=self.updates.take(updates),
            is_step=self.is_step[updates],
            work=self.work.take(work),
        )


def intervals(ranges: Ranges) -> Intervals:
    """Return ranges as intervals on the threads that opened them."""
    return Intervals(ranges.thread, ranges.start_ns, ranges.end_ns)


def columns(spans: Intervals) -> tuple[Int64, Int64, Int64]:
    """Return the threads, starts and ends of intervals."""
    return spans.thread, spans.start_ns, spans.end_ns


def named(ranges: Ranges, wanted: Callable[[str], bool]) -> Bools:
    """Return ``(R,)`` which ranges have a name, as it was recorded, that is wanted."""
    return np.array([wanted(name) for name in ranges.names], np.bool_)[ranges.name]


def host_work(report: Report) -> Intervals:
    """Return the calls that launched work of a GPU, or the CPU operators that stand in for it."""
    if not has_device_work(report) and has_operators(report):
        found = cpu_operators(report)
        return Intervals(found.thread, found.start_ns, found.end_ns)
    done = device_work(report)
    rows = done.call[done.call != NONE]
    return Intervals(done.calls.thread[rows], done.calls.start_ns[rows], done.calls.end_ns[rows])


@dataclass(frozen=True)
class Program:
    """One process of a script: what its ranges would be, had they been marked.

    Attributes:
        traces: what PyTorch recorded of it.
        recorded: its ranges.
        thread: the one that trains, where inferred ranges are put.
        infers_steps: whether none of the report's ranges is a step.
    """

    traces: Traces
    recorded: Ranges
    thread: int
    infers_steps: bool

    @classmethod
    def of(cls, process: int, traces: Traces, recorded: Ranges) -> Self:
        """Return the program of one process, which holds work, a node or an update at least."""
        mine = traces.of_process(process)
        steps = recorded.called(names.STEP).any()
        ranges = recorded.take(recorded.process == process)
        return cls(mine, ranges, training_thread(mine), infers_steps=not steps)

    @cached_property
    def work(self) -> Intervals:
        """The work that no thread of autograd's launched, by start."""
        work = self.traces.work
        work = work.take(~np.isin(work.thread, self.traces.engine))
        return work.take(np.argsort(work.start_ns, kind="stable"))

    @cached_property
    def edges(self) -> Int64:
        """Where recorded steps and warm-up begin and end: no phase reaches over such an instant."""
        chosen = self._recorded_windows
        return np.unique(np.concatenate([chosen.start_ns, chosen.end_ns]))

    @cached_property
    def _recorded_windows(self) -> Ranges:
        wanted = (names.STEP, names.WARMUP)
        return self.recorded.take(self.recorded.where(lambda name: name in wanted))

    @cached_property
    def passes(self) -> list[Span]:
        """The backward passes: nodes with nothing of the training thread between them."""
        nodes, updates, work = self.traces.nodes, self.traces.updates, self.work
        pieces = IntervalUnion.of(nodes.start_ns, nodes.end_ns)
        ours = work.start_ns[work.thread == self.thread]
        steps = updates.start_ns[self.traces.is_step & (updates.thread == self.thread)]
        between = np.sort(np.concatenate([ours, steps, self.edges]))
        ended, begins = pieces.gaps
        apart = np.searchsorted(between, begins) > np.searchsorted(between, ended)
        first = np.flatnonzero(np.append(True, apart)[: len(pieces)])
        last = np.append(first[1:] - 1, len(pieces) - 1)[: len(first)]
        times = zip(pieces.start_ns[first].tolist(), pieces.end_ns[last].tolist(), strict=True)
        return [Span(names.BACKWARD, self.thread, start, end) for start, end in times]

    @cached_property
    def updates(self) -> list[Span]:
        """What optimizers did: steps, those without work between as one, and others with work."""
        updates, is_step = self.traces.updates, self.traces.is_step
        by_thread = {
            thread: np.sort(self.traces.work.start_ns[self.traces.work.thread == thread])
            for thread in np.unique(updates.thread).tolist()
        }
        result: list[Span] = []
        joinable = False
        for place in np.lexsort((updates.start_ns, updates.thread)).tolist():
            thread, start, end = (int(column[place]) for column in columns(updates))
            if not is_step[place]:
                if has_any(by_thread[thread], start, end):
                    result.append(Span(names.OPTIMIZER, thread, start, end))
                    joinable = False
                continue
            before = result[-1] if joinable and result[-1].thread == thread else None
            if before and not (
                has_any(by_thread[thread], before.end_ns, start)
                or has_any(self.edges, before.end_ns, start)
            ):
                result[-1] = before._replace(end_ns=end)
            else:
                result.append(Span(names.OPTIMIZER, thread, start, end))
            joinable = True
        return sorted(result, key=lambda span: span.start_ns)

    @cached_property
    def bounds(self) -> tuple[int, int]:
        """From the first work of the process, or the first range of PyTorch's, to the last."""
        own = intervals(self.recorded.take(named(self.recorded, vocabulary.is_of_pytorch)))
        every = (self.traces.work, self.traces.nodes, self.traces.updates, own)
        start = np.concatenate([each.start_ns for each in every])
        end = np.concatenate([each.end_ns for each in every])
        return int(start.min()), int(end.max())

    def phases(self) -> list[Span]:
        """Return backward passes, updates, and between them the parts of forward."""
        return [*self.passes, *self.updates, *self._forward()]

    def _forward(self) -> Iterator[Span]:
        low, high = self.bounds
        blocks = sorted([*self.passes, *self.updates], key=lambda span: span.start_ns)
        steps = set(self.traces.updates.start_ns[self.traces.is_step].tolist())
        before: Span | None = None
        for block in [*blocks, None]:
            until = block.start_ns if block else high + 1
            clipping = (
                before is not None
                and before.name == names.BACKWARD
                and block is not None
                and block.name == names.OPTIMIZER
                and block.start_ns in steps
            )
            if low < until and not clipping:
                yield from self._forward_within(low, until)
            if block and block.end_ns >= low:
                low, before = block.end_ns, block

    def _forward_within(self, low: int, high: int) -> Iterator[Span]:
        """Yield the forward parts of a stretch, one between each two edges, as far as work goes."""
        inner = self.edges[(low < self.edges) & (self.edges < high)].tolist()
        for begin, end in zip([low, *inner], [*inner, high], strict=True):
            if self.steps and not self._in_a_step(begin):
                continue
            first, last = np.searchsorted(self.work.start_ns, [begin, end]).tolist()
            if first == last:
                continue
            latest = first + int(self.work.end_ns[first:last].argmax())
            opened = self._opened(first, begin, end)
            closed = self._opened(latest, begin, end)
            start = min([int(self.work.start_ns[first]), *opened.start_ns.tolist()])
            stop = max([min(int(self.work.end_ns[latest]), end), *closed.end_ns.tolist()])
            yield Span(names.FORWARD, self.thread, start, stop)

    def _opened(self, place: int, low: int, high: int) -> Intervals:
        """Return the ranges of the training thread in a stretch that hold a piece of work."""
        ours = self._ours
        start, end = int(self.work.start_ns[place]), int(self.work.end_ns[place])
        rows = slice(*np.searchsorted(ours.start_ns, [low, start + 1]).tolist())
        some = ours.take(rows)
        return some.take((some.end_ns >= end) & (some.end_ns <= high))

    @cached_property
    def _ours(self) -> Intervals:
        ours = intervals(self.recorded.take(self.recorded.thread == self.thread))
        return ours.take(np.argsort(ours.start_ns, kind="stable"))

    @cached_property
    def _pass_starts(self) -> Int64:
        return np.array([span.start_ns for span in self.passes], np.int64)

    @cached_property
    def _update_starts(self) -> Int64:
        return np.array([span.start_ns for span in self.updates], np.int64)

    @cached_property
    def steps(self) -> list[Span]:
        """The steps: those that were recorded, else those that end with an optimizer's."""
        return self._inferred_steps() if self.infers_steps else self._recorded_steps()

    @cached_property
    def _open(self) -> IntervalUnion:
        windows, steps = self._recorded_windows, self.steps
        start = np.array([*(span.start_ns for span in steps), *windows.start_ns.tolist()])
        end = np.array([*(span.end_ns for span in steps), *windows.end_ns.tolist()])
        return IntervalUnion.of(start, end)

    def _in_a_step(self, instant_ns: int) -> bool:
        """Return whether a step, or warm-up that was recorded, is open at an instant."""
        return bool(self._open.contains(np.array([instant_ns]))[0])

    def _recorded_steps(self) -> list[Span]:
        steps = self.recorded.take(self.recorded.called(names.STEP))
        steps = steps.take(outermost(steps, place=steps.process))
        times = zip(*(column.tolist() for column in columns(intervals(steps))), strict=True)
        return sorted((Span(names.STEP, *each) for each in times), key=lambda span: span.start_ns)

    def _inferred_steps(self) -> list[Span]:
        """Return the steps that optimizers end: each from the end of the one before."""
        rows = np.flatnonzero(self.traces.is_step)
        updates = self.traces.updates.take(rows)
        order = np.argsort(updates.start_ns, kind="stable")
        start, end = updates.start_ns[order], updates.end_ns[order]
        warm = self.recorded.take(self.recorded.called(names.WARMUP))
        result: list[Span] = []
        begin, _ = self.bounds
        for place in range(len(start)):
            later = place + 1
            if later < len(start) and not self._parted(int(start[place]), int(start[later])):
                continue
            stop = int(end[place])
            around = int(np.searchsorted(self._pass_starts, start[place], side="right")) - 1
            if around >= 0:  # an optimizer may step inside a backward pass
                stop = max(stop, self.passes[around].end_ns)
            over = warm.end_ns[(begin < warm.end_ns) & (warm.end_ns <= start[place])]
            result.append(Span(names.STEP, self.thread, int(over.max(initial=begin)), stop))
            begin = stop
        return result

    def _parted(self, earlier: int, later: int) -> bool:
        """Return whether two updates, by their starts, are of two steps: a pass begins between."""
        if self.passes:
            return has_any(self._pass_starts, earlier + 1, later + 1)
        places = np.searchsorted(self._update_starts, [earlier, later], side="right")
        return int(places[0]) != int(places[1])  # else they were joined: no work lies between


def has_any(ascending: Int64, low: int, high: int) -> bool:
    """Return whether any of some ascending instants lies from one on and before another."""
    first, last = np.searchsorted(ascending, [low, high])
    return bool(first < last)


def training_thread(traces: Traces) -> int:
    """Return the thread of a process that steps the optimizer, else has most work of its own."""
    candidates = (
        traces.updates.thread[traces.is_step],
        traces.work.thread[~inside(traces.work, traces.nodes)],
        traces.work.thread,
        traces.nodes.thread,
        traces.updates.thread,
    )
    for threads in candidates:
        ours = threads[~np.isin(threads, traces.engine)]
        if len(ours):
            known, counts = np.unique(ours, return_counts=True)
            return int(known[counts.argmax()])
    return int(np.concatenate([traces.work.thread, traces.nodes.thread])[0])


def inside(some: Intervals, windows: Intervals) -> Bools:
    """Return which intervals begin in a window of their own thread."""
    result = np.zeros(len(some), np.bool_)
    for thread in np.unique(windows.thread).tolist():
        of_it = windows.take(windows.thread == thread)
        union = IntervalUnion.of(of_it.start_ns, of_it.end_ns)
        result |= (some.thread == thread) & union.contains(some.start_ns)
    return result


def marked_ranges(report: Report) -> Marked:
    """Return the ranges of a report, recorded and inferred; `Marked.of` makes them once."""
    recorded = nvtx.load(report)
    phases = recorded.where(lambda name: name in names.PHASES)
    if phases.any():
        return Marked(recorded, notes=note_on_unmarked(report, recorded, phases))
    if not has_traces(report, recorded):
        return Marked(recorded)
    traces = Traces.of(report, recorded)
    any_phase = bool(len(traces.nodes) or len(traces.updates))
    only_forward = not any_phase and is_inference(report, recorded)
    stepping = recorded.called(names.STEP)
    found: list[Span] = []
    steps: list[list[Span]] = []
    threads = (traces.work.thread, traces.nodes.thread, traces.updates.thread)
    for process in np.unique(process_of(np.concatenate(threads))).tolist():
        program = Program.of(process, traces, recorded)
        steps.append(program.steps)
        found += program.steps if program.infers_steps else []
        found += program.phases() if any_phase or only_forward else []
    slower = 0.0
    own = named(recorded, lambda name: not vocabulary.is_profiler_step(name)) & stepping
    if not own.any() and not recorded.called(names.WARMUP).any():
        slower = times_slower(steps)
        found += [each[0]._replace(name=names.WARMUP) for each in steps if slower and each]
    notes: tuple[str, ...] = (FORWARD_NOTE,) if only_forward else ()
    if any_phase:
        notes = (PHASES_NOTE, *(() if traces.is_step.any() else (NO_OPTIMIZER_NOTE,)))
    return Marked(with_spans(recorded, found), notes, slower)


def has_traces(report: Report, recorded: Ranges) -> bool:
    """Return whether PyTorch left any trace, by the names that there are: no work is read."""
    tells = (
        vocabulary.is_profiler_step(name)
        or vocabulary.optimizer_call(name) != ""
        or name.startswith(vocabulary.EVALUATE)
        for name in recorded.names
    )
    return (
        any(tells)
        or not tables.is_empty(report, tables.OPERATOR)
        or len(tables.named_threads(report, vocabulary.ENGINE_THREAD)) > 0
    )


def is_inference(report: Report, recorded: Ranges) -> bool:
    """Return whether PyTorch's profiler saw operators and the author of the script marked nothing.

    Only that profiler would have seen autograd's nodes, had there been any. Where the author opened
    ranges, those say more than one phase for everything.
    """
    own = named(recorded, lambda name: not vocabulary.is_of_pytorch(name))
    return not tables.is_empty(report, tables.OPERATOR) and not own.any()


def times_slower(steps: Sequence[Sequence[Span]]) -> float:
    """Return how many times as long as the others' median the first step took, or 0.0.

    That is 0.0 unless the first step is an outlier; it is that of all processes, a step being as
    long as in the process where it took longest.
    """
    count = max(map(len, steps), default=0)
    if count <= FEWEST_OTHERS:
        return 0.0
    wall = np.zeros(count)
    for each in steps:
        times = [span.end_ns - span.start_ns for span in each]
        wall[: len(times)] = np.maximum(wall[: len(times)], times)
    if not is_high_outlier(float(wall[0]), wall[1:], at_least=OUTLYING):
        return 0.0
    return float(wall[0] / max(float(np.median(wall[1:])), 1.0))


def note_on_unmarked(report: Report, recorded: Ranges, phases: Bools) -> tuple[str, ...]:
    """Return a note where only some phases are marked and PyTorch ran others outside of them."""
    marked = recorded.take(phases)
    missing = [
        label for label in (names.BACKWARD, names.OPTIMIZER) if not marked.called(label).any()
    ]
    if not missing:
        return ()
    traces = Traces.of(report, recorded)
    ran = {names.BACKWARD: traces.nodes, names.OPTIMIZER: traces.updates.take(traces.is_step)}
    windows = Intervals(marked.process, marked.start_ns, marked.end_ns)
    outside = [
        label
        for label in missing
        if not inside(replace(ran[label], thread=process_of(ran[label].thread)), windows).all()
    ]
    if not outside:
        return ()
    there = [label for label in names.PHASES if marked.called(label).any()]
    verb = "is" if len(there) == 1 else "are"
    return (
        f"only {' and '.join(there)} {verb} marked: {' and '.join(outside)}, which PyTorch ran "
        "outside of that, count as other",
    )


def with_spans(recorded: Ranges, spans: Sequence[Span]) -> Ranges:
    """Return ranges with inferred ones put in, around recorded ones that last as long."""
    if not spans:
        return recorded
    depth = {name: place for place, name in enumerate((names.WARMUP, names.STEP, *names.PHASES))}
    spans = sorted(spans, key=lambda span: depth[span.name])
    known = sorted({*recorded.names, *(span.name for span in spans)})
    number = {name: place for place, name in enumerate(known)}
    moved = np.array([number[name] for name in recorded.names], np.int64)
    count, more = len(recorded), len(spans)
    thread, start, end = (
        np.concatenate([np.array([span[field] for span in spans], np.int64), column])
        for field, column in enumerate(columns(intervals(recorded)), start=1)
    )
    order = ordered(start, end, thread)

    def put(filling: int, column: Int64) -> Int64:
        return np.concatenate([np.full(more, filling, column.dtype), column])[order]

    name = np.concatenate(
        [np.array([number[span.name] for span in spans], np.int64), moved[recorded.name]]
    )
    return replace(
        recorded,
        names=RangeNames(known),
        name=name[order],
        start_ns=start[order],
        end_ns=end[order],
        thread=thread[order],
        process=process_of(thread[order]),
        payload=put(tables.MISSING, recorded.payload),
        domain=put(0, recorded.domain),
        start_end=np.concatenate([np.zeros(more, np.bool_), recorded.start_end])[order],
        elsewhere=np.concatenate([np.zeros(more, np.bool_), recorded.elsewhere])[order],
        inferred=np.concatenate([np.ones(more, np.bool_), np.zeros(count, np.bool_)])[order],
    )
