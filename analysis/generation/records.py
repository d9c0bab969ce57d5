"""Read the records that ``python -m profiling.generation`` writes.

Times are milliseconds in the file and nanoseconds here. `analysis.generation.merge` puts the files
of a run together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.show.errors import ReportError

TIMES: Final = (
    "base_embedding_ms",
    "base_prefill_ms",
    "teacher_embedding_ms",
    "teacher_prefill_ms",
    "projector_total_ms",
    "projector_avg_ms",
    "decode_total_ms",
    "decode_avg_ms",
)
OF_TEACHER: Final = TIMES[2:6]
"""Null where one model generated alone."""

LONGEST_MS: Final = 1e12
"""Thirty years; in nanoseconds it still is a 64-bit number."""

REMEDY: Final = "give a file that profiling.generation wrote"


@dataclass(frozen=True, slots=True)
class Pair:
    """The models that generated: a base model, with a teacher or alone."""

    base: str
    teacher: str | None

    def __str__(self) -> str:
        return f"{self.base} + {self.teacher}" if self.teacher else f"{self.base} alone"


@dataclass(frozen=True, slots=True)
class Generation:
    """The record of one prompt that text was generated from.

    Attributes:
        file: that has the record.
        id: of the prompt, in its data set.
        pair: what generated.
        times_ns: by the names of `TIMES` without their unit; NaN for a teacher that is not there.
        steps_ns: ``(S,)`` the decode steps; each made one token.
        projector_calls: one a layer, or none.
        tokens_per_s: as recorded: of decoding alone.
    """

    file: str
    id: int
    prompt: str
    pair: Pair
    times_ns: dict[str, float]
    steps_ns: Int64
    projector_calls: int
    tokens_per_s: float

    @property
    def tokens(self) -> int:
        """How many tokens were generated."""
        return len(self.steps_ns)

    def part_ns(self, part: str) -> float:
        """Return the time of a part of the generation; 0 for a missing teacher's."""
        time = self.times_ns[part]
        return 0.0 if math.isnan(time) else time

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


@dataclass(frozen=True, slots=True)
class Failure:
    """The record of a prompt whose generation failed."""

    file: str
    id: int
    error: str


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
            found.setdefault(each.pair, []).append(each)
        return list(found.items())


def record_lines(path: str) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file that are not empty, with their numbers.

    Raises:
        ReportError: it cannot be read.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise ReportError(path, (reason or str(error)).lower(), REMEDY) from None
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            yield number, line


def record_of(path: str, line: tuple[int, bytes], wrong: list[str]) -> Generation | Failure | None:
    """Return the record on a line of a file; a line that is none is noted in ``wrong``."""
    number, text = line
    try:
        return generation_or_failure(path, json.loads(text))
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        reason = str(error) if type(error) is ValueError else "no JSON"
        wrong.append(f"line {number}: {reason}")
        return None


def generation_or_failure(path: str, value: Any) -> Generation | Failure:
    """Return the record of a prompt that some JSON holds.

    Raises:
        ValueError: it is none, with the reason.
    """
    if not isinstance(value, dict):
        raise ValueError("no object")
    number, prompt = value.get("id"), value.get("prompt")
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise ValueError("no id, a whole number from 0")
    if not isinstance(prompt, str):
        raise ValueError("no prompt")
    if "error" in value:
        return Failure(path, number, str(value["error"]))
    pair, timing = _pair(value.get("model_config")), value.get("timing")
    if not isinstance(timing, dict):
        raise ValueError("no timing")
    steps = value.get("decode_step_times_ms")
    if not isinstance(steps, list) or not steps:
        raise ValueError("no decode_step_times_ms")
    times = {name: _time(timing, name, pair.teacher is None) for name in TIMES}
    if timing.get("num_generated_tokens") != len(steps):
        raise ValueError("num_generated_tokens is not the number of decode steps")
    calls = timing.get("projector_calls")
    if not isinstance(calls, int):
        raise ValueError("no projector_calls")
    return Generation(
        file=path,
        id=number,
        prompt=prompt,
        pair=pair,
        times_ns={name.removesuffix("_ms"): time * 1e6 for name, time in times.items()},
        steps_ns=np.array(
            [round(_number("a decode step", step) * 1e6) for step in steps], np.int64
        ),
        projector_calls=calls,
        tokens_per_s=_number("tokens_per_second", timing.get("tokens_per_second")),
    )


def _pair(known: Any) -> Pair:
    base = known.get("base_model") if isinstance(known, dict) else None
    if not isinstance(base, str):
        raise ValueError("no model_config with a base_model")
    teacher = known.get("teacher_model")
    return Pair(base, None if teacher is None else str(teacher))


def _time(timing: dict[str, Any], name: str, alone: bool) -> float:
    """Return a time in ms; NaN for one of a teacher that is not there."""
    if timing.get(name, 0) is None and name in OF_TEACHER and alone:
        return math.nan
    return _number(name, timing.get(name))


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is no number")
    if not 0 <= value < LONGEST_MS:  # NaN is not, either
        raise ValueError(f"{name} is {value}")
    return float(value)
