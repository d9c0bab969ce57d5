"""Layers are timed part by part, exactly, on both clocks, and the model is left as it was."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    PreTrainedModel,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.qwen3 import modeling_qwen3

from profiling.layers import layer_timer
from profiling.layers.layer_timer import LayerTimer
from profiling.layers.timing_records import run_record
from profiling.layers.timing_run import one_forward
from profiling.models.input_shapes import InputShape
from tests.made.models.tiny_qwen import built, tiny_config

LAYERS = 4


@pytest.fixture(scope="module")
def qwen() -> PreTrainedModel:
    return built(tiny_config(LAYERS))


class Ticking:
    """A clock that goes on by a millisecond whenever it is read, and by what work adds."""

    def __init__(self, tick_ms: int = 0) -> None:
        self.now_ms = 0
        self._tick_ms = tick_ms

    def __call__(self) -> float:
        self.now_ms += self._tick_ms
        return self.now_ms / 1e3


def works(clock: Ticking, module: nn.Module, ms: int) -> Callable[[], None]:
    """Let a module take so long; return what undoes it."""

    def spend(*_: object) -> None:
        clock.now_ms += ms

    real = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        spend()
        return real(*args, **kwargs)

    module.forward = forward
    return lambda: module.__dict__.pop("forward", None) and None


SPENT_MS = {
    "input_layernorm": 3,
    "post_attention_layernorm": 5,
    "mlp": 700,
    "self_attn.q_proj": 20,
    "self_attn.k_proj": 11,
    "self_attn.v_proj": 13,
    "self_attn.q_norm": 2,
    "self_attn.k_norm": 4,
    "self_attn.o_proj": 17,
}


@pytest.fixture
def busy(qwen: PreTrainedModel) -> Iterator[Ticking]:
    """Give the clock of a model whose parts take as long as `SPENT_MS` says."""
    clock = Ticking()
    undo = [
        works(clock, layer.get_submodule(name), ms)
        for layer in qwen.model.layers
        for name, ms in SPENT_MS.items()
    ]
    undo += [works(clock, qwen.model.norm, 1000), works(clock, qwen.lm_head, 2000)]
    yield clock
    for each in undo:
        each()


def host_ms(parts: dict[str, layer_timer.PartTime]) -> dict[str, float]:
    return {name: part.host_ns / 1e6 for name, part in parts.items()}


def test_each_part_has_the_time_of_what_runs_in_it(qwen: PreTrainedModel, busy: Ticking) -> None:
    with LayerTimer(qwen, "cpu", clock=busy) as timer:
        run = timer.time(one_forward(qwen, InputShape(2, 8), "cpu", 0))
    assert [host_ms(layer) for layer in run.layers] == LAYERS * [
        {
            "attn": 3 + 20 + 11 + 13 + 2 + 4 + 17,
            "attn_forward": 20 + 11 + 13 + 2 + 4 + 17,
            "ffn": 5 + 700,
            "qkv_projection": 20 + 11 + 13,
            "qk_norm": 2 + 4,
            "rope": 0,
            "attention_core": 0,
            "output_projection": 17,
        }
    ]
    inside = sum(layer["attn"].host_ns + layer["ffn"].host_ns for layer in run.layers)
    assert run.total_ns - inside == 3_000_000_000  # the final norm and the head
    assert {part.device_ns for layer in run.layers for part in layer.values()} == {None}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_rotation_and_attention_proper_are_seen(
    attention: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Ticking()

    def slowed(real: Callable[..., Any], ms: int) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            clock.now_ms += ms
            return real(*args, **kwargs)

        return call

    rotate, eager = modeling_qwen3.apply_rotary_pos_emb, modeling_qwen3.eager_attention_forward
    monkeypatch.setattr(modeling_qwen3, "apply_rotary_pos_emb", slowed(rotate, 30))
    monkeypatch.setattr(modeling_qwen3, "eager_attention_forward", slowed(eager, 40))
    sdpa = slowed(ALL_ATTENTION_FUNCTIONS["sdpa"], 50)
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, "sdpa", sdpa)
    model = built(tiny_config(LAYERS), attention)
    with LayerTimer(model, "cpu", clock=clock) as timer:
        run = timer.time(one_forward(model, InputShape(1, 8), "cpu", 0))
    proper = 40 if attention == "eager" else 50
    for layer in run.layers:
        found = host_ms(layer)
        assert (found["rope"], found["attention_core"]) == (30, proper)
        assert found["attn"] == found["attn_forward"] == 30 + proper
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is sdpa


def test_every_instant_is_in_one_part(qwen: PreTrainedModel) -> None:
    with LayerTimer(qwen, "cpu", clock=Ticking(tick_ms=1)) as timer:
        run = timer.time(one_forward(qwen, InputShape(1, 4), "cpu", 0))
    # Two instants bound a call. Between those of the attention there are 16 of its parts:
    # three projections, two norms, rotation, attention proper, output.
    (layer,) = {tuple(host_ms(parts).items()) for parts in run.layers}
    assert dict(layer) == {
        "qkv_projection": 3,
        "qk_norm": 2,
        "rope": 1,
        "attention_core": 1,
        "output_projection": 1,
        "attn_forward": 17,
        "attn": 19,
        "ffn": 1,
    }
    assert run.total_ns / 1e6 == LAYERS * (19 + 1) + LAYERS + 1


class FakeGpu:
    """A device whose clock goes ten times as fast as the host's, and that knows when it is idle."""

    def __init__(self, clock: Ticking) -> None:
        self.clock = clock
        self.idle = True
        self.waits = 0

    def synchronize(self, _device: str) -> None:
        self.idle = True
        self.waits += 1

    def event(self, *, enable_timing: bool) -> "FakeEvent":
        assert enable_timing
        return FakeEvent(self)


