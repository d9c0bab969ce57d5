"""What is asked of generation: the models, how tokens are chosen, the prompts that come with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from analysis.generation.records import Pair
from model.c2c.choices import MAPPINGS, PICKS
from profiling.common.cli import count, count_or_zero, positive, seed
from profiling.common.options import option
from profiling.models.request import ATTENTIONS, DTYPES, SHAPES, model_label, shape

BASE: Final = "Qwen/Qwen3-0.6B"
TEACHER: Final = "Qwen/Qwen3-4B-Base"
ALONE: Final = "none"
"""The name of no teacher."""

PARTNER: Final = "qwen3-4b"
"""The teacher of a base with random weights where none is named: nothing is downloaded then."""

TINY: Final = "qwen3-tiny"
"""A base that has itself for a partner."""

REFUSE: Final = "refuse"
ALIGNMENTS: Final = (*PICKS, REFUSE)
PROJECTOR_HIDDEN: Final = 1024

LESS_MEMORY: Final = "lower --max-new-tokens"
"""What to do when memory is wanting."""

BUILT_IN: Final = (
    "Explain in three sentences why the sky is blue.",
    "A farmer has 17 sheep and buys twice as many. How many sheep are there now? Show each step.",
    "Write a Python function that returns the n-th Fibonacci number without recursion.",
    "Summarise the causes of the First World War for a pupil of fourteen.",
    "What is the difference between a process and a thread? Give one example of each.",
)
"""The prompts of ``batch``; the first is that of ``profile``."""


def temperature(text: str) -> float:
    """Read 0 or a positive number."""
    return 0.0 if re.fullmatch(r"0+(\.0*)?", text) else positive(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSelection:
    """The models to load, and how; what an option's help says is not repeated.

    Attributes:
        base: not looked at where ``random_init`` is given.
        teacher: likewise; `ALONE` for none.
        projector: None makes random projectors, with closed gates.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
    """

    base: str = option(BASE, "folder or name", flag="--base-model")
    teacher: str = TEACHER
    random_init: str | None = option(
        None, f"random weights for the base: {SHAPES}", read=shape, metavar="SHAPE"
    )
    teacher_random_init: str | None = option(
        None,
        f"likewise, the teacher's (default with --random-init: {PARTNER}; of tiny, tiny)",
        read=shape,
        metavar="SHAPE",
    )
    projector: str | None = option(None, "of trained ones (default: fresh ones)", metavar="DIR")
    projector_hidden: int = option(PROJECTOR_HIDDEN, "width of fresh ones", read=count)
    layer_mapping: str = option(
        MAPPINGS[0],
        "teacher layer of each base layer, for fresh projectors",
        choices=MAPPINGS,
    )
    open_gates: bool = option(False, "let projectors act whatever their gates say")
    alignment: str = option(
        ALIGNMENTS[0],
        "where the tokenizers differ: which of several tokens",
        choices=ALIGNMENTS,
    )
    device: str = "cpu"
    dtype: str = option("bfloat16", "of models and projectors", choices=DTYPES)
    attention: str = option("sdpa", "which implementation", choices=ATTENTIONS)
    seed: int = option(0, "of draws and random weights", read=seed)

    @property
    def has_teacher(self) -> bool:
        """Whether two models generate."""
        return bool(self.teacher_random_init) or self.teacher.lower() != ALONE

    @property
    def names(self) -> Pair:
        """What the records call the models, ``model_config`` there."""
        teacher = model_label(self.teacher, self.teacher_random_init)
        base = model_label(self.base, self.random_init)
        return Pair(base, teacher if self.has_teacher else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How tokens are chosen, and how many.

    Attributes:
        seed: of the draw, to which a prompt's id is added: a shard draws as the whole run does.
    """

    max_new_tokens: int = option(256, "where to stop if no end comes", read=count)
    temperature: float = option(0.0, "0 takes the most likely token", read=temperature, metavar="T")
    seed: int = 0
    warmup: int = option(1, "short generations before the first that counts", read=count_or_zero)
