"""C2C generation as a workload, steps of one prompt under spans: its options."""

import argparse
from dataclasses import astuple, dataclass
from typing import ClassVar, Self

from profiling.common.cli import Adder, count, count_or_zero, seed
from profiling.common.options import add_options, chosen, option
from profiling.common.settings import DTYPES, runs
from profiling.generation.selection import ALONE, BUILT_IN, ModelSelection
from profiling.models.language_model import (
    DEFAULT_SIZE,
    LanguageModel,
    LanguageModelRun,
    shape_of_size,
)
from profiling.models.request import shape


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """The options of the two models, besides those of the base."""

    teacher_model: str | None = option(None, "name or folder; none for no teacher", metavar="NAME")
    teacher_random_init: str | None = option(
        None, "or random weights (default: of the base's shape)", read=shape, metavar="SHAPE"
    )
    open_gates: bool = option(False, "let random projectors act")
    dtype: str = option("bfloat16", "of both models", choices=DTYPES)
    attention: str = option("sdpa", "which implementation of transformers'", metavar="NAME")
    seed: int = option(0, "of random weights", read=seed)

    def models(self, base: LanguageModel, device: str) -> ModelSelection:
        """Return the models to load: with a size, both of it, unless another teacher is named."""
        teacher = self.teacher_random_init
        named = base.model or base.random_init
        if not (teacher or self.teacher_model or named):
            teacher = shape_of_size(base.size or DEFAULT_SIZE)
        given = {"base": base.model, "teacher": self.teacher_model}
        return chosen(
            ModelSelection,
            self,
            random_init=base.shape(),
            teacher_random_init=teacher,
            device=device,
            **{name: value for name, value in given.items() if value},
        )


@dataclass(frozen=True, kw_only=True)
class GenerationSettings(LanguageModelRun):
    """A run of generation to record: steps that generate from one prompt."""

    name: ClassVar[str] = "generation"
    run: ClassVar[str] = "profiling.generation.recorded_generation:run"

    models: ModelSelection
    prompt: str = option(BUILT_IN[0], "from what", metavar="TEXT")
    max_new_tokens: int = option(32, "tokens of a generation at most", read=count)
    steps: int = option(3, "generations that count", read=count)
    warmup: int = option(1, "generations before them, which do not", read=count_or_zero)

    @property
    def device(self) -> str:  # type: ignore[override]  # read only, like all of it
        """The device of both models."""
        return self.models.device

    @classmethod
    def add_to(cls, parser: Adder) -> None:
        """Add the options of both models and of generation."""
        add_options(parser, LanguageModel)
        add_options(parser, PairOptions)
        add_options(parser, cls)

    @classmethod
    def read(cls, arguments: argparse.Namespace, device: str) -> Self:
        """Return what is asked for."""
        cls.check_attention(arguments.attention)
        pair = chosen(PairOptions, arguments)
        return chosen(cls, arguments, models=pair.models(chosen(LanguageModel, arguments), device))

    def describe(self) -> str:
        """Return every setting in one line, defaults too."""
        models = self.models
        base, teacher = astuple(models.names)
        pair = f"{base} with {teacher}" if teacher else f"{base} alone"
        steps = runs(self.warmup, self.steps)
        return (
            f"generation by {pair}, {models.dtype} on {models.device}, {models.attention} "
            f"attention, at most {self.max_new_tokens} tokens, {steps}"
        )

    def facts(self, rank: int = 0) -> dict[str, str]:
        """Return what a report must tell of the run."""
        models = self.models
        return {
            "workload": self.name,
            "base_model": models.names.base_model,
            "teacher_model": models.names.teacher_model or ALONE,
            "projector": models.projector or "fresh",
            "open_gates": str(models.open_gates).lower(),
            "dtype": models.dtype,
            "attention": models.attention,
            "prompt": self.prompt,
            "max_new_tokens": str(self.max_new_tokens),
            "steps": str(self.steps),
            "warmup": str(self.warmup),
            "seed": str(models.seed),
        }
