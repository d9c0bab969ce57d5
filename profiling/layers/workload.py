"""Forward passes of a language model as a workload, all its layers under spans: its options."""

import argparse
from dataclasses import dataclass
from typing import ClassVar, Self

from profiling.common.cli import Adder, count, count_or_zero, seed
from profiling.common.options import add_options, chosen, option
from profiling.common.settings import DTYPES, runs
from profiling.layers.model_timing import DEFAULT_MODEL
from profiling.models.language_model import LanguageModel, LanguageModelRun
from profiling.models.request import model_label


@dataclass(frozen=True, kw_only=True)
class LayersSettings(LanguageModelRun):
    """A run of forward passes to record; `ModelRequest` says what names a model."""

    name: ClassVar[str] = "layers"
    run: ClassVar[str] = "profiling.layers.recorded_layers:run"

    model_name: str = DEFAULT_MODEL
    random_init: str | None = None
    batch: int = option(1, "sequences a step", read=count)
    context: int = option(128, "positions", read=count)
    dtype: str = option("bfloat16", "of the weights", choices=DTYPES)
    device: str
    attention: str = option("sdpa", "which implementation of transformers'", metavar="NAME")
    steps: int = option(3, "forward passes that count", read=count)
    warmup: int = option(1, "passes before them, which do not", read=count_or_zero)
    seed: int = option(0, "of random weights and tokens", read=seed)

    @classmethod
    def add_to(cls, parser: Adder) -> None:
        """Add the options of the model and of its passes."""
        add_options(parser, LanguageModel)
        add_options(parser, cls)

    @classmethod
    def read(cls, arguments: argparse.Namespace, device: str) -> Self:
        """Return what is asked for."""
        model = chosen(LanguageModel, arguments)
        cls.check_attention(arguments.attention)
        named = {"model_name": model.model} if model.model else {}
        return chosen(cls, arguments, device=device, random_init=model.shape(), **named)

    def describe(self) -> str:
        """Return every setting in one line, defaults too."""
        return (
            f"layers of {model_label(self.model_name, self.random_init)}, batch {self.batch}, "
            f"context {self.context}, {self.dtype} on {self.device}, {self.attention} attention, "
            f"{runs(self.warmup, self.steps)}"
        )

    def facts(self, rank: int = 0) -> dict[str, str]:
        """Return what a report must tell of the run."""
        return {
            "workload": self.name,
            "model": model_label(self.model_name, self.random_init),
            "mode": "forward",
            "batch": str(self.batch),
            "context": str(self.context),
            "dtype": self.dtype,
            "attention": self.attention,
            "steps": str(self.steps),
            "warmup": str(self.warmup),
            "seed": str(self.seed),
        }
