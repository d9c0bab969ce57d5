"""The decoder layers of a model one cannot edit, and the modules that bound their parts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from torch import nn

from profiling.common.errors import LaunchError

INPUT_NORM: Final = "input_layernorm"
SELF_ATTENTION: Final = "self_attn"
MIDDLE_NORM: Final = "post_attention_layernorm"
MLP: Final = "mlp"
EXPECTED: Final = (INPUT_NORM, SELF_ATTENTION, MIDDLE_NORM, MLP)
"""What a layer must hold: each norm begins a half of it, the end of the layer ends the second."""

_BOUND_ELSEWHERE: Final = ("pre_feedforward_layernorm", "pre_feedforward_layer_norm")
"""In layers that have one of these, the middle norm stands before the residual, not after it."""

PROJECTIONS: Final = ("q_proj", "k_proj", "v_proj", "qkv_proj")
HEAD_NORMS: Final = ("q_norm", "k_norm")
OUTPUTS: Final = ("o_proj", "out_proj", "dense")


@dataclass(frozen=True, slots=True)
class DecoderLayer:
    """One decoder layer.

    Attributes:
        number: its place, from 0.
        module: the layer itself.
        parts: the modules of `EXPECTED`, by name.
    """

    number: int
    module: nn.Module
    parts: dict[str, nn.Module]

    @property
    def attention(self) -> nn.Module:
        """The module that attends."""
        return self.parts[SELF_ATTENTION]

    def of_attention(self, names: tuple[str, ...]) -> Iterator[nn.Module]:
        """Give those of the named modules that the attention has."""
        for name in names:
            if isinstance(part := getattr(self.attention, name, None), nn.Module):
                yield part


def find_layers(model: nn.Module) -> list[DecoderLayer]:
    """Return the decoder layers of a Qwen, Llama or like model, in order.

    Raises:
        LaunchError: no list of modules holds such layers.
    """
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) and all(map(_is_layer, module)):
            return [
                DecoderLayer(number, layer, {part: getattr(layer, part) for part in EXPECTED})
                for number, layer in enumerate(module)
            ]
    raise LaunchError(
        f"{type(model).__name__} has no list of layers with {', '.join(EXPECTED)} and without "
        f"{_BOUND_ELSEWHERE[0]}; take a model built like Qwen3 or Llama"
    )


def _is_layer(module: nn.Module) -> bool:
    has_all = all(isinstance(getattr(module, part, None), nn.Module) for part in EXPECTED)
    return has_all and not any(hasattr(module, part) for part in _BOUND_ELSEWHERE)
