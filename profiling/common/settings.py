"""What is to be run: the model's shape, the batch, the mode, the number of steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from analysis.show.render import plural
from profiling.common.cli import count, count_or_zero, seed
from profiling.common.errors import UsageError
from profiling.common.options import ByDevice, option

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

LEARNING_RATE: Final = 3e-4
"""Of AdamW."""

PRECISION: Final = ("dtype", "autocast", "tf32")
IMPLEMENTATION: Final = (
    *("attention", "compile", "compile_mode", "compile_scope", "optimizer", "checkpoint"),
)
"""The options of `Settings` on how a model computes."""

SHAPE_FIELDS: Final = ("d_model", "d_ff", "num_layers", "num_heads", "vocab_size")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """A size of our own model, with hyperparameters that may differ from its own."""

    size: str = option("small", "tiny, small, medium, large, xl, xl-2026, 2.7B or 10B")
    d_model: int | None = option(None, "instead of the size's own", read=count)
    d_ff: int | None = option(None, "instead of the size's own", read=count)
    num_layers: int | None = option(None, "instead of the size's own", read=count)
    num_heads: int | None = option(None, "instead of the size's own", read=count)
    vocab_size: int | None = option(None, "instead of the size's own", read=count)

    @property
    def config(self) -> ModelConfig:
        """The hyperparameters.

        Raises:
            UsageError: no such size, or an impossible shape.
        """
        return shape(self.size, **{field: getattr(self, field) for field in SHAPE_FIELDS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One run of our own model; the fields are options of the commands that run it.

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
    mode: str = option(MODES[0], "what a step does", choices=MODES)
    batch: int = option(ByDevice(4, cpu=1), "sequences a step", read=count)
    context: int = option(ByDevice(512, cpu=128), "positions", read=count)
    dtype: str = option(DTYPES[0], "of the weights", choices=DTYPES)
    device: str
    autocast: str | None = option(
        None, "cast matrix products; the weights keep their dtype", choices=DTYPES[1:]
    )
    tf32: bool = option(False, "float32 products in TF32 (GPU)")
    attention: str = option(ATTENTIONS[0], "which implementation", choices=ATTENTIONS)
    compile: bool = option(False, "by torch.compile")
    compile_mode: str = option(COMPILE_MODES[0], "of torch.compile", choices=COMPILE_MODES)
    compile_scope: str = option(
        COMPILE_SCOPES[0],
        "one graph of the model, or one for all blocks, in a fraction of the time to compile",
        choices=COMPILE_SCOPES,
    )
    optimizer: str = option(OPTIMIZERS[0], "how AdamW runs", choices=OPTIMIZERS)
    checkpoint: int = option(
        0,
        "keep the input of every N blocks only, and run them again; 0 keeps all",
        read=count_or_zero,
    )
    steps: int = option(3, "steps that count", read=count)
    warmup: int = option(1, "steps before them, which do not", read=count_or_zero)
    seed: int = option(0, "of weights and tokens", read=seed)

    def __post_init__(self) -> None:
        for which, known in (("mode", COMPILE_MODES), ("scope", COMPILE_SCOPES)):
            chosen = getattr(self, f"compile_{which}")
            if not self.compile and chosen != known[0]:
                raise UsageError(
                    f"--compile-{which} {chosen} is of --compile; give that too, or leave it out"
                )

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Settings:
        """Return the settings that `asdict` made these fields of.

        Raises:
            ValueError: they are others.
        """
        from model.config import ModelConfig

        try:
            return cls(**{**fields, "config": ModelConfig(**fields["config"])})
        except (KeyError, TypeError, UsageError) as error:
            raise ValueError(f"no settings of a run: {error}") from None

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
