"""Cache-to-cache communication (C2C, arXiv 2510.03215): a receiver reads what a sharer has read.

Both models prefill the same tokens. Then one `Projector` for each receiver layer makes, from the
sharer's cache of a layer assigned to it and the receiver's own, the cache the receiver goes on
with. There is one sharer, so that adding several in turn or at once would come to the same.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from model.c2c.choices import MAPPINGS
from model.c2c.projector import CacheShape, KeyValue, Projector, ProjectorShape, copy_cost
from profiling import names
from profiling.spans import span


def layer_mapping(sources: int, targets: int, how: str = MAPPINGS[0]) -> tuple[int, ...]:
    """Return the sharer's layer for each of the receiver's.

    ``last_aligned`` pairs the last with the last, the one before with the one before, and so on;
    receiver layers that are left share the sharer's first. ``nearest`` pairs equal relative depths.

    Raises:
        ValueError: no mapping is called so.

    >>> layer_mapping(3, 5), layer_mapping(3, 5, "nearest")
    ((0, 0, 0, 1, 2), (0, 1, 1, 2, 2))
    """
    if how == "last_aligned":
        return tuple(max(0, sources - targets + layer) for layer in range(targets))
    if how == "nearest":
        # Half a layer is rounded up: Python's round() would go by whether the layer is even.
        whole = max(targets - 1, 1)
        return tuple((2 * layer * (sources - 1) + whole) // (2 * whole) for layer in range(targets))
    raise ValueError(f"no mapping is called {how!r}; there are: {', '.join(MAPPINGS)}")


class Fuser(nn.Module):
    """A projector for each layer of the receiver, and the sharer's layer that each one reads.

    Args:
        source: what the sharer caches.
        target: what the receiver caches.
        shape: of every projector.
        mapping: see `layer_mapping`; None is ``last_aligned``.

    Raises:
        ValueError: the mapping is not one layer of the sharer for each of the receiver.
    """

    def __init__(
        self,
        source: CacheShape,
        target: CacheShape,
        shape: ProjectorShape | None = None,
        mapping: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.mapping = tuple(mapping or layer_mapping(source.layers, target.layers))
        if len(self.mapping) != target.layers or not set(self.mapping) <= set(range(source.layers)):
            raise ValueError(
                f"a mapping of {target.layers} layers into {source.layers} cannot be {self.mapping}"
            )
        self.source, self.target = source, target
        self.shape = shape or ProjectorShape()
        self.projectors = nn.ModuleList(
            Projector(source, target, self.shape) for _ in range(target.layers)
        )

    def __len__(self) -> int:
        return len(self.mapping)

    def fuse_layer(
        self, layer: int, source: Sequence[KeyValue], target: Sequence[KeyValue]
    ) -> KeyValue:
        """Return the cache of one receiver layer, enriched; of both models all layers are given.

        Raises:
            ValueError: the caches hold different numbers of positions.
        """
        theirs, ours = source[self.mapping[layer]], target[layer]
        if theirs[0].shape[-2] != ours[0].shape[-2]:
            raise ValueError(
                f"layer {layer} has {ours[0].shape[-2]} cached positions and the sharer's has "
                f"{theirs[0].shape[-2]}; C2C wants a cache of every position, no sliding window"
            )
        with span(names.PROJECTOR):
            fused: KeyValue = self.projectors[layer](theirs, ours)
            return fused

    def open_gates(self) -> None:
        """Let every projector act."""
        for projector in self.projectors:
            assert isinstance(projector, Projector)
            projector.open_gates()

    @property
    def open_layers(self) -> int:
        """How many projectors change anything in eval mode."""
        return sum(
            isinstance(projector, Projector) and projector.is_open for projector in self.projectors
        )


def clone_cache(cache: Any) -> list[KeyValue]:
    """Return a copy of what a transformers ``Cache`` holds, layer by layer.

    The projectors read these copies: the models' own caches are then free to change.
    """
    layers = [(layer.keys, layer.values) for layer in cache.layers]
    elements = sum(keys.numel() + values.numel() for keys, values in layers)
    itemsize = layers[0][0].element_size() if layers else 0
    with span(names.CACHE_CLONE, cost=lambda: copy_cost(elements, itemsize)):
        return [(keys.clone(), values.clone()) for keys, values in layers]


def put_layer(cache: Any, layer: int, fused: KeyValue) -> None:
    """Give one layer of a transformers ``Cache`` other keys and values, as many as it has."""
    held = cache.layers[layer]
    held.keys, held.values = fused


def cache_shape(model: Any) -> CacheShape:
    """Return what a causal language model of transformers caches, by letting it read one token.

    Raises:
        ValueError: it does not cache keys and values, all of one shape, in each layer.
    """
    with torch.inference_mode():
        token = torch.zeros((1, 1), dtype=torch.long, device=model.device)
        output = model.base_model(input_ids=token, use_cache=True)
    cache = getattr(output, "past_key_values", None)
    layers = getattr(cache, "layers", None) or []
    caches = [(getattr(layer, "keys", None), getattr(layer, "values", None)) for layer in layers]
    shapes = {tuple(part.shape) for pair in caches for part in pair if part is not None}
    if not layers or len(shapes) != 1 or any(part is None for pair in caches for part in pair):
        raise ValueError("it does not keep keys and values of one shape in every layer")
    ((_, heads, _, width),) = shapes
    return CacheShape(len(layers), heads, width)
