"""The options of a language model of transformers: its name, or a shape of random weights."""

from dataclasses import dataclass
from typing import Final

from profiling.common.errors import UsageError
from profiling.common.options import option
from profiling.common.workload import together
from profiling.models.request import ATTENTIONS

SIZES: Final = {"tiny": "qwen3-tiny", "0.6b": "qwen3-0.6b", "4b": "qwen3-4b"}
"""What ``--size`` means for a language model: its shape, with random weights."""

DEFAULT_SIZE: Final = "tiny"


@dataclass(frozen=True, kw_only=True)
class LanguageModel:
    """Which model; without one, a small one with random weights, which needs no network."""

    model: str | None = option(None, "its name, or folder", metavar="NAME")
    random_init: str | None = option(
        None, "or random weights: qwen3-0.6b, CONFIG.json, …", metavar="SHAPE"
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
    if size.lower() not in SIZES:
        known = ", ".join(SIZES)
        raise UsageError(f"no language model is called {size!r}; there are: {known}")
    return SIZES[size.lower()]


def check_attention(attention: str, workload: str) -> None:
    """Refuse attention that transformers has not.

    Raises:
        UsageError: it has not.
    """
    if attention not in ATTENTIONS:
        known = ", ".join(ATTENTIONS)
        raise UsageError(f"{workload} knows no {attention} attention; there are: {known}")