class FakeEvent:
    def __init__(self, gpu: FakeGpu) -> None:
        self._gpu = gpu
        self.at_ms = -1

    def record(self, _stream: object = None) -> None:
        self._gpu.idle = False
        self.at_ms = 10 * self._gpu.clock.now_ms

    def elapsed_time(self, end_event: "FakeEvent") -> float:
        assert self._gpu.idle, "an event was read while the device was at work"
        return end_event.at_ms - self.at_ms


def test_the_gpu_is_timed_by_events_that_are_read_afterwards(
    qwen: PreTrainedModel, busy: Ticking, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = FakeGpu(busy)
    monkeypatch.setattr(layer_timer, "synchronize", gpu.synchronize)
    monkeypatch.setattr("torch.cuda.Event", gpu.event)
    monkeypatch.setattr("torch.cuda.current_stream", lambda _: None)
    forward = one_forward(qwen, InputShape(1, 8), "cpu", 0)
    waits = []

    def watched_forward() -> None:
        before = gpu.waits
        forward()
        waits.append(gpu.waits - before)

    with LayerTimer(qwen, "cuda", clock=busy) as timer:
        runs = [timer.time(watched_forward) for _ in range(2)]
    assert waits == [0, 0]
    assert gpu.waits == 4  # before and after each run
    assert runs[0] == runs[1]
    for parts in runs[0].layers:
        for part in parts.values():
            assert part.device_ns == 10 * part.host_ns
    assert runs[0].layers[0]["ffn"].device_ns == 7_050_000_000
    kept = asdict(run_record(runs[0], 1, 8).layer_details[0])
    assert (kept["ffn"], kept["ffn_cuda"]) == (0.705, 7.05)
    assert kept["attn_details"]["attn_forward_cuda"] == 0.67


def test_events_are_on_the_stream_of_the_device_asked_for(
    qwen: PreTrainedModel, busy: Ticking, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu, streams = FakeGpu(busy), []

    class Event(FakeEvent):
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing
            super().__init__(gpu)

        def record(self, stream: object = "of the current device") -> None:
            streams.append(stream)
            super().record()

    monkeypatch.setattr(layer_timer, "synchronize", gpu.synchronize)
    monkeypatch.setattr("torch.cuda.Event", Event)
    monkeypatch.setattr("torch.cuda.current_stream", lambda device: f"of {device}")
    with LayerTimer(qwen, "cuda:1", clock=busy) as timer:
        run = timer.time(one_forward(qwen, InputShape(1, 4), "cpu", 0))
    assert set(streams) == {"of cuda:1"}
    assert run.layers[0]["ffn"].device_ns == 7_050_000_000


def test_the_timer_changes_no_result_and_leaves_nothing_behind(qwen: PreTrainedModel) -> None:
    tokens = torch.arange(10)[None]
    rotation = modeling_qwen3.apply_rotary_pos_emb
    sdpa = ALL_ATTENTION_FUNCTIONS["sdpa"]
    with torch.inference_mode():
        before = qwen(tokens).logits
        with LayerTimer(qwen, "cpu"):
            assert ALL_ATTENTION_FUNCTIONS["sdpa"] is not sdpa
            assert torch.equal(qwen(tokens).logits, before)
        assert torch.equal(qwen(tokens).logits, before)
    assert modeling_qwen3.apply_rotary_pos_emb is rotation
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is sdpa
    assert "eager" not in ALL_ATTENTION_FUNCTIONS
    hooks = [m for m in qwen.modules() if m._forward_hooks or m._forward_pre_hooks]
    assert not hooks


def test_another_model_that_runs_meanwhile_is_not_counted(qwen: PreTrainedModel) -> None:
    other = built(tiny_config(2))
    tokens = torch.arange(6)[None]

    def both() -> None:
        with torch.inference_mode():
            other(tokens)
            qwen(tokens)
            other(tokens)

    with LayerTimer(qwen, "cpu", clock=Ticking(tick_ms=1)) as timer:
        layers = timer.time(both).layers
        assert layers == timer.time(lambda: qwen(tokens)).layers
    assert host_ms(layers[0])["attn"] == 19
