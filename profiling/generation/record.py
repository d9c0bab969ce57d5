"""The record of a prompt: one line of JSON, with these keys in this order.

    {"id", "prompt", "response", "model_config": {"base_model", "teacher_model"},
     "timing": {TIMING_KEYS}, "decode_step_times_ms": […]}
    {"id", "prompt", "error"}                                     of a prompt that failed

Times are in milliseconds. Without a teacher its times and the projectors' are null; of a prompt of
one token, where nothing is prefilled, they are 0. ``base_embedding_ms`` to ``projector_total_ms``,
less the average, and ``decode_total_ms`` add up to the wall time.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from profiling import names
from profiling.generation.pipeline import DECODE_STEP, Generated

TIMING_KEYS: Final = (
    "base_embedding_ms",
    "base_prefill_ms",
    "teacher_embedding_ms",
    "teacher_prefill_ms",
    "projector_total_ms",
    "projector_avg_ms",
    "projector_calls",
    "decode_total_ms",
    "decode_avg_ms",
    "num_generated_tokens",
    "tokens_per_second",
)

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt to generate from.

    Attributes:
        id: its place in the whole data set, whatever part of it is run here.
        text: as it was given.
    """

    id: int
    text: str


def record(
    prompt: Prompt, response: str, models: Mapping[str, str | None], made: Generated
) -> Record:
    """Return the record of a prompt that was generated from."""
    return {
        "id": prompt.id,
        "prompt": prompt.text,
        "response": response,
        "model_config": dict(models),
        "timing": timing(made, has_teacher=models["teacher_model"] is not None),
        "decode_step_times_ms": [ms(time) for time in made.each_ns(DECODE_STEP)],
    }


def failure(prompt: Prompt, error: str) -> Record:
    """Return the record of a prompt that failed."""
    return {"id": prompt.id, "prompt": prompt.text, "error": error}


def timing(made: Generated, *, has_teacher: bool) -> dict[str, float | int | None]:
    """Return `TIMING_KEYS` with their values."""
    calls = len(made.each_ns(names.PROJECTOR))
    projectors = made.total_ns(names.PROJECTOR)
    decode, tokens = made.total_ns(DECODE_STEP), len(made.tokens)

    def of_teacher(nanoseconds: float) -> float | None:
        return ms(nanoseconds) if has_teacher else None

    values = (
        ms(made.total_ns(names.BASE_EMBEDDING)),
        ms(made.total_ns(names.BASE_PREFILL)),
        of_teacher(made.total_ns(names.TEACHER_EMBEDDING)),
        of_teacher(made.total_ns(names.TEACHER_PREFILL)),
        of_teacher(projectors),
        of_teacher(projectors / calls if calls else 0),
        calls,
        ms(decode),
        ms(decode / tokens if tokens else 0),
        tokens,
        tokens * 1e9 / decode if decode else 0.0,
    )
    return dict(zip(TIMING_KEYS, values, strict=True))


def ms(nanoseconds: float) -> float:
    """Return nanoseconds as milliseconds, no digit lost."""
    return nanoseconds / 1e6


def line(content: Record) -> str:
    r"""Return a record as one line of JSON, without its end.

    Half a surrogate pair, which a prompt's JSON may hold, has no UTF-8: such a line is all ASCII.

    >>> line({"prompt": "é\n"}), line({"prompt": "\ud800"})
    ('{"prompt": "é\\n"}', '{"prompt": "\\ud800"}')
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(content, allow_nan=False)
    return text
