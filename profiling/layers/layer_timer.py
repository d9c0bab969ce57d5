"""Time every layer of a model one cannot edit, part by part, by the hooks of its modules.

The host's clock and the device's are read apart, at the same instants: on a GPU the first says
when work was launched, CUDA events when it was done. The events are read once the run is over, so
nothing waits inside it. An instant costs the host a few microseconds, which are in the part that
is open.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from timeit import default_timer
from typing import Any, Final, Protocol, Self

import torch
from torch import nn

from analysis.layers.records import ATTN, ATTN_FORWARD, FFN
from profiling import names
from profiling.common.errors import LaunchError
from profiling.common.timing import Clock, synchronize, to_ns
from profiling.layers.layer_parts import (
    EXPECTED,
    HEAD_NORMS,
    INPUT_NORM,
    MIDDLE_NORM,
    MLP,
    OUTPUTS,
    PROJECTIONS,
    DecoderLayer,
    find_layers,
)
from profiling.spans import attention_wraps, span

QK_NORM: Final = "qk_norm"

DETAILS: Final = (
    names.QKV_PROJECTION,
    QK_NORM,
    names.ROPE,
    names.ATTENTION_CORE,
    names.OUTPUT_PROJECTION,
)
"""What `ATTN_FORWARD` is split into, where the model lets us."""


class Event(Protocol):
    """An instant of a CUDA stream."""

    def record(self) -> None:
        """Let the current stream note when it gets here."""

    def elapsed_time(self, end_event: Any, /) -> float:
        """Return the milliseconds from this event to a later one, both done."""


class StreamEvent:
    """An event of one device's stream, whichever device is the current one."""

    def __init__(self, device: str) -> None:
        self._event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        self._stream = torch.cuda.current_stream(device)

    def record(self) -> None:
        """Let the stream note when it gets here."""
        self._event.record(self._stream)

    def elapsed_time(self, end_event: "StreamEvent", /) -> float:
        """Return the milliseconds from this event to a later one, both done."""
        return float(self._event.elapsed_time(end_event._event))


class Instants:
    """Points in time of one run, on the host and, with events, on the device."""

    def __init__(self, clock: Clock, new_event: Callable[[], Event] | None) -> None:
        self._clock = clock
        self._new_event = new_event
        self._at_ns: list[int] = []
        self._events: list[Event] = []
        self._count = 0

    def restart(self) -> None:
        """Forget the points of an earlier run; its events are used again."""
        self._at_ns.clear()
        self._count = 0

    def mark(self) -> int:
        """Note this instant, and return its number."""
        if self._new_event is not None:
            if self._count == len(self._events):
                self._events.append(self._new_event())
            self._events[self._count].record()
        self._count += 1
        self._at_ns.append(self.now_ns())
        return self._count - 1

    def now_ns(self) -> int:
        """Return what the host's clock says."""
        return to_ns(self._clock())

    def host_ns(self, start: int, end: int) -> int:
        """Return the time between two instants on the host."""
        return self._at_ns[end] - self._at_ns[start]

    def device_ns(self, start: int, end: int) -> int | None:
        """Return the time between two instants on the device, idle by now; None without one."""
        if self._new_event is None:
            return None
        # In milliseconds, to about half a microsecond.
        return round(self._events[start].elapsed_time(self._events[end]) * 1e6)


@dataclass(frozen=True, slots=True)
class PartTime:
    """How long a part of a layer took.

    Attributes:
        host_ns: on the host; on a GPU that is the launching.
        device_ns: on the GPU; None on a CPU.
    """

    host_ns: int
    device_ns: int | None

    def __add__(self, other: "PartTime") -> "PartTime":
        """Return both together, for a part that comes in pieces."""
        device = None
        if self.device_ns is not None and other.device_ns is not None:
            device = self.device_ns + other.device_ns
        return PartTime(self.host_ns + other.host_ns, device)


@dataclass(frozen=True, slots=True)
class TimedForward:
    """The times of one forward pass, layer by layer.

    Attributes:
        total_ns: on the host, from an idle device to an idle device.
        layers: in order; the parts of each by name. A part that the model does not let us see
            is not there.
    """

    total_ns: int
    layers: list[dict[str, PartTime]]


