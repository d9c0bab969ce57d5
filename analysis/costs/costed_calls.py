"""Costed calls: which calls have FLOPs and least bytes, and which of them launched which work.

A call is one of our spans, or an operator whose shapes were recorded and that has a formula in
`analysis.knowledge.operator_costs`. Work belongs to the innermost call that launched it, so no FLOP
counts twice; where a span and an operator both have it, the span does. Work of several ranks
together is a call of its own kind whoever launched it: its time depends on the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64, coded
from analysis.arithmetic.containment import Intervals, innermost_of_any
from analysis.arithmetic.intervals import NONE, parents
from analysis.attribution import costs
from analysis.attribution.launches import range_intervals
from analysis.costs.uncomputed import uncomputed
from analysis.knowledge import number_formats
from analysis.knowledge import operator_costs as knowledge
from analysis.knowledge.kernel_names import parts as parts_of_name
from analysis.knowledge.operands import SIZE_OF_FORMAT
from analysis.recorded.operator_calls import operator_calls
from analysis.recorded.ranges import outermost
from analysis.source import tables

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.knowledge.operator_costs import OperatorCost
    from analysis.recorded.operator_calls import OperatorCalls

KINDS: Final = (knowledge.MATRIX, knowledge.MEMORY, knowledge.COMMUNICATION)
"""What bounds a call at best: arithmetic (products, convolutions, fused attention), the memory's
bandwidth (all else that computes), or the links between ranks."""

MATRIX, MEMORY, COMMUNICATION = range(3)

SOURCES: Final = ("span", "shapes")
"""Where a call's FLOPs are from: the payload of a span, or an operator's shapes."""

SPAN, SHAPES = range(2)

MULTIPLYING: Final = ("gemm", "convolution", "attention")
"""Categories of work that a span with FLOPs is of kind matrix for, if it launched any."""

COLLECTIVE: Final = "collective"


@dataclass(frozen=True)
class CostedCalls:
    """The calls that cost something and have work of their own, ``C`` of them.

    Attributes:
        names: ``(K,)`` distinct names: of an operator without seq, op_id and sizes, or of a span.
        name: ``(C,)`` the position of each call's name.
        shapes: ``(S,)`` distinct texts such as ``3072×16384×768``; "" where not known.
        shape: ``(C,)`` the position of each call's shapes.
        flops: ``(C,)``, or `tables.MISSING`.
        bytes: ``(C,)`` the least that must move, or `tables.MISSING`.
        kind: ``(C,)`` positions in `KINDS`.
        formats: ``(F,)`` number formats such as ``bf16``; "" where not known.
        number_format: ``(C,)`` positions in ``formats``.
        source: ``(C,)`` positions in `SOURCES`.
        start_ns: ``(C,)`` when the host began the call.
        end_ns: ``(C,)`` when it returned.
        thread: ``(C,)`` the global id of the thread it ran on.
        owner: ``(N,)`` of each piece of the report's ranked work (`Attribution.work`: kernels and
            graph replays, on a CPU operators) the call that it belongs to, a position among the
            ``C``, or `NONE`: not modelled.
    """

    names: list[str]
    name: Int64
    shapes: list[str]
    shape: Int64
    flops: Int64
    bytes: Int64
    kind: Int64
    formats: list[str]
    number_format: Int64
    source: Int64
    start_ns: Int64
    end_ns: Int64
    thread: Int64
    owner: Int64

    def __len__(self) -> int:
        return len(self.name)

    @property
    def is_matrix(self) -> Bools:
        """``(C,)`` which calls are products, convolutions or fused attention."""
        found: Bools = self.kind == MATRIX
        return found

    @property
    def is_communication(self) -> Bools:
        """``(C,)`` which calls are collectives."""
        found: Bools = self.kind == COMMUNICATION
        return found

    def take(self, kept: Bools) -> Self:
        """Return some of the calls; work of the others belongs to none."""
        fields = (
            *("name", "shape", "flops", "bytes", "kind", "number_format", "source"),
            *("start_ns", "end_ns", "thread"),
        )
        place = np.append(np.where(kept, np.cumsum(kept) - 1, NONE), NONE)
        chosen = {field: getattr(self, field)[kept] for field in fields}
        return replace(self, **chosen, owner=place[self.owner])


@dataclass(frozen=True)
class _Texts:
    """A text for each of some calls: few distinct ones, and which of them each has.

    Attributes:
        known: distinct or not.
        code: ``(C,)`` positions in it.
    """

    known: list[str]
    code: Int64

    @classmethod
    def alike(cls, text: str, count: int) -> Self:
        """Return one text for all."""
        return cls([text], np.zeros(count, np.int64))

    def take(self, rows: Int64) -> Self:
        """Return those of some calls."""
        return type(self)(self.known, self.code[rows])


@dataclass(frozen=True)
class _Part:
    """Some calls with the work they own, before they stand in one table.

    Attributes are those of `CostedCalls`.
    """

    name: _Texts
    shape: _Texts
    flops: Int64
    bytes: Int64
    kind: Int64
    number_format: _Texts
    source: Int64
    start_ns: Int64
    end_ns: Int64
    thread: Int64
    owner: Int64

    def __len__(self) -> int:
        return len(self.flops)

    def owners(self, owner: Int64) -> Self:
        """Return the calls that own any of the work, which is told anew."""
        used = np.unique(owner[owner != NONE])
        place = np.full(len(self) + 1, NONE, np.int64)  # one more, for NONE itself
        place[used] = np.arange(len(used))
        text = {field: getattr(self, field).take(used) for field in TEXTS}
        number = {field: getattr(self, field)[used] for field in NUMBERS}
        return type(self)(**text, **number, owner=place[owner])


TEXTS: Final = ("name", "shape", "number_format")
NUMBERS: Final = ("flops", "bytes", "kind", "source", "start_ns", "end_ns", "thread")


def costed_calls(
    attribution: Attribution, *, spans: bool = True, softmax_flops: int = costs.SOFTMAX_FLOPS
) -> CostedCalls:
    """Return the calls of a report that have FLOPs or bytes, and which work each launched.

    Args:
        attribution: the work of the report and its ranges.
        spans: whether our own spans count; without them all is by operators' shapes.
        softmax_flops: for each element of a softmax, forward.
    """
    return attribution.once(_costed_calls, spans, softmax_flops)


def _costed_calls(attribution: Attribution, spans: bool, softmax_flops: int) -> CostedCalls:
    operators = _of_operators(attribution, softmax_flops)
    parts = [operators]
    collective = attribution.work.in_category(COLLECTIVE)
    if spans:
        parts.insert(0, _of_spans(attribution, operators, softmax_flops, ~collective))
    parts.append(_of_collectives(attribution, collective, operators))
    return _together(parts)


def _together(parts: list[_Part]) -> CostedCalls:
    """Return one table of calls; of the parts that own a piece of work the first has it."""
    owner = np.full(len(parts[0].owner), NONE, np.int64)
    kept: list[_Part] = []
    for part in parts:
        fresh = part.owners(np.where(owner == NONE, part.owner, NONE))
        owner = np.where(fresh.owner != NONE, fresh.owner + sum(map(len, kept)), owner)
        kept.append(fresh)
    texts = {field: _joined([getattr(part, field) for part in kept]) for field in TEXTS}
    numbers = {
        field: np.concatenate([getattr(part, field) for part in kept]).astype(np.int64)
        for field in NUMBERS
    }
    return CostedCalls(
        names=texts["name"].known,
        name=texts["name"].code,
        shapes=texts["shape"].known,
        shape=texts["shape"].code,
        formats=texts["number_format"].known,
        number_format=texts["number_format"].code,
        **numbers,
        # Kept for long, and as long as the work: where nothing costs anything it takes no memory.
        owner=owner if any(map(len, kept)) else np.broadcast_to(np.int64(NONE), len(owner)),
    )


def _joined(parts: list[_Texts]) -> _Texts:
    """Return the texts of several parts, the distinct ones that are used ascending."""
    used = [[part.known[code] for code in np.unique(part.code).tolist()] for part in parts]
    known, _ = coded(text for part in used for text in part)
    place = {text: number for number, text in enumerate(known)}
    codes = [
        np.array([place.get(text, NONE) for text in part.known] or [NONE], np.int64)[part.code]
        for part in parts
    ]
    return _Texts(known, np.concatenate(codes))


def _of_operators(attribution: Attribution, softmax_flops: int) -> _Part:
    """Return the operators that have a formula, by their shapes."""
    calls = operator_calls(attribution.report)
    modelled = [
        knowledge.operator_cost(name, operands, softmax_flops)
        if knowledge.has_formula(name)
        else None
        for name, operands in calls.kinds
    ]
    rows = _innermost_calls(calls, modelled)
    if attribution.work.on_cpu:
        kinds = _kinds(modelled)[calls.kind[rows]]
        nothing = uncomputed(attribution.report, calls.take(rows), kinds == MATRIX)
        rows = rows[~nothing]
    spans = Intervals(calls.thread[rows], calls.start_ns[rows], calls.end_ns[rows])
    owner = innermost_of_any(spans, attribution.launches)
    kind = calls.kind[rows]
    formats = _formats(attribution, owner, kind, modelled)
    found, place = _priced(calls, kind, modelled, formats, softmax_flops)
    return _Part(
        name=_Texts([name for name, _ in calls.kinds], kind),
        shape=_Texts([cost.shapes for cost in found], place),
        flops=_numbers(cost.flops for cost in found)[place],
        bytes=_numbers(cost.bytes for cost in found)[place],
        kind=np.array([KINDS.index(cost.kind) for cost in found], np.int64)[place],
        number_format=formats,
        source=np.full(len(kind), SHAPES, np.int64),
        start_ns=spans.start_ns,
        end_ns=spans.end_ns,
        thread=spans.thread,
        owner=owner,
    )


def _kinds(modelled: list[OperatorCost | None]) -> Int64:
    """Return positions in `KINDS`, `NONE` for what has no cost."""
    return np.array([KINDS.index(cost.kind) if cost else NONE for cost in modelled], np.int64)


def _numbers(values: Iterable[int | None]) -> Int64:
    """Return numbers, `tables.MISSING` for one that is not known, or is too large to be true."""
    known = (tables.MISSING if value is None else value for value in values)
    sane = [value if value <= tables.MOST_COST else tables.MISSING for value in known]
    return np.array(sane, np.int64)


def _innermost_calls(calls: OperatorCalls, modelled: list[OperatorCost | None]) -> Int64:
    """Return the positions of calls with a cost, without those that left their work to others.

    An operator that may do so, one of the same name, or one that multiplies matrices, has none of
    its own where another of its kind lies inside it; one that does another's work has none where
    that lies around it.
    """
    kinds = _kinds(modelled)
    wraps = np.array([knowledge.is_wrapper(name) for name, _ in calls.kinds], np.bool_)
    is_part = np.array([name in knowledge.PARTS for name, _ in calls.kinds], np.bool_)
    _, called = coded(name for name, _ in calls.kinds)
    if not len(calls):
        return np.empty(0, np.int64)
    of_call = kinds[calls.kind]
    rows = []
    for kind in range(len(KINDS)):
        of_kind = np.flatnonzero(of_call == kind)
        around = _around(calls, of_kind)
        part = is_part[calls.kind[of_kind]] & (around != NONE)
        if part.any():
            of_kind = of_kind[~part]
            around = _around(calls, of_kind)
        inner = np.flatnonzero(around != NONE)
        outer = around[inner]
        name = called[calls.kind[of_kind]]
        left = np.zeros(len(of_kind), np.bool_)
        if kind == COMMUNICATION:  # the outermost has the name that says what it is
            rows.append(of_kind[around == NONE])
            continue
        may_leave = wraps[calls.kind[of_kind]] | (kind == MATRIX)
        left[outer[may_leave[outer] | (name[inner] == name[outer])]] = True
        rows.append(of_kind[~left])
    return np.sort(np.concatenate(rows))


def _around(calls: OperatorCalls, rows: Int64) -> Int64:
    """Return for each of some calls the innermost other one around it, a position among them."""
    return parents(calls.start_ns[rows], calls.end_ns[rows], calls.thread[rows])


def _formats(
    attribution: Attribution, owner: Int64, kind: Int64, modelled: list[OperatorCost | None]
) -> _Texts:
    """Return the number format of each call: by its operands, else by its longest kernel's name.

    Where operands are fp32 the kernel says whether it multiplied tf32.

    Args:
        attribution: the work.
        owner: ``(N,)`` the call of each piece of it.
        kind: ``(C,)`` the kind of each call.
        modelled: ``(K,)`` what a call of each kind costs.
    """
    of_kind = _Texts([cost.number_format if cost else "" for cost in modelled], kind)
    by_kernel = _formats_by_kernel(attribution, owner, len(kind))
    both = _joined([of_kind, by_kernel])
    told, kernel = both.code[: len(kind)], both.code[len(kind) :]
    known = np.array(both.known)
    unsaid = (known == "")[told] if len(known) else np.zeros(0, np.bool_)
    wider = (known == "fp32")[told] & (known == "tf32")[kernel] if len(known) else unsaid
    return _Texts(both.known, np.where(unsaid | wider, kernel, told))


def _formats_by_kernel(attribution: Attribution, owner: Int64, calls: int) -> _Texts:
    """Return the number format of each call by the name of its longest kernel, or ""."""
    work = attribution.work
    if work.on_cpu:
        return _Texts.alike("", calls)
    # The last is of a call that launched none.
    known = [*(number_formats.of_kernel(name) for name in work.names), ""]
    code = np.full(calls, len(known) - 1, np.int64)
    rows = _by_duration(attribution, owner)
    code[owner[rows]] = work.kind[rows]
    return _Texts(known, code)


def _by_duration(attribution: Attribution, owner: Int64) -> Int64:
    """Return the work that a call owns, the longest last: of several written it stays."""
    rows = np.flatnonzero(owner != NONE)
    return rows[np.argsort(attribution.work.duration_ns[rows], kind="stable")]


def _priced(
    calls: OperatorCalls,
    kind: Int64,
    modelled: list[OperatorCost | None],
    formats: _Texts,
    softmax_flops: int,
) -> tuple[list[OperatorCost], Int64]:
    """Return what calls cost, where their operands' types are not known by the number format.

    Where that is not known either, numbers are as large as most calls' are.

    Args:
        calls: all calls.
        kind: ``(C,)`` of each that counts.
        modelled: what a call of each kind costs by what was recorded of it.
        formats: ``(C,)`` number formats.
        softmax_flops: for each element of a softmax, forward.

    Returns:
        Distinct costs, and ``(C,)`` positions in them.
    """
    counts = np.bincount(formats.code, minlength=len(formats.known)).tolist()
    known = {text: count for text, count in zip(formats.known, counts, strict=True) if count}
    usual = max(sorted(set(known) & set(SIZE_OF_FORMAT)), key=known.__getitem__, default="")
    sizes = [SIZE_OF_FORMAT.get(text, SIZE_OF_FORMAT.get(usual)) for text in formats.known]
    width = max(len(sizes), 1)
    pairs, place = np.unique(kind * width + formats.code, return_inverse=True)
    found = []
    for pair in pairs.tolist():
        number, code = divmod(pair, width)
        cost = modelled[number]
        assert cost is not None, "a call without a cost"
        if cost.bytes is None and cost.kind != knowledge.COMMUNICATION:
            name, operands = calls.kinds[number]
            cost = knowledge.operator_cost(name, operands.sized(sizes[code]), softmax_flops) or cost
        found.append(cost)
    return found, place.astype(np.int64)


def _of_spans(
    attribution: Attribution, operators: _Part, softmax_flops: int, counts: Bools
) -> _Part:
    """Return the spans with FLOPs; of one inside another the outer tells all of them."""
    ranges = attribution.ranges
    flops, _ = costs.range_flops(attribution, softmax_flops)
    has: Bools = (flops != tables.MISSING) & ~ranges.elsewhere
    has[has] = outermost(ranges.take(has))
    chosen = ranges.take(has)
    owner = np.where(counts, innermost_of_any(range_intervals(chosen), attribution.launches), NONE)
    work = attribution.work
    multiplies = np.isin(work.categories, MULTIPLYING)[work.kind] if len(work) else counts
    kind = np.full(len(chosen), MEMORY, np.int64)
    kind[owner[multiplies & (owner != NONE)]] = MATRIX
    size = costs.range_least_bytes(attribution)[has]
    return _Part(
        name=_Texts(*costs.canonical_labels(chosen)),
        shape=_Texts.alike("", len(chosen)),
        flops=flops[has],
        bytes=np.where(size == tables.MISSING, _bytes_inside(owner, operators, len(chosen)), size),
        kind=kind,
        number_format=_formats_of_spans(attribution, owner, operators, len(chosen)),
        source=np.full(len(chosen), SPAN, np.int64),
        start_ns=chosen.start_ns,
        end_ns=chosen.end_ns,
        thread=chosen.thread,
        owner=owner,
    )


def _bytes_inside(owner: Int64, operators: _Part, spans: int) -> Int64:
    """Return the bytes of the operators that each span launched work by; MISSING if one lacks them.

    What has no formula adds nothing: the sum is the least.
    """
    inside = np.flatnonzero((owner != NONE) & (operators.owner != NONE))
    result = np.full(spans, tables.MISSING, np.int64)
    if not len(inside):
        return result
    pairs = np.unique(owner[inside] * len(operators) + operators.owner[inside])
    span, call = pairs // len(operators), pairs % len(operators)
    together = np.zeros(spans, np.int64)
    np.add.at(together, span, operators.bytes[call])
    result[span] = together[span]
    result[span[operators.bytes[call] == tables.MISSING]] = tables.MISSING
    return result


def _formats_of_spans(
    attribution: Attribution, owner: Int64, operators: _Part, spans: int
) -> _Texts:
    """Return the number format of each span: that of the longest work inside that tells one."""
    work = attribution.work
    of_kernels = ["" if work.on_cpu else number_formats.of_kernel(name) for name in work.names] or [
        ""
    ]
    both = _joined(
        [
            _Texts([*operators.number_format.known, ""], _at(operators)),
            _Texts(of_kernels, work.kind),
            _Texts.alike("", spans),
        ]
    )
    told, kernel, nothing = np.split(both.code, [len(work), 2 * len(work)])
    silent = both.known.index("") if "" in both.known else NONE
    code = np.where(told == silent, kernel, told)
    rows = _by_duration(attribution, owner)
    rows = rows[code[rows] != silent]
    result = nothing.copy()
    result[owner[rows]] = code[rows]
    return _Texts(both.known, result)


def _at(operators: _Part) -> Int64:
    """Return ``(N,)`` the number format of the operator that owns each piece of work, or the last.

    One more than there are stands for none.
    """
    texts = operators.number_format
    return np.append(texts.code, len(texts.known))[operators.owner]


def _of_collectives(attribution: Attribution, collective: Bools, operators: _Part) -> _Part:
    """Return the collectives that no operator of their own was recorded around, a call each."""
    kinds = np.append(operators.kind, NONE)[operators.owner]
    rows = np.flatnonzero(collective & (kinds != COMMUNICATION))
    work, launches = attribution.work, attribution.launches
    owner = np.full(len(work), NONE, np.int64)
    owner[rows] = np.arange(len(rows))
    short = [parts_of_name(name).function or name for name in work.names]
    return _Part(
        name=_Texts(short, work.kind[rows]),
        shape=_Texts.alike("", len(rows)),
        flops=np.zeros(len(rows), np.int64),
        bytes=np.full(len(rows), tables.MISSING, np.int64),
        kind=np.full(len(rows), COMMUNICATION, np.int64),
        number_format=_Texts.alike("", len(rows)),
        source=np.full(len(rows), SHAPES, np.int64),
        start_ns=launches.start_ns[rows],
        end_ns=launches.end_ns[rows],
        thread=launches.thread[rows],
        owner=owner,
    )
