"""The input shapes to time: one from the command line, or several from a file; what they take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from analysis.source.json_files import read_file
from profiling.common.errors import LaunchError
from profiling.common.machine import available_bytes

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

SMALLER: Final = "lower the batch or the length"
"""What to do where a shape does not fit."""

SHIPPED: Final = Path(__file__).with_name("benchmark_configs.json")
"""What ``--configs benchmark_configs.json`` means where no file here is called so."""

_EXAMPLE: Final = '[{"batch_size": 1, "input_len": 128}, …]'

Count = Annotated[int, msgspec.Meta(ge=1)]


class InputShape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One configuration: how many sequences of how many tokens."""

    batch_size: Count
    input_len: Count

    def __str__(self) -> str:
        return f"batch {self.batch_size}, length {self.input_len}"

    def needed_bytes(self, config: PretrainedConfig, dtype: torch.dtype) -> int:
        """Return what a forward pass takes at the least: logits, one MLP, or eager scores.

        The logits are all there at the end, in the model's number format; the MLP holds its gate,
        its product and its result at once; eager attention its scores, once so and once in float32.
        """

        def size(name: str) -> int:
            value = getattr(config, name, 0)
            return value if isinstance(value, int) else 0

        tokens = self.batch_size * self.input_len
        scores = 0
        if getattr(config, "_attn_implementation", None) == "eager":
            scores = tokens * self.input_len * size("num_attention_heads")
        widest = max(size("vocab_size"), 3 * size("intermediate_size"))
        return max(tokens * widest * dtype.itemsize, scores * (dtype.itemsize + 4))

    def check_memory(self, config: PretrainedConfig, dtype: torch.dtype, device: str) -> None:
        """Refuse a shape that cannot fit, before the system ends the process; a GPU says so itself.

        Raises:
            MemoryError: it needs more than is available.
        """
        if device.startswith("cuda"):
            return
        needed, available = self.needed_bytes(config, dtype), available_bytes(device)
        if needed > available:
            raise MemoryError(
                f"out of memory: it needs at least {needed / 2**30:.1f} GiB and "
                f"{available / 2**30:.1f} GiB are free"
            )


Shapes = Annotated[list[InputShape], msgspec.Meta(min_length=1)]


class _ShapesFile(msgspec.Struct):
    configs: Shapes


def read_shapes(path: Path) -> list[InputShape]:
    """Read a list ``[{"batch_size": 1, "input_len": 128}, …]``, or ``{"configs": [that list]}``.

    Raises:
        CommandError: it cannot be read, or an entry is not a shape; the entry is named.
    """
    if not path.exists() and str(path) == SHIPPED.name:
        path = SHIPPED
    try:
        found = msgspec.json.decode(read_file(path, "name another file"), type=_ShapesFile | Shapes)
    except (ValueError, RecursionError) as error:
        raise LaunchError(f"{path}: no shapes ({error}); write {_EXAMPLE}") from None
    return found if isinstance(found, list) else found.configs