class LayerTimer:
    """The hooks, in place while it is entered; `time` runs the model once.

    Args:
        model: of transformers, with layers as `find_layers` wants them.
        device: it is on.
        clock: of the host, in seconds; a test gives its own.
        new_event: makes a CUDA event; by default a real one on a GPU and none on a CPU.
    """

    def __init__(
        self,
        model: nn.Module,
        device: str,
        clock: Clock = default_timer,
        new_event: Callable[[], Event] | None = None,
    ) -> None:
        self.layers = find_layers(model)
        self._device = device
        if new_event is None and device.startswith("cuda"):
            new_event = partial(StreamEvent, device)
        self._instants = Instants(clock, new_event)
        self._spans: dict[int, list[tuple[str, int, int]]] = {}
        self._open: list[tuple[str, int]] = []
        self._misplaced: set[int] = set()
        self._layer = -1
        self._running = False  # what the model does between two runs is nobody's time
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        for layer in self.layers:
            self._hook(layer)
        attentions = [layer.attention for layer in self.layers]
        self._undo.enter_context(attention_wraps.watching_attention(attentions, self._around))
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def time(self, forward: Callable[[], object]) -> TimedForward:
        """Run the model once, and return the times of its layers.

        Raises:
            LaunchError: its layers do not run their parts in the order that is timed.
        """
        self._spans = {layer.number: [] for layer in self.layers}
        self._open.clear()
        self._misplaced.clear()
        self._layer = -1
        self._instants.restart()
        synchronize(self._device)
        start_ns = self._instants.now_ns()
        self._running = True
        try:
            forward()
        finally:
            self._running = False
        synchronize(self._device)
        total_ns = self._instants.now_ns() - start_ns
        return TimedForward(total_ns, [self._summed(layer) for layer in self.layers])

    def _summed(self, layer: DecoderLayer) -> dict[str, PartTime]:
        parts: dict[str, PartTime] = {}
        for name, start, end in self._spans[layer.number]:
            piece = PartTime(
                self._instants.host_ns(start, end), self._instants.device_ns(start, end)
            )
            parts[name] = parts[name] + piece if name in parts else piece
        if layer.number in self._misplaced or {ATTN, ATTN_FORWARD, FFN} - parts.keys():
            raise LaunchError(
                f"layer {layer.number} ({type(layer.module).__name__}) does not run "
                f"{', '.join(EXPECTED)} in this order; take a model built like Qwen3 or Llama"
            )
        return parts

    def _hook(self, layer: DecoderLayer) -> None:
        self._before(layer.parts[INPUT_NORM], partial(self._begin, layer.number))
        self._before(layer.parts[MIDDLE_NORM], self._turn)
        self._after(layer.module, self._finish)
        self._before(layer.attention, partial(self._expect, layer.number, ATTN))
        self._before(layer.parts[MLP], partial(self._expect, layer.number, FFN))
        self._bracket(layer.attention, ATTN_FORWARD)
        for names_, part in (
            (PROJECTIONS, names.QKV_PROJECTION),
            (HEAD_NORMS, QK_NORM),
            (OUTPUTS, names.OUTPUT_PROJECTION),
        ):
            for module in layer.of_attention(names_):
                self._bracket(module, part)

    def _before(self, module: nn.Module, do: Callable[[], None]) -> None:
        hook = module.register_forward_pre_hook(lambda *_: do() if self._running else None)
        self._undo.callback(hook.remove)

    def _after(self, module: nn.Module, do: Callable[[], None]) -> None:
        hook = module.register_forward_hook(lambda *_: do() if self._running else None)
        self._undo.callback(hook.remove)

    def _bracket(self, module: nn.Module, part: str) -> None:
        self._before(module, partial(self._start, part))
        self._after(module, partial(self._end, part))

    def _begin(self, number: int) -> None:
        self._layer = number
        self._open.clear()
        self._start(ATTN)

    def _expect(self, number: int, half: str) -> None:
        """Note that a module runs in a half of its layer that is not its own."""
        if self._layer != number or not self._open or self._open[-1][0] != half:
            self._misplaced.add(number)

    def _turn(self) -> None:
        """Go over from the first half to the second, at one instant."""
        now = self._instants.mark()
        self._close(ATTN, now)
        self._open.append((FFN, now))

    def _finish(self) -> None:
        self._end(FFN)
        self._layer = -1

    def _start(self, part: str) -> None:
        self._open.append((part, self._instants.mark()))

    def _end(self, part: str) -> None:
        self._close(part, self._instants.mark())

    def _close(self, part: str, now: int) -> None:
        """End the part, if it is the innermost that is open; else it is not where it should be."""
        if self._layer >= 0 and self._open and self._open[-1][0] == part:
            _, start = self._open.pop()
            self._spans[self._layer].append((part, start, now))

    @contextmanager
    def _around(self, name: str) -> Iterator[None]:
        with span(name):
            if not self._running:
                yield
                return
            self._start(name)
            try:
                yield
            finally:
                self._end(name)
