"""Two tiny models that generate together, on disk and loaded, and an oracle for what they say."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from transformers import DynamicCache

from profiling.generation import pair as generation_pair
from profiling.generation.pair import ReadyModels
from profiling.generation.selection import ModelSelection
from tests.made.models.tiny_qwen import save_tiny

BASE_LAYERS: Final = 4
TEACHER_LAYERS: Final = 3
PROMPT: Final = "How many clips did Natalia sell altogether?"


def saved_pair(folder: Path, **teacher: Any) -> ModelSelection:
    """Save a base of four layers and a teacher of three; return how to load them."""
    base = save_tiny(folder / "base", layers=BASE_LAYERS)
    shape = {"layers": TEACHER_LAYERS, "heads": 2, "kv_heads": 1, "seed": 1}
    other = save_tiny(folder / "teacher", **{**shape, **teacher})
    # In float32 a prompt read in two pieces gives the same tokens as one read at once.
    return ModelSelection(base=str(base), teacher=str(other), dtype="float32", projector_hidden=24)


def loaded(models: ModelSelection, **changes: Any) -> ReadyModels:
    """Load them."""
    return generation_pair.load_models(replace(models, **changes))


def plain(model: Any, ids: list[int], most: int, cache: Any = None) -> list[int]:
    """Return what transformers' own greedy generation says after a prompt."""
    prompt = torch.tensor([ids])
    with torch.no_grad():
        said = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            past_key_values=cache,
            max_new_tokens=most,
            do_sample=False,
        )
    return [int(token) for token in said[0, len(ids) :]]


def fused(ready: ReadyModels, ids: list[int], teachers: list[int], most: int) -> list[int]:
    """Return what transformers says after a cache that is fused here, by another road.

    Both models read the whole prompt with their heads; their caches are cut, the projectors called
    one by one, and a cache built anew that ``generate`` goes on with.
    """
    pair = ready.pair
    assert pair.fuser
    assert pair.teacher is not None
    ours, theirs = (
        _cache(model, tokens) for model, tokens in ((pair.base, ids), (pair.teacher, teachers))
    )
    layers = []
    for layer, projector in enumerate(pair.fuser.projectors):
        source = theirs[max(0, len(theirs) - len(ours) + layer)]
        with torch.no_grad():
            layers.append(projector(source, ours[layer]))
    return plain(pair.base, ids, most, DynamicCache(layers))


def _cache(model: Any, ids: list[int]) -> list[tuple[Tensor, Tensor]]:
    with torch.no_grad():
        cache = model(torch.tensor([ids]), use_cache=True).past_key_values
    return [(layer.keys[:, :, :-1], layer.values[:, :, :-1]) for layer in cache.layers]
