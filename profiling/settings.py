"""What is to be run: the model's shape, the batch, the mode, the number of steps."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from profiling.errors import UsageError

if TYPE_CHECKING:
    from model.config import ModelConfig

MODES: Final = ("train", "forward_backward", "forward")
DTYPES: Final = ("float32", "bfloat16", "float16")
ATTENTIONS: Final = ("eager",)
SHAPE_FIELDS: Final = ("d_model", "d_ff", "num_layers", "num_heads", "vocab_size")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One run of our own model."""

    size: str
    config: ModelConfig
    mode: str = "train"
    batch: int
    context: int
    dtype: str = "float32"
    device: str
    attention: str = "eager"
    steps: int = 3
    warmup: int = 1
    seed: int = 0

    def save(self, path: Path) -> None:
        """Write the settings for the process that runs them."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Read what `save` wrote."""
        from model.config import ModelConfig

        fields = json.loads(path.read_text())
        return cls(**{**fields, "config": ModelConfig(**fields["config"])})

    def describe(self) -> str:
        """Return every setting in one line, defaults too."""
        steps = f"{self.warmup} warm-up + {self.steps} steps"
        return (
            f"{self.size} ({self.config.parameter_count:,} parameters), {self.mode}, "
            f"batch {self.batch}, context {self.context}, {self.dtype} on {self.device}, "
            f"{self.attention} attention, {steps}"
        )


def shape(size: str, **changes: int | None) -> ModelConfig:
    """Return a size of the table, with some hyperparameters given by hand.

    Raises:
        UsageError: no such size, or an impossible shape.
    """
    from model.config import SIZES  # here: beside a script its own `model` may stand

    if size not in SIZES:
        raise UsageError(f"no size is called {size!r}; there are: {', '.join(SIZES)}")
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        return replace(SIZES[size], **given)
    except ValueError as error:
        raise UsageError(str(error)) from None
