"""Watchers: a recorder that keeps ranges in a tree, and a list of the operators dispatched."""

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from profiling.spans.backward import open_range_stack


@dataclass
class Range:
    name: str
    flops: int | None = None
    children: list["Range"] = field(default_factory=list)

    def tree(self) -> tuple[str, list[object]] | str:
        return (
            (self.name, [child.tree() for child in self.children]) if self.children else self.name
        )

    def walk(self) -> "list[Range]":
        return [self, *(inner for child in self.children for inner in child.walk())]


class Recorded:
    """Every range pushed, by thread; `balanced` says whether all were popped."""

    def __init__(self) -> None:
        self._open: dict[int, list[Range]] = {}
        self.roots: list[Range] = []

    def push(self, name: str, flops: int | None) -> None:
        range_ = Range(name, flops)
        open_ranges = self._open.setdefault(threading.get_ident(), [])
        (open_ranges[-1].children if open_ranges else self.roots).append(range_)
        open_ranges.append(range_)

    def pop(self) -> None:
        self._open[threading.get_ident()].pop()  # IndexError: popped more often than pushed

    @property
    def balanced(self) -> bool:
        return not any(self._open.values())

    def trees(self) -> list[tuple[str, list[object]] | str]:
        return [root.tree() for root in self.roots]

    def all(self, name: str) -> list[Range]:
        return [inner for root in self.roots for inner in root.walk() if inner.name == name]

    def pushed(self) -> dict[str, int]:
        return Counter(self.names())

    def names(self) -> list[str]:
        return [inner.name for root in self.roots for inner in root.walk()]


class Operators(TorchDispatchMode):
    """Every operator dispatched, and the innermost range that was open: ``(range, operator)``."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[str, str]] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        innermost = open_range_stack()[-1].name if open_range_stack() else ""
        self.calls.append((innermost, func.overloadpacket.__name__))
        return func(*args, **(kwargs or {}))
