"""What a span is written to: NVTX, the PyTorch profiler, or a list."""

import os
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Final, Protocol

import nvtx
import torch

from profiling.names import recordable

INJECTION_VARIABLE: Final = "NVTX_INJECTION64_PATH"
"""Set by a profiler (nsys does) in the process whose NVTX calls it listens to."""


class RangeSink(Protocol):
    """Where ranges go. Ranges of one thread are popped in the reverse order of their pushes."""

    def push(self, name: str, flops: int | None) -> None:
        """Open a range on this thread; ``flops`` is its payload, where it has one."""

    def pop(self) -> None:
        """Close the innermost open range of this thread."""

    def pushed(self) -> dict[str, int]:
        """Return how often each name was pushed."""


class SilentSink:
    """Ranges that are kept nowhere: spans are on, and so is the stack of those that are open."""

    def push(self, name: str, flops: int | None) -> None:
        """Open a range."""

    def pop(self) -> None:
        """Close the innermost open range."""

    def pushed(self) -> dict[str, int]:
        """Return nothing."""
        return {}


class NvtxSink:
    """Ranges for nsys, pushed into NVTX's default domain with the FLOPs as 64-bit payload.

    The package registers every string and keeps it for good, and making an annotation costs three
    times as much as entering one: so annotations are made once for each name and payload.
    """

    def __init__(self, domain: str | None = None) -> None:
        self._domain = domain
        self._known: dict[tuple[str, int | None], nvtx.annotate] = {}
        self._pushed: Counter[str] = Counter()
        self._open = threading.local()

    def push(self, name: str, flops: int | None) -> None:
        """Open a range on this thread."""
        name = name.replace("\0", "\\0")  # a C string would end there
        key = name, flops
        annotation = self._known.get(key)
        if annotation is None:
            annotation = nvtx.annotate(name, domain=self._domain, payload=flops)
            self._known[key] = annotation
        annotation.__enter__()
        self._pushed[name] += 1
        self._stack().append(annotation)

    def pop(self) -> None:
        """Close the innermost open range of this thread."""
        self._stack().pop().__exit__(None, None, None)

    def pushed(self) -> dict[str, int]:
        """Return how often each name was pushed."""
        return dict(self._pushed)

    def _stack(self) -> list[nvtx.annotate]:
        try:
            stack: list[nvtx.annotate] = self._open.stack
        except AttributeError:
            stack = self._open.stack = []
        return stack


@dataclass(slots=True)
class _Pushed:
    flops: int | None
    popped: bool = False


class TorchSink:
    """Ranges for the PyTorch profiler.

    Its trace has no room for a payload (the arguments of ``record_function`` do not reach it), so
    the payloads are kept here, in order of opening per thread and name, for the converter to pair
    up again: see `profiling.torch_trace`.
    """

    def __init__(self) -> None:
        self._open = threading.local()
        self._payloads: dict[tuple[int, str], list[_Pushed]] = defaultdict(list)

    def push(self, name: str, flops: int | None) -> None:
        """Open a range on this thread, by a name that the trace can hold."""
        name = recordable(name)
        annotation = torch.profiler.record_function(name)
        annotation.__enter__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        pushed = _Pushed(flops)
        self._payloads[threading.get_native_id(), name].append(pushed)
        try:
            self._open.stack.append((annotation, pushed))
        except AttributeError:
            self._open.stack = [(annotation, pushed)]

    def pop(self) -> None:
        """Close the innermost open range of this thread."""
        annotation, pushed = self._open.stack.pop()
        annotation.__exit__(None, None, None)
        pushed.popped = True

    def pushed(self) -> dict[str, int]:
        """Return how often each name was pushed."""
        counts: Counter[str] = Counter()
        for (_, name), values in self._payloads.items():
            counts[name] += len(values)
        return dict(counts)

    def payloads(self) -> dict[str, dict[str, list[int | None]]]:
        """Return the payloads in order, by native thread id (as text) and name.

        A range that is still open, on some thread that goes on, is not in the trace.
        """
        threads: dict[str, dict[str, list[int | None]]] = defaultdict(dict)
        for (thread, name), values in self._payloads.items():
            threads[str(thread)][name] = [value.flops for value in values if value.popped]
        return dict(threads)


def injected_sink() -> RangeSink | None:
    """Return the NVTX sink where a profiler listens to this process's NVTX, else nothing."""
    return NvtxSink() if os.environ.get(INJECTION_VARIABLE) else None
