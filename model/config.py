"""Shapes of the decoder: the sizes of CS336 assignment 2, and any other by hand."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The hyperparameters of a decoder-only transformer.

    Raises:
        ValueError: a count is not a positive whole number, the heads do not divide ``d_model``,
            or the width of a head is odd (rotary embedding turns pairs of channels).
    """

    d_model: int
    d_ff: int
    num_layers: int
    num_heads: int
    vocab_size: int = 10_000
    rope_theta: float = 10_000.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{field.name} must be a positive whole number, not {value!r}")
        if not self.rope_theta > 0:
            raise ValueError(f"rope_theta must be positive, not {self.rope_theta!r}")
        if self.d_model % self.num_heads:
            raise ValueError(
                f"num_heads must divide d_model: {self.d_model} / {self.num_heads} "
                f"is {self.d_model / self.num_heads:.2f}"
            )
        if self.head_width % 2:
            raise ValueError(
                f"rotary embedding needs an even head width: d_model {self.d_model} / "
                f"num_heads {self.num_heads} is {self.head_width}"
            )

    @property
    def head_width(self) -> int:
        """Channels of one attention head."""
        return self.d_model // self.num_heads

    @property
    def parameter_count(self) -> int:
        """Every parameter, the untied embedding and LM head included.

        >>> SIZES["small"].parameter_count
        128625408
        """
        block = 4 * self.d_model**2 + 3 * self.d_model * self.d_ff + 2 * self.d_model
        return 2 * self.vocab_size * self.d_model + self.num_layers * block + self.d_model


def _size(d_model: int, d_ff: int, num_layers: int, num_heads: int) -> ModelConfig:
    return ModelConfig(d_model=d_model, d_ff=d_ff, num_layers=num_layers, num_heads=num_heads)


SIZES = {
    "tiny": ModelConfig(d_model=64, d_ff=192, num_layers=2, num_heads=4, vocab_size=256),
    "small": _size(768, 3072, 12, 12),
    "medium": _size(1024, 4096, 24, 16),
    "large": _size(1280, 5120, 36, 20),
    "xl": _size(1600, 6400, 48, 25),
    "2.7B": _size(2560, 10240, 32, 32),
    "10B": _size(4608, 12288, 50, 36),
    # The 2026 handout calls this shape "xl"; the 2025 one, whose xl stands above, "2.7B".
    "xl-2026": _size(2560, 10240, 32, 32),
}
"""Name to shape. `xl` and `2.7B` are those of the 2025 handout (v1.0.5), `10B` of 2026."""
