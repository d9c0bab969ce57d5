"""The projector, the fusion of caches, the alignment of tokens, and trained weights on disk."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, DynamicCache

from model.c2c import Fuser, cache_shape, clone_cache, layer_mapping
from model.c2c.projector import (
    NORM_EPS,
    Branch,
    CacheShape,
    KeyValue,
    Projector,
    ProjectorShape,
    projector_flops,
)
from profiling import names
from profiling.spans import costs, recording
from tests.made.models.tiny_qwen import save_tiny
from tests.made.runs.recorded import Recorded

SHARER, RECEIVER = CacheShape(3, 1, 16), CacheShape(4, 2, 16)
SMALL = ProjectorShape(hidden=24, intermediate=40)


def cache(shape: CacheShape, positions: int, seed: int = 0) -> KeyValue:
    generator = torch.Generator().manual_seed(seed)
    size = (1, shape.heads, positions, shape.width)
    return torch.randn(size, generator=generator), torch.randn(size, generator=generator)


def projector(shape: ProjectorShape = SMALL) -> Projector:
    torch.manual_seed(1)
    return Projector(SHARER, RECEIVER, shape).eval()


def by_hand(branch: Branch, source: Tensor, target: Tensor) -> Tensor:
    """Compute an open branch token by token and head by head, from the paper's description."""
    weights = {name: value.double() for name, value in branch.state_dict().items()}

    def mlp(name: str, x: Tensor) -> Tensor:
        normed = x / torch.sqrt((x * x).mean() + NORM_EPS) * weights[f"{name}.norm.weight"]
        inner = weights[f"{name}.up.weight"] @ normed
        gelu = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
        result: Tensor = x + weights[f"{name}.down.weight"] @ gelu
        return result

    def linear(name: str, x: Tensor) -> Tensor:
        result: Tensor = weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]
        return result

    result = target.double().clone()
    for n in range(target.shape[2]):
        tokens = [side[0, head, n] for side in (source, target) for head in range(side.shape[1])]
        x = mlp("mlp", linear("input", torch.cat(tokens).double()))
        scalars = linear("scalar_head", mlp("scalar_mlp", x))
        features = linear("feature_out", mlp("feature_mlps.0", x))
        for head in range(target.shape[1]):
            part = features[head * 16 : (head + 1) * 16]
            result[0, head, n] += part / (1 + torch.exp(-scalars[head]))
    return result


def test_a_fresh_projector_is_the_identity() -> None:
    source, target = cache(SHARER, 5), cache(RECEIVER, 5, seed=1)
    fused = projector()(source, target)
    assert torch.equal(fused[0], target[0])
    assert torch.equal(fused[1], target[1])


def test_a_closed_gate_keeps_out_even_what_overflows() -> None:
    made = projector()
    with torch.no_grad():
        made.key.feature_out.bias.fill_(torch.inf)
    target = cache(RECEIVER, 2)
    assert torch.equal(made(cache(SHARER, 2), target)[0], target[0])


def test_an_open_projector_computes_what_the_paper_says() -> None:
    source, target = cache(SHARER, 3), cache(RECEIVER, 3, seed=1)
    made = projector()
    made.open_gates()
    with torch.no_grad():
        keys, values = made(source, target)
    torch.testing.assert_close(keys.double(), by_hand(made.key, source[0], target[0]))
    torch.testing.assert_close(values.double(), by_hand(made.value, source[1], target[1]))
    assert not torch.allclose(keys, target[0])


def test_the_gates_of_keys_and_values_are_two() -> None:
    made = projector()
    with torch.no_grad():
        made.value.gate_logit.fill_(0.5)
        source, target = cache(SHARER, 3), cache(RECEIVER, 3, seed=1)
        keys, values = made(source, target)
    assert torch.equal(keys, target[0])
    assert not torch.allclose(values, target[1])
    assert made.is_open


def test_in_training_the_gate_lets_a_share_through_and_learns() -> None:
    made = projector().train()
    keys, _ = made(cache(SHARER, 3), cache(RECEIVER, 3, seed=1))
    keys.sum().backward()
    gradient = made.key.gate_logit.grad
    assert gradient is not None
    assert gradient != 0


