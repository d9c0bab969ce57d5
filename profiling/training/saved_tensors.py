"""What autograd keeps for the backward pass: which range keeps it, for which operator.

Hooks on saved tensors are told of every tensor a node keeps, at the moment it is kept, so the spans
that are open tell where; afterwards a walk over the graph tells which node asked for it. Tensors
that share a storage take its memory once: it counts where it was kept first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from torch.autograd.graph import Node, saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef

from profiling.spans import recording
from profiling.spans.backends import SilentSink
from profiling.spans.backward import MOST_NODES, open_range_stack

if TYPE_CHECKING:
    from torch import Tensor

    from profiling.spans.backward import OpenRange

ACTIVATION: Final = "activation"
PARAMETER: Final = "parameter"
INPUT: Final = "input"
CONSTANT: Final = "constant"
KINDS: Final = (ACTIVATION, PARAMETER, INPUT, CONSTANT)
"""What a kept tensor is: made by this pass; the model's; the batch; or a table that lives on."""

NO_SPAN: Final = "(no range)"
NO_OPERATOR: Final = "(unknown)"

_PREFIX: Final = "_saved_"
"""How a node calls what it keeps: the matrix product's second operand is ``_saved_mat2``."""

_OF_A_FUNCTION: Final = "saved_tensors"
"""How a function written in Python calls all that it keeps."""


@dataclass(slots=True)
class SavedTensor:
    """One tensor that one node keeps.

    Attributes:
        spans: the ranges that were open, outermost first, each with its number among all ranges of
            the pass.
        shape: of the tensor.
        dtype: of the tensor, as torch calls it.
        storage_bytes: of all the memory that it keeps alive.
        kind: one of `KINDS`.
        storage: the same number for tensors that share memory.
        first: whether this is the first to keep that memory.
        operator: the node and what it calls the tensor: ``MmBackward0.self``.
    """

    spans: tuple[tuple[str, int], ...]
    shape: tuple[int, ...]
    dtype: str
    storage_bytes: int
    kind: str
    storage: int
    first: bool
    operator: str = NO_OPERATOR

    @property
    def span(self) -> str:
        """The innermost range."""
        return self.spans[-1][0] if self.spans else NO_SPAN


@dataclass(frozen=True, slots=True)
class SpanBytes:
    """What the ranges of one name keep, what is inside them included.

    Attributes:
        span: their name.
        instances: how many of them keep anything.
        saved_bytes: activations that none kept before them.
        instance_bytes: of these, the most that one of them keeps.
        shared_bytes: activations they keep too, and others kept first.
        parameter_bytes: parameters they keep; no memory of their own.
        input_bytes: likewise, of the batch.
        constant_bytes: likewise, of tables that live on.
    """

    span: str
    instances: int
    saved_bytes: int
    instance_bytes: int
    shared_bytes: int
    parameter_bytes: int
    input_bytes: int
    constant_bytes: int


@dataclass(frozen=True, slots=True)
class Contributor:
    """Tensors of one shape that one kind of node keeps in the ranges of one name.

    Attributes:
        count: how many of them there are.
        saved_bytes: of all of them together.
    """

    span: str
    operator: str
    shape: tuple[int, ...]
    dtype: str
    count: int
    saved_bytes: int


@dataclass(frozen=True, slots=True)
class SavedTensors:
    """The tensors that one forward pass keeps for its backward pass.

    Attributes:
        kept: in order.
        unasked: nodes whose operators stayed unknown, for there were too many.
    """

    kept: list[SavedTensor]
    unasked: int

    def total_bytes(self, kind: str = ACTIVATION) -> int:
        """Return the bytes of all storages of one kind, each counted once."""
        return sum(each.storage_bytes for each in self.kept if each.first and each.kind == kind)

    def by_span(self) -> list[SpanBytes]:
        """Return a row for every name of a range, in order of appearance."""
        rows: dict[str, list[SavedTensor]] = defaultdict(list)
        for each in self.kept:
            for name in dict(each.spans) or (NO_SPAN,):
                rows[name].append(each)
        return [_of_span(name, kept) for name, kept in rows.items()]

    def largest(self, count: int = 5) -> list[Contributor]:
        """Return the largest contributors, the largest first."""
        groups: dict[tuple[str, str, tuple[int, ...], str], list[int]] = defaultdict(list)
        for each in self.kept:
            if each.first and each.kind == ACTIVATION:
                key = each.span, each.operator, each.shape, each.dtype
                groups[key].append(each.storage_bytes)
        rows = [Contributor(*key, len(sizes), sum(sizes)) for key, sizes in groups.items()]
        return sorted(rows, key=lambda row: -row.saved_bytes)[:count]


