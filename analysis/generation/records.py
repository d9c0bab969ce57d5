"""The records of generation: a line of JSON for each prompt, with the keys of these classes.

``python -m profiling.generation`` writes them. Times are milliseconds in the file; in the figures
made of them nanoseconds. `analysis.generation.merge` puts the files of a run together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Final

import msgspec
import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.source.json_files import checked, parsed

REMEDY: Final = "give a file that profiling.generation wrote"

Number = Annotated[float, msgspec.Meta(ge=0, lt=1e12)]
"""Of milliseconds that is thirty years; in nanoseconds it still is a 64-bit number."""

Id = Annotated[int, msgspec.Meta(ge=0)]


@dataclass(frozen=True, slots=True)
class Pair:
    """The models that generate: a base model, with a teacher or alone."""

    base_model: str
    teacher_model: str | None

    def __str__(self) -> str:
        base, teacher = self.base_model, self.teacher_model
        return f"{base} + {teacher}" if teacher else f"{base} alone"


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of one generation.

    ``base_embedding_ms`` to ``projector_total_ms`` and ``decode_total_ms`` add up to the wall time.
    Without a teacher its times and the projectors' are null; of a prompt of one token, where
    nothing is prefilled, they are 0. ``tokens_per_second`` is of decoding alone.
    """

    base_embedding_ms: Number
    base_prefill_ms: Number
    teacher_embedding_ms: Number | None
    teacher_prefill_ms: Number | None
    projector_total_ms: Number | None
    projector_avg_ms: Number | None
    projector_calls: int
    decode_total_ms: Number
    decode_avg_ms: Number
    num_generated_tokens: int
    tokens_per_second: Number


@dataclass(frozen=True, kw_only=True)
class Generation:
    """The record of one prompt that text was generated from.

    Attributes:
        id: of the prompt, in its data set.
        decode_step_times_ms: each made one token.
        file: that the record was read from; not in the record itself.
    """

    id: Id
    prompt: str
    response: str = ""
    model_config: Pair
    timing: Timing
    decode_step_times_ms: Annotated[list[Number], msgspec.Meta(min_length=1)]
    file: str = ""

    def __post_init__(self) -> None:
        times = self.timing
        if times.num_generated_tokens != len(self.decode_step_times_ms):
            raise ValueError("num_generated_tokens is not the number of decode steps")
        of_teacher = (times.teacher_embedding_ms, times.teacher_prefill_ms)
        of_projectors = (times.projector_total_ms, times.projector_avg_ms)
        if self.model_config.teacher_model is not None and None in {*of_teacher, *of_projectors}:
            raise ValueError("a time of the teacher or of its projectors is null")

    @cached_property
    def steps_ns(self) -> Int64:
        """``(S,)`` the decode steps."""
        return np.array([round(step * 1e6) for step in self.decode_step_times_ms], np.int64)

    @property
    def tokens(self) -> int:
        """How many tokens were generated."""
        return len(self.decode_step_times_ms)

    def part_ns(self, part: str) -> float:
        """Return the time of a part of the generation; 0 for a missing teacher's."""
        return (getattr(self.timing, f"{part}_ms") or 0.0) * 1e6

    @property
    def before_ns(self) -> float:
        """Time before the first decode step: embeddings, prefills and projectors."""
        parts = ("base_embedding", "base_prefill", "teacher_embedding", "teacher_prefill")
        return sum(self.part_ns(part) for part in (*parts, "projector_total"))

    @property
    def first_token_ns(self) -> float:
        """Time to first token: everything before decoding, and the first decode step."""
        return self.before_ns + float(self.steps_ns[:1].sum())

    @property
    def per_token_ns(self) -> float:
        """Time per output token: the mean of the decode steps but the first; NaN of one step."""
        return float(self.steps_ns[1:].mean()) if self.tokens > 1 else math.nan

    @property
    def wall_ns(self) -> float:
        """Time from the token ids on the device to the last token."""
        return self.before_ns + self.part_ns("decode_total")

    @property
    def whole_tokens_per_s(self) -> float:
        """Output tokens a second of the whole time, embeddings and prefills included."""
        return self.tokens / (self.wall_ns / 1e9) if self.wall_ns else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The record of a prompt whose generation failed; ``file`` as `Generation` has it."""

    id: Id
    prompt: str
    error: str
    file: str = ""


@dataclass(slots=True)
class Records:
    """The records that some files hold together.

    Attributes:
        generations: by pair, in order of appearance, and by id.
        failures: of prompts that have no record in the same pair's files.
        notes: a line on everything that was left out or is not there.
    """

    generations: list[Generation] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def pairs(self) -> list[tuple[Pair, list[Generation]]]:
        """Return the generations of each pair of models."""
        found: dict[Pair, list[Generation]] = {}
        for each in self.generations:
            found.setdefault(each.model_config, []).append(each)
        return list(found.items())


def record_of(text: bytes, file: str = "") -> Generation | Failure:
    """Return the record on a line of a file.

    Raises:
        ValueError: it is none, with the reason.
    """
    value = parsed(text)
    known = {**value, "file": file} if isinstance(value, dict) else value
    failed = isinstance(value, dict) and "error" in value
    return checked(known, Failure) if failed else checked(known, Generation)