def test_the_published_shape_has_the_published_size() -> None:
    with torch.device("meta"):
        made = Projector(CacheShape(24, 2, 64), CacheShape(28, 8, 128))
    weights = sum(weight.numel() for weight in made.parameters())
    assert weights == 17_066_002
    assert round(28 * weights / 1e6, 1) == 477.8


@pytest.mark.parametrize("shape", [SMALL, ProjectorShape(hidden=8, intermediate=12, depth=5)])
def test_the_products_agree_with_torchs_own_count(shape: ProjectorShape) -> None:
    made = projector(shape)
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        made(cache(SHARER, 7), cache(RECEIVER, 7))
    assert counted.get_total_flops() == projector_flops(SHARER, RECEIVER, shape, 7)


def test_a_projector_is_a_range_for_each_part_of_keys_and_of_values() -> None:
    fuser = Fuser(SHARER, RECEIVER, SMALL).eval()
    seen = Recorded()
    with recording(seen), torch.no_grad():
        fuser.fuse_layer(0, [cache(SHARER, 5)] * 3, [cache(RECEIVER, 5)] * 4)
    parts = [
        names.PROJECTOR_CONCAT,
        names.PROJECTOR_INPUT,
        names.PROJECTOR_MLP,
        names.PROJECTOR_SCALAR,
        names.PROJECTOR_FEATURE,
        names.PROJECTOR_FUSE,
    ]
    assert seen.trees() == [(names.PROJECTOR, [*parts, *parts])]
    assert seen.balanced
    flops = sum(part.flops or 0 for part in seen.roots[0].children)
    products = projector_flops(SHARER, RECEIVER, SMALL, 5)
    assert products < flops < 1.5 * products  # elementwise work counts as well
    known = {name for name, *_ in costs()}
    assert set(parts) <= known


def test_the_last_layers_are_paired_and_the_first_share_one() -> None:
    assert layer_mapping(24, 28) == (0, 0, 0, 0, *range(24))
    assert layer_mapping(36, 28) == tuple(range(8, 36))
    assert layer_mapping(1, 3, "nearest") == (0, 0, 0)
    assert layer_mapping(3, 1, "nearest") == (0,)
    with pytest.raises(ValueError, match="no mapping is called 'other'"):
        layer_mapping(1, 1, "other")


def test_each_layer_reads_the_sharers_layer_that_is_its_own() -> None:
    fuser = Fuser(SHARER, RECEIVER, SMALL, mapping=(2, 0, 1, 1)).eval()
    fuser.open_gates()
    assert fuser.open_layers == 4
    source = [cache(SHARER, 3, seed) for seed in range(3)]
    target = [cache(RECEIVER, 3, seed + 9) for seed in range(4)]
    made = fuser.projectors[2]
    with torch.no_grad():
        keys, _ = fuser.fuse_layer(2, source, target)
        assert torch.equal(keys, made(source[1], target[2])[0])
        assert not torch.equal(keys, made(source[2], target[2])[0])


def test_what_cannot_be_fused_is_refused() -> None:
    fuser = Fuser(SHARER, RECEIVER, SMALL)
    with pytest.raises(ValueError, match="layer 0 has 5 cached positions and the sharer's has 3"):
        fuser.fuse_layer(0, [cache(SHARER, 3)] * 3, [cache(RECEIVER, 5)] * 4)
    with pytest.raises(ValueError, match="a mapping of 4 layers into 3"):
        Fuser(SHARER, RECEIVER, SMALL, mapping=(0, 1, 2, 3))
    with pytest.raises(ValueError, match="three layers"):
        ProjectorShape(depth=2)


def test_a_cloned_cache_stays_as_it_was() -> None:
    held: Any = DynamicCache()
    held.update(*cache(RECEIVER, 3), 0)
    ((keys, _),) = clone_cache(held)
    held.layers[0].keys.zero_()
    assert torch.equal(keys, cache(RECEIVER, 3)[0])


def test_what_a_model_caches_is_asked_of_the_model(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(save_tiny(tmp_path, layers=3, kv_heads=2))
    assert cache_shape(model) == CacheShape(3, 2, 16)
