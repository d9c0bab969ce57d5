"""Forward passes of a language model as a workload, all its layers under spans: its options."""

import argparse
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from profiling.common.cli import Adder, count, count_or_zero, seed
from profiling.common.options import add_options, chosen, option
from profiling.common.settings import DTYPES, runs
from profiling.common.workload import Workload
from profiling.layers.model_timing import DEFAULT_MODEL
from profiling.models.language_model import DEFAULT_SIZE, LanguageModel, check_attention
from profiling.models.request import model_label

NAME: Final = "layers"


@dataclass(frozen=True, kw_only=True)
class LayersSettings(Workload):
    """A run of forward passes to record.

    Attributes:
        model_name: a folder or a name on the hub; not looked at where ``random_init`` is given.
        random_init: as `profiling.models.request.ModelRequest` has it.
        steps: forward passes that count, recorded; as many are timed before, unrecorded.
        warmup: passes before them, recorded under a name of their own.
    """

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

    @property
    def steps_in_all(self) -> int:
        """The passes of both sets, warm-up included."""
        return 2 * (self.warmup + self.steps)

    @classmethod
    def add_to(cls, parser: Adder) -> None:
        """Add the options of the model and of its passes."""
        add_options(parser, LanguageModel)
        add_options(parser, cls)

    @classmethod
    def read(cls, arguments: argparse.Namespace, device: str) -> Self:
        """Return what is asked for."""
        model = chosen(LanguageModel, arguments)
        check_attention(arguments.attention, NAME)
        named = {"model_name": model.model} if model.model else {}
        return chosen(cls, arguments, device=device, random_init=model.shape(), **named)

    @property
    def model_label(self) -> str:
        """What a report calls the model."""
        return model_label(self.model_name, self.random_init)

    def describe(self) -> str:
        """Return every setting in one line, defaults too."""
        return (
            f"layers of {self.model_label}, batch {self.batch}, "
            f"context {self.context}, {self.dtype} on {self.device}, {self.attention} attention, "
            f"{runs(self.warmup, self.steps)}"
        )

    def facts(self, rank: int = 0) -> dict[str, str]:
        """Return what a report must tell of the run."""
        return {
            "workload": NAME,
            "model": self.model_label,
            "mode": "forward",
            "batch": str(self.batch),
            "context": str(self.context),
            "dtype": self.dtype,
            "attention": self.attention,
            "steps": str(self.steps),
            "warmup": str(self.warmup),
            "seed": str(self.seed),
        }

    @classmethod
    def report_name(cls, arguments: argparse.Namespace) -> str:
        """Return the workload and the size, where the model is not named otherwise."""
        named = arguments.model or arguments.random_init
        return NAME if named else f"{NAME}-{arguments.size or DEFAULT_SIZE}"
