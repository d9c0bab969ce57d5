"""Time every layer of a model one cannot edit, part by part, by the hooks of its modules.

The host's clock and the device's are read apart, at the same instants: on a GPU the first says
when work was launched, CUDA events when it was done. The events are read once the run is over, so
nothing waits inside it. An instant costs the host a few microseconds, which are in the part that
is open.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from timeit import default_timer
from typing import Final, Self

from torch import nn
from torch.utils.hooks import RemovableHandle

from analysis.layers.records import ATTN, ATTN_FORWARD, FFN
from profiling import names
from profiling.common.errors import LaunchError
from profiling.common.timing import Clock, ClockMarks, EventMarks, synchronize
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


@dataclass(frozen=True, slots=True)
class PartTime:
    """How long a part of a layer took.

    Attributes:
        host_ns: on the host; on a GPU that is the launching.
        device_ns: on the GPU; None on a CPU.
    """

    host_ns: int
    device_ns: int | None


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
    """

    def __init__(self, model: nn.Module, device: str, clock: Clock = default_timer) -> None:
        self.layers = find_layers(model)
        self._device = device
        self._whole, self._host = ClockMarks(clock), ClockMarks(clock)
        self._gpu = EventMarks(device) if device.startswith("cuda") else None
        self._spans: dict[int, dict[str, list[tuple[int, int]]]] = {}
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
        self._spans = {layer.number: defaultdict(list) for layer in self.layers}
        self._open.clear()
        self._misplaced.clear()
        self._layer = -1
        for marks in (self._whole, self._host, self._gpu):
            if marks:
                marks.restart()
        synchronize(self._device)
        self._whole.mark()
        self._running = True
        try:
            forward()
        finally:
            self._running = False
        synchronize(self._device)
        self._whole.mark()
        return TimedForward(self._whole.total_ns, [self._summed(layer) for layer in self.layers])

    def _summed(self, layer: DecoderLayer) -> dict[str, PartTime]:
        pieces, gpu = self._spans[layer.number], self._gpu
        parts = {
            name: PartTime(
                sum(self._host.ns(*ends) for ends in every),
                sum(gpu.ns(*ends) for ends in every) if gpu else None,
            )
            for name, every in pieces.items()
        }
        if layer.number in self._misplaced or {ATTN, ATTN_FORWARD, FFN} - parts.keys():
            raise LaunchError(
                f"layer {layer.number} ({type(layer.module).__name__}) does not run "
                f"{', '.join(EXPECTED)} in this order; take a model built like Qwen3 or Llama"
            )
        return parts

    def _mark(self) -> int:
        """Note this instant on both clocks, and return its number."""
        if self._gpu:
            self._gpu.mark()
        return self._host.mark()

    def _hook(self, layer: DecoderLayer) -> None:
        def begin() -> None:
            self._layer = layer.number
            self._open.clear()
            self._start(ATTN)

        self._on(layer.parts[INPUT_NORM].register_forward_pre_hook, begin)
        self._on(layer.parts[MIDDLE_NORM].register_forward_pre_hook, self._turn)
        self._on(layer.module.register_forward_hook, self._finish)
        for module, half in ((layer.attention, ATTN), (layer.parts[MLP], FFN)):
            expect = partial(self._expect, layer.number, half)
            self._on(module.register_forward_pre_hook, expect)
        self._bracket(layer.attention, ATTN_FORWARD)
        for names_, part in (
            (PROJECTIONS, names.QKV_PROJECTION),
            (HEAD_NORMS, QK_NORM),
            (OUTPUTS, names.OUTPUT_PROJECTION),
        ):
            for module in layer.of_attention(names_):
                self._bracket(module, part)

    def _bracket(self, module: nn.Module, part: str) -> None:
        self._on(module.register_forward_pre_hook, partial(self._start, part))
        self._on(module.register_forward_hook, partial(self._end, part))

    def _on(self, register: Callable[..., RemovableHandle], do: Callable[[], None]) -> None:
        """Let a module do something before or after it runs, while a run is timed."""
        hook = register(lambda *_: do() if self._running else None)
        self._undo.callback(hook.remove)

    def _expect(self, number: int, half: str) -> None:
        """Note that a module runs in a half of its layer that is not its own."""
        if self._layer != number or not self._open or self._open[-1][0] != half:
            self._misplaced.add(number)

    def _turn(self) -> None:
        """Go over from the first half to the second, at one instant."""
        now = self._mark()
        self._close(ATTN, now)
        self._open.append((FFN, now))

    def _finish(self) -> None:
        self._end(FFN)
        self._layer = -1

    def _start(self, part: str) -> None:
        self._open.append((part, self._mark()))

    def _end(self, part: str) -> None:
        self._close(part, self._mark())

    def _close(self, part: str, now: int) -> None:
        """End the part, if it is the innermost that is open; else it is not where it should be."""
        if self._layer >= 0 and self._open and self._open[-1][0] == part:
            _, start = self._open.pop()
            self._spans[self._layer][part].append((start, now))

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
