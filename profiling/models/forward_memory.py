"""Whether one forward pass of a language model fits in memory, said before the system ends it."""

from typing import TYPE_CHECKING

import torch

from profiling.common.machine import available_bytes
from profiling.models.input_shapes import InputShape

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def needed_bytes(config: "PretrainedConfig", shape: InputShape, dtype: torch.dtype) -> int:
    """Return what a forward pass takes at the least: logits, one MLP, and eager scores.

    The logits are all there at the end, in the model's number format; the MLP holds its gate, its
    product and its result at once; eager attention its scores, once so and once in float32.
    """
    tokens = shape.batch_size * shape.input_len
    logits = tokens * _field(config, "vocab_size")
    mlp = tokens * 3 * _field(config, "intermediate_size")
    scores = 0
    if getattr(config, "_attn_implementation", None) == "eager":
        scores = tokens * shape.input_len * _field(config, "num_attention_heads")
    return max(logits * dtype.itemsize, mlp * dtype.itemsize, scores * (dtype.itemsize + 4))


def check(config: "PretrainedConfig", shape: InputShape, dtype: torch.dtype, device: str) -> None:
    """Refuse a shape that cannot fit; a GPU says so itself.

    Raises:
        MemoryError: it needs more than is available.
    """
    if device.startswith("cuda"):
        return
    needed, available = needed_bytes(config, shape, dtype), available_bytes(device)
    if needed > available:
        raise MemoryError(
            f"out of memory: it needs at least {needed / 2**30:.1f} GiB and "
            f"{available / 2**30:.1f} GiB are free"
        )


def _field(config: "PretrainedConfig", name: str) -> int:
    value = getattr(config, name, 0)
    return value if isinstance(value, int) else 0