def _of_span(name: str, kept: list[SavedTensor]) -> SpanBytes:
    own: dict[int, int] = defaultdict(int)
    others = {kind: dict[int, int]() for kind in KINDS}
    mine = {each.storage for each in kept if each.first}
    for each in kept:
        number = dict(each.spans).get(name, 0)
        own[number] += each.storage_bytes if each.first and each.kind == ACTIVATION else 0
        if each.kind != ACTIVATION or each.storage not in mine:
            others[each.kind][each.storage] = each.storage_bytes
    bytes_of = {kind: sum(sizes.values()) for kind, sizes in others.items()}
    return SpanBytes(
        span=name,
        instances=len(own),
        saved_bytes=sum(own.values()),
        instance_bytes=max(own.values()),
        shared_bytes=bytes_of[ACTIVATION],
        parameter_bytes=bytes_of[PARAMETER],
        input_bytes=bytes_of[INPUT],
        constant_bytes=bytes_of[CONSTANT],
    )


def find_saved_tensors(
    forward: Callable[[], Tensor | None], parameters: Iterable[Tensor], inputs: Iterable[Tensor]
) -> SavedTensors:
    """Return the tensors that one forward pass keeps for its backward pass.

    Args:
        forward: runs it, and returns its result; called twice: what the first pass kept and left
            behind is no activation but lives on.
        parameters: of the model.
        inputs: the batch.
    """
    first = _Watch({})
    result = _watched(first, forward)
    del result
    lasting = {
        number: CONSTANT
        for number, reference in first.storages.items()
        if not reference.expired()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    }
    for kind, tensors in ((PARAMETER, parameters), (INPUT, inputs)):
        lasting |= {int(_reference(each).cdata): kind for each in tensors}
    watch = _Watch(lasting)
    result = _watched(watch, forward)
    unasked = watch.name_operators(result.grad_fn if result is not None else None)
    return SavedTensors(watch.kept, unasked)


def _watched(watch: _Watch, forward: Callable[[], Tensor | None]) -> Tensor | None:
    with recording(SilentSink()), saved_tensors_hooks(watch.pack, watch.unpack):
        return forward()


def _reference(tensor: Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]  # torch again


class _Packed:
    """What a node keeps in place of its tensor."""

    __slots__ = ("kept", "tensor")

    def __init__(self, tensor: Tensor, kept: SavedTensor) -> None:
        self.tensor = tensor
        self.kept = kept


class _Watch:
    """Takes every tensor kept while inside."""

    def __init__(self, lasting: dict[int, str]) -> None:
        self.kept: list[SavedTensor] = []
        self.storages: dict[int, StorageWeakRef] = {}
        self._lasting = lasting
        self._numbers: dict[int, tuple[int, OpenRange]] = {}
        self._asked = NO_OPERATOR

    def pack(self, tensor: Tensor) -> _Packed:
        """Note what is kept, and keep it."""
        reference = _reference(tensor)  # while there is one, its number is of no other storage
        number = int(reference.cdata)
        kept = SavedTensor(
            spans=tuple((each.name, self._number(each)) for each in open_range_stack()),
            shape=tuple(tensor.shape),
            dtype=str(tensor.dtype).removeprefix("torch."),
            storage_bytes=tensor.untyped_storage().nbytes(),
            kind=self._lasting.get(number, ACTIVATION),
            storage=number,
            first=number not in self.storages,
        )
        self.storages.setdefault(number, reference)
        self.kept.append(kept)
        # Detached: a node that held its own result would never go.
        return _Packed(tensor.detach(), kept)

    def unpack(self, packed: _Packed) -> Tensor:
        """Give a node its tensor, and note which node it is, where we asked for it."""
        packed.kept.operator = self._asked
        return packed.tensor

    def name_operators(self, root: Node | None) -> int:
        """Ask every node behind a result what it keeps; return how many are left when it ends."""
        seen: set[Node] = set()
        waiting = [root] if root else []
        while waiting and len(seen) < MOST_NODES:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            for attribute in dir(node):
                if attribute.startswith(_PREFIX) or attribute == _OF_A_FUNCTION:
                    self._asked = f"{node.name()}.{attribute.removeprefix(_PREFIX)}"
                    getattr(node, attribute)
            waiting.extend(following for following, _ in node.next_functions if following)
        return len(set(waiting) - seen)

    def _number(self, opened: OpenRange) -> int:
        # The range is kept too, so that no later one is at its address.
        return self._numbers.setdefault(id(opened), (len(self._numbers), opened))[0]
