"""Self time of nested operators, in one sweep over the operators in order of their starts.

An operator's self time is its duration less that of the operators directly inside. An operator that
is nested alone in one of its own name is the same call once more (a dispatch that went through two
layers) and is merged into it. Both rules, and what counts as inside, are those of PyTorch's own
``key_averages()`` (``EventList._populate_cpu_children`` and ``_remove_dup_nodes``).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple


class Operator(NamedTuple):
    """One operator as it was recorded, in nanoseconds."""

    thread: int
    start_ns: int
    end_ns: int
    name: int
    sequence: int | None = None
    forward_thread: int | None = None


@dataclass(slots=True)
class _Open:
    operator: Operator
    children: int = 0
    children_ns: int = 0
    only: "_Open | None" = None
    """The finished child, held back while it is the only one: it may have to be merged."""


def self_times(operators: Iterable[Operator]) -> Iterator[tuple[Operator, int]]:
    """Yield each operator with its self time in nanoseconds, inner operators before outer ones.

    One that overlaps another without lying inside is not inside: it ends the search for parents
    there, as in PyTorch. Memory is bounded by the depth of the nesting.

    Args:
        operators: sorted by thread, start, and descending end; among equals, the outer one first.

    >>> outer, inner = Operator(1, 0, 10, name=7), Operator(1, 2, 6, name=8)
    >>> [(operator.name, self_ns) for operator, self_ns in self_times([outer, inner])]
    [(8, 4), (7, 6)]
    """
    stack: list[_Open] = []
    for operator in operators:
        while stack and not _inside(operator, stack[-1].operator):
            yield from _close(stack)
        if stack:
            parent = stack[-1]
            parent.children += 1
            if parent.only is not None:
                yield _result(parent.only)
                parent.only = None
        stack.append(_Open(operator))
    while stack:
        yield from _close(stack)


def _inside(operator: Operator, other: Operator) -> bool:
    return (
        operator.thread == other.thread
        and operator.start_ns < other.end_ns
        and operator.end_ns <= other.end_ns
    )


def _close(stack: list[_Open]) -> Iterator[tuple[Operator, int]]:
    """Finish the innermost operator: count it in its parent, and yield what is now certain."""
    done = stack.pop()
    child = done.only
    if child is not None:
        if child.operator.name == done.operator.name:
            # The child's own only child has been dealt with: it never has the same name.
            done.children, done.children_ns = child.children, child.children_ns
        else:
            yield _result(child)
    done.only = None
    if not stack:
        yield _result(done)
        return
    parent = stack[-1]
    parent.children_ns += done.operator.end_ns - done.operator.start_ns
    if parent.children == 1:
        parent.only = done
    else:
        yield _result(done)


def _result(done: _Open) -> tuple[Operator, int]:
    operator = done.operator
    return operator, operator.end_ns - operator.start_ns - done.children_ns
