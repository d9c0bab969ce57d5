"""Which models can be timed by layer, which parts they show, and the ranges a recording has."""

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor
from transformers import (
    GPT2Config,
    LlamaConfig,
    Phi3Config,
    Qwen2Config,
)

from profiling.common.errors import LaunchError
from profiling.layers.layer_parts import find_layers
from profiling.layers.layer_timer import LayerTimer
from profiling.layers.timing_records import run_record, unmeasured_parts
from profiling.layers.timing_run import one_forward
from profiling.models.input_shapes import InputShape
from profiling.spans import annotate, recording
from profiling.spans.attention_wraps import spans_only, watching_attention
from tests.made.models.tiny_qwen import built, tiny_config
from tests.made.runs.recorded import Recorded

LAYERS = 4
DETAILS = ("qkv_projection", "qk_norm", "rope", "attention_core", "output_projection")


def small(kind: Callable[..., Any], **changes: Any) -> Any:
    """Return the configuration of a small model of another family."""
    return kind(
        num_hidden_layers=2,
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=300,
        pad_token_id=0,
        **changes,
    )


@pytest.mark.parametrize(
    ("kind", "without"),
    [(Qwen2Config, ["qk_norm"]), (LlamaConfig, ["qk_norm"]), (Phi3Config, ["qk_norm"])],
)
def test_parts_that_a_model_has_not_are_named(kind: Callable[..., Any], without: list[str]) -> None:
    model = built(small(kind))
    with LayerTimer(model, "cpu") as timer:
        run = timer.time(one_forward(model, InputShape(1, 8), "cpu", 0))
    assert unmeasured_parts(run) == without
    details = run_record(run, 1, 8).layer_details[0].attn_details
    assert details
    assert details["qk_norm"] is None
    assert all((details[name] or 0) > 0 for name in DETAILS if name not in without)


def test_a_model_without_the_expected_layers() -> None:
    model = built(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=300))
    with pytest.raises(LaunchError) as refused:
        find_layers(model)
    assert str(refused.value) == (
        "GPT2LMHeadModel has no list of layers with input_layernorm, self_attn, "
        "post_attention_layernorm, mlp and without pre_feedforward_layernorm; "
        "take a model built like Qwen3 or Llama"
    )


@pytest.mark.parametrize("order", ["MLP first", "side by side", "attention after both norms"])
def test_layers_that_run_in_another_order(order: str) -> None:
    model = built(tiny_config(1))
    layer = model.model.layers[0]
    first, second = layer.input_layernorm, layer.post_attention_layernorm

    def other_way(hidden_states: Tensor, **kwargs: Any) -> Tensor:
        x = hidden_states
        if order == "MLP first":
            x = layer.mlp(second(x))
            moved: Tensor = x + layer.self_attn(hidden_states=first(x), **kwargs)[0]
            return moved
        if order == "side by side":
            attended = layer.self_attn(hidden_states=first(x), **kwargs)[0] + layer.mlp(x)
            beside: Tensor = attended + second(x)
            return beside
        before, after = first(x), second(x)
        late: Tensor = layer.self_attn(hidden_states=before, **kwargs)[0] + layer.mlp(after)
        return late

    layer.forward = other_way
    forward = one_forward(model, InputShape(1, 4), "cpu", 0)
    with LayerTimer(model, "cpu") as timer, pytest.raises(LaunchError, match="in this order"):
        timer.time(forward)


def test_a_recording_shows_the_parts_of_every_layer() -> None:
    model = annotate(built(tiny_config(LAYERS)))
    recorder = Recorded()
    attentions = [layer.attention for layer in find_layers(model)]
    with recording(recorder), watching_attention(attentions, spans_only):
        one_forward(model, InputShape(1, 4), "cpu", 0)()
    blocks = recorder.all("block")
    assert len(blocks) == LAYERS
    assert recorder.balanced
    parts = ["qkv_projection", "norm", "qkv_projection", "norm", "qkv_projection", "rope"]
    attention = ("attention", [*parts, "attention_core", "output_projection"])
    for block in blocks:
        kinds = [child.tree() for child in block.children]
        assert kinds[:3] == ["norm", attention, "norm"]
        assert kinds[3][0] == "ffn"
    assert recorder.roots[0].name == "forward"
