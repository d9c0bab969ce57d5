"""A language model of transformers as a workload: its name, or a shape of random weights."""

import argparse
from dataclasses import dataclass
from typing import ClassVar, Final

from profiling.common.errors import UsageError
from profiling.common.options import option
from profiling.common.workload import Workload, together
from profiling.models.request import ATTENTIONS, OF_ONE_FAMILY, PRESETS, SHAPES, shape

SIZES: Final = tuple(name.removeprefix(OF_ONE_FAMILY) for name in PRESETS)
"""The sizes of a language model: its shapes, with random weights, by their short names."""

DEFAULT_SIZE: Final = "tiny"


@dataclass(frozen=True, kw_only=True)
class LanguageModel:
    """Which model; without one, a small one with random weights, which needs no network."""

    model: str | None = option(None, "its name, or folder", metavar="NAME")
    random_init: str | None = option(
        None, f"or random weights: {SHAPES}", read=shape, metavar="SHAPE"
    )
    size: str | None = option(
        None,
        f"or random weights: {', '.join(SIZES)} (default: {DEFAULT_SIZE}, where nothing is named)",
    )

    def shape(self) -> str | None:
        """Return the shape of random weights; None where a model is named.

        Raises:
            UsageError: the model is said twice, or no such size.
        """
        names = ("size", "model", "random_init")
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) > 1:
            raise UsageError(f"{together(given)} say the same thing twice; give one")
        if self.model or self.random_init:
            return self.random_init
        return shape_of_size(self.size or DEFAULT_SIZE)


def shape_of_size(size: str) -> str:
    """Return the shape that a size stands for.

    Raises:
        UsageError: no such size.
    """
    found = shape(size)
    if found not in PRESETS:
        known = ", ".join(SIZES)
        raise UsageError(f"no language model is called {size!r}; there are: {known}")
    return found


class LanguageModelRun(Workload):
    """Steps of language models to record.

    Attributes:
        name: of the workload.
        steps: that count, recorded; as many are timed before, unrecorded.
        warmup: steps before them, recorded under a name of their own.
    """

    name: ClassVar[str]
    steps: int
    warmup: int

    @property
    def steps_in_all(self) -> int:
        """The steps of both sets, warm-up included."""
        return 2 * (self.warmup + self.steps)

    @classmethod
    def check_attention(cls, attention: str) -> None:
        """Refuse attention that transformers has not.

        Raises:
            UsageError: it has not.
        """
        if attention not in ATTENTIONS:
            known = ", ".join(ATTENTIONS)
            raise UsageError(f"{cls.name} knows no {attention} attention; there are: {known}")

    @classmethod
    def report_name(cls, arguments: argparse.Namespace) -> str:
        """Return the workload and the size, where the model is not named otherwise."""
        named = arguments.model or arguments.random_init
        return cls.name if named else f"{cls.name}-{arguments.size or DEFAULT_SIZE}"
