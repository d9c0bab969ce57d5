"""Random weights: the shapes that are known, their values, and the tokenizer beside them."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen3ForCausalLM

from profiling.common.errors import LaunchError, UsageError
from profiling.models import pretrained
from profiling.models.pretrained import LoadedModel
from profiling.models.random_model import (
    END,
    SMALLEST,
    byte_tokenizer,
    config_of,
    weight_count,
)
from profiling.models.request import PRESETS, ModelRequest
from tests.made.models.tiny_qwen import tiny_config


def load(**changes: Any) -> LoadedModel:
    """Load on the CPU in float32, unless told otherwise."""
    how: dict[str, Any] = {"device": "cpu", "dtype": "float32", "attention": "sdpa"}
    return pretrained.load(ModelRequest(**{**how, **changes}))


def shape_file(folder: Path, **changes: Any) -> Path:
    """Write the config.json of a tiny Qwen3, with changes."""
    fields = {**tiny_config(initializer_range=0.02).to_dict(), **changes}
    path = folder / "shape.json"
    path.write_text(json.dumps(fields))
    return path


def logits(loaded: LoadedModel, text: str = "the sky is blue") -> torch.Tensor:
    with torch.inference_mode():
        tokens = loaded.tokenizer(text, return_tensors="pt").input_ids
        found: torch.Tensor = loaded.model(tokens).logits
    return found


@pytest.mark.parametrize(
    ("preset", "layers", "hidden", "intermediate", "heads"),
    [("qwen3-0.6b", 28, 1024, 3072, 16), ("qwen3-4b", 36, 2560, 9728, 32)],
)
def test_a_preset_has_as_many_weights_as_its_shape_says(
    preset: str, layers: int, hidden: int, intermediate: int, heads: int
) -> None:
    width, kv_heads, vocabulary = 128, 8, 151_936
    attention = 2 * hidden * heads * width + 2 * hidden * kv_heads * width + 2 * width
    block = attention + 3 * hidden * intermediate + 2 * hidden
    assert weight_count(config_of(preset)) == vocabulary * hidden + layers * block + hidden


def test_the_published_parameter_counts() -> None:
    assert {name: round(weight_count(config_of(name)) / 1e9, 1) for name in PRESETS} == {
        "qwen3-tiny": 0.0,
        "qwen3-0.6b": 0.6,
        "qwen3-4b": 4.0,
    }


def test_random_weights_are_the_same_again_and_others_with_another_seed(tmp_path: Path) -> None:
    shape = str(shape_file(tmp_path))
    first, again, other = (load(random_init=shape, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(logits(first), logits(again))
    assert not torch.equal(logits(first), logits(other))


def test_random_weights_are_spread_as_the_configuration_says(tmp_path: Path) -> None:
    model = load(random_init=str(shape_file(tmp_path, hidden_size=64))).model
    named = dict(model.named_parameters())
    matrices = torch.cat([w.flatten() for w in named.values() if w.dim() > 1])
    assert math.isclose(float(matrices.std()), 0.02, rel_tol=0.03)
    norms = [weight for name, weight in named.items() if "norm" in name]
    assert all(torch.equal(weight, torch.ones_like(weight)) for weight in norms)
    first, second = (named[f"model.layers.{n}.mlp.up_proj.weight"] for n in (0, 1))
    assert not torch.equal(first, second)


def test_positions_are_turned_as_in_a_model_built_the_slow_way(tmp_path: Path) -> None:
    built = Qwen3ForCausalLM(tiny_config())
    mine = load(random_init=str(shape_file(tmp_path))).model
    assert torch.equal(mine.model.rotary_emb.inv_freq, built.model.rotary_emb.inv_freq)


def test_random_weights_stay_finite_through_many_layers(tmp_path: Path) -> None:
    shape = shape_file(tmp_path, num_hidden_layers=36, layer_types=36 * ["full_attention"])
    found = logits(load(random_init=str(shape), dtype="bfloat16"), "a longer text " * 20)
    assert bool(found.isfinite().all())
    assert float(found.float().std()) > 0


def test_tied_embeddings_stay_one(tmp_path: Path) -> None:
    model = load(random_init=str(shape_file(tmp_path))).model
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize("text", ["", "hello", "naïve 世界 \n\t🙂", "".join(map(chr, range(256)))])
def test_the_byte_tokenizer_gives_back_every_text(text: str) -> None:
    tokenizer = byte_tokenizer()
    tokens = tokenizer(text).input_ids
    assert bytes(tokens) == text.encode()
    assert tokenizer.decode(tokens) == text


def test_ids_above_the_bytes_are_seen() -> None:
    tokenizer = byte_tokenizer(SMALLEST + 50)
    assert len(tokenizer) == SMALLEST + 50
    assert tokenizer.decode([65, 300, 66]) == "A<300>B"
    assert tokenizer.convert_tokens_to_ids(END) == tokenizer.eos_token_id == 256


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a valid JSON file"),
        ("[]", "Should have a `model_type` key"),
        ('{"model_type": "zebra"}', "model type `zebra` but Transformers does not recognize"),
        ('{"model_type": "clip_text_model"}', "Unrecognized configuration class"),
        ({"hidden_size": "wide"}, "Field 'hidden_size' expected int, got str"),
        (
            {"num_hidden_layers": 0, "layer_types": []},
            "num_hidden_layers is 0; it must be positive",
        ),
        ({"num_key_value_heads": 3}, "4 attention heads cannot share 3 key-value heads"),
        ({"vocab_size": 100}, "vocab_size is 100; the byte-level tokenizer wants 257"),
    ],
)
def test_a_shape_that_cannot_be_built(
    content: str | dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "shape.json"
    if isinstance(content, str):
        path.write_text(content)
    else:
        shape_file(tmp_path, **content)
    with pytest.raises(LaunchError) as refused:
        load(random_init=str(path))
    assert message in str(refused.value)
    assert str(refused.value).startswith(f"{path}: ")


def test_a_shape_that_is_neither_known_nor_a_file() -> None:
    with pytest.raises(UsageError, match=r"takes .*qwen3-0\.6b, qwen3-4b or a transformers config"):
        load(random_init="qwen3-0.5b")
