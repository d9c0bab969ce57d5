"""What is to be run: the model's shape, the batch, the mode, the number of steps."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from analysis.show.render import plural
from profiling.common.errors import UsageError

if TYPE_CHECKING:
    from model.config import ModelConfig

MODES: Final = ("train", "forward_backward", "forward")
DTYPES: Final = ("float32", "bfloat16", "float16")
ATTENTIONS: Final = ("eager", "sdpa", "flash", "flash-reference")
OPTIMIZERS: Final = ("default", "fused", "foreach", "loop")
COMPILE_MODES: Final = ("default", "max-autotune-no-cudagraphs", "reduce-overhead")
"""What torch.compile calls them: cuBLAS; products chosen by timing; replayed as CUDA graphs."""

CUDA_GRAPHS: Final = "reduce-overhead"
COMPILE_SCOPES: Final = ("model", "block")
"""What is one graph to the compiler: `profiling.training.training`."""

BLOCK: Final = "block"
PRECISIONS: Final[dict[str, dict[str, Any]]] = {
    "float32": {},
    "tf32": {"tf32": True},
    "bfloat16": {"dtype": "bfloat16"},
    "float16": {"dtype": "float16"},
    "bfloat16-autocast": {"autocast": "bfloat16"},
    "float16-autocast": {"autocast": "float16"},
}
"""What a column of dtypes may say: weights of that type, TF32 products, or weights of float32 with
products cast by autocast."""

SHAPE_FIELDS: Final = ("d_model", "d_ff", "num_layers", "num_heads", "vocab_size")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One run of our own model.

    Raises:
        UsageError: it says how to compile what is not compiled.

    Attributes:
        dtype: of weights, activations and gradients.
        autocast: what matrix products are cast to; the weights keep ``dtype``.
        tf32: whether float32 products may run in TF32.
        compile_mode: of torch.compile, one of `COMPILE_MODES`.
        compile_scope: what is one graph to it, one of `COMPILE_SCOPES`.
        checkpoint: blocks whose activations are kept as one and recomputed; 0 keeps all.
    """

    size: str
    config: ModelConfig
    mode: str = "train"
    batch: int
    context: int
    dtype: str = "float32"
    device: str
    autocast: str | None = None
    tf32: bool = False
    attention: str = "eager"
    compile: bool = False
    compile_mode: str = COMPILE_MODES[0]
    compile_scope: str = COMPILE_SCOPES[0]
    optimizer: str = "default"
    checkpoint: int = 0
    steps: int = 3
    warmup: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for option, known in (("mode", COMPILE_MODES), ("scope", COMPILE_SCOPES)):
            chosen = getattr(self, f"compile_{option}")
            if not self.compile and chosen != known[0]:
                raise UsageError(
                    f"--compile-{option} {chosen} is of --compile; give that too, or leave it out"
                )

    def save(self, path: Path) -> None:
        """Write the settings for the process that runs them."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Read what `save` wrote."""
        return cls.from_fields(json.loads(path.read_text()))

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Settings:
        """Return the settings that `asdict` made these fields of."""
        from model.config import ModelConfig

        return cls(**{**fields, "config": ModelConfig(**fields["config"])})

    def describe(self) -> str:
        """Return every setting in one line, defaults too."""
        steps = runs(self.warmup, self.steps)
        return (
            f"{self.size} ({self.config.parameter_count:,} parameters), {self.mode}, "
            f"batch {self.batch}, context {self.context}, {self.precision} on {self.device}, "
            f"{', '.join([f'{self.attention} attention', *self.variants])}, {steps}"
        )

    def facts(self) -> dict[str, str]:
        """Return what a report must tell of the run."""
        config = self.config
        return {
            "size": self.size,
            "d_model": str(config.d_model),
            "d_ff": str(config.d_ff),
            "num_layers": str(config.num_layers),
            "num_heads": str(config.num_heads),
            "vocab_size": str(config.vocab_size),
            "parameters": str(config.parameter_count),
            "mode": self.mode,
            "batch": str(self.batch),
            "context": str(self.context),
            "dtype": self.dtype,
            "autocast": self.autocast or "none",
            "attention": self.attention,
            "compile": str(self.compile).lower(),
            "compile_mode": self.compile_mode if self.compile else "none",
            "compile_scope": self.compile_scope if self.compile else "none",
            "optimizer": self.optimizer,
            "checkpoint": str(self.checkpoint),
            "steps": str(self.steps),
            "warmup": str(self.warmup),
            "seed": str(self.seed),
        }

    @property
    def precision(self) -> str:
        """The name of the precision in a table, as `PRECISIONS` has it."""
        if self.autocast:
            return f"{self.autocast}-autocast"
        return "tf32" if self.tf32 else self.dtype

    @property
    def _compiled(self) -> str:
        scope = " block by block" if self.compile_scope == BLOCK else ""
        mode = f" ({self.compile_mode})" if self.compile_mode != COMPILE_MODES[0] else ""
        return f"compiled{scope}{mode}"

    @property
    def variants(self) -> list[str]:
        """What differs from the plain model, in words."""
        return [
            *([self._compiled] if self.compile else []),
            *([f"{self.optimizer} optimizer"] if self.optimizer != "default" else []),
            *([f"checkpoints of {self.checkpoint} blocks"] if self.checkpoint else []),
        ]


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


def runs(warmup: int, steps: int) -> str:
    """Return how many steps a run has, and how many before them do not count.

    >>> runs(1, 3), runs(0, 1)
    ('1 warm-up + 3 steps', 'no warm-up + 1 step')
    """
    return f"{warmup or 'no'} warm-up + {plural(steps, 'step')}"
