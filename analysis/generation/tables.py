"""The answers of `analysis.generation`, a table each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from analysis.arithmetic.arrays import Float64, Int64
from analysis.arithmetic.noise import student_quantile
from analysis.arithmetic.statistics import deviation
from analysis.generation.records import Generation, Pair, Records
from analysis.show.render import duration
from analysis.show.table import Table, columns_of

Row = dict[str, int | float | str]
RowsOf = Callable[[Pair, list[Generation]], Iterable[Row]]

QUANTILES: Final = {"p25": 0.25, "median": 0.5, "p75": 0.75, "p90": 0.9, "p99": 0.99}


MEASURES: Final[dict[str, tuple[str, Callable[[Generation], float | None]]]] = {
    "generated tokens": ("tokens", lambda each: each.tokens),
    "tokens per second, decoding": ("tokens/s", lambda each: each.timing.tokens_per_second),
    "tokens per second, whole prompt": ("tokens/s", lambda each: each.whole_tokens_per_s),
    "time to first token": ("ms", lambda each: each.first_token_ns / 1e6),
    "time per output token": ("ms", lambda each: each.per_token_ns / 1e6),
    "decode": ("ms", lambda each: each.timing.decode_total_ms),
    "decode step": ("ms", lambda each: each.timing.decode_avg_ms),
    "base prefill": ("ms", lambda each: each.timing.base_prefill_ms),
    "teacher prefill": ("ms", lambda each: each.timing.teacher_prefill_ms),
    "projectors": ("ms", lambda each: each.timing.projector_total_ms),
    "one projector": ("ms", lambda each: each.timing.projector_avg_ms),
    "whole prompt": ("ms", lambda each: each.wall_ns / 1e6),
}
"""What is described: its unit, and its value for one prompt; None or NaN where there is none."""

PARTS: Final[dict[str, Callable[[Generation], float]]] = {
    "base embedding": lambda each: each.part_ns("base_embedding"),
    "base prefill": lambda each: each.part_ns("base_prefill"),
    "teacher embedding": lambda each: each.part_ns("teacher_embedding"),
    "teacher prefill": lambda each: each.part_ns("teacher_prefill"),
    "projectors": lambda each: each.part_ns("projector_total"),
    "first decode step": lambda each: float(each.steps_ns[:1].sum()),
    "further decode steps": lambda each: float(each.steps_ns[1:].sum()),
}
"""What a prompt's time consists of."""

_OF_TEACHER: Final = ("teacher embedding", "teacher prefill", "projectors")

SLOWEST: Final = 10

FIRST_NOTES: Final = (
    (r"\b0\.6b\b", r"\b0\.5b\b", (800.0, 50.0, 20.0)),
    (r"\b0\.6b\b", r"\b4b\b", (950.0, 75.0, 13.0)),
)
"""What the first notes on C2C say, by the sizes in the names of base and teacher: prefill in ms,
ms a token, tokens a second; each about so much, on hardware that they do not name."""

FEWEST_STEPS: Final = 8
"""Steps after the first that a prompt must have to count: of fewer, a slope is noise."""

STRETCHES: Final = 10
"""Into how many a single prompt is cut."""

GROWS: Final = "grows"
FALLS: Final = "falls"
UNCLEAR: Final = "no change seen"
UNKNOWN: Final = "too few steps"


def _measures(_: Pair, made: list[Generation]) -> Iterator[Row]:
    """Yield count, mean, deviation and quantiles of each measure over the prompts."""
    for measure, (unit, value) in MEASURES.items():
        values = np.array([value(each) for each in made], np.float64)
        values = values[~np.isnan(values)]
        if len(values):
            yield {
                "measure": measure,
                "unit": unit,
                "count": len(values),
                "mean": float(values.mean()),
                "std": deviation(values),
                "min": float(values.min()),
                **{name: float(np.quantile(values, part)) for name, part in QUANTILES.items()},
                "max": float(values.max()),
            }


def _parts(pair: Pair, made: list[Generation]) -> Iterator[Row]:
    """Yield the parts of the prompts' time, which add up to all of it."""
    times = {part: sum(map(value, made)) for part, value in PARTS.items()}
    whole = sum(times.values())
    for part, time in times.items():
        if time or pair.teacher_model is not None or part not in _OF_TEACHER:
            yield {
                "part": part,
                "total_ns": round(time),
                "mean_ns": time / len(made),
                "share": time / whole if whole else 0.0,
            }


@dataclass(frozen=True, slots=True)
class StepGrowth:
    """How the time of decode steps grows from one to the next; NaN where there are too few.

    Attributes:
        prompts: with at least `FEWEST_STEPS`, which count.
        steps: of those prompts.
        mean_ns: of those steps.
        slope_ns: by which each is longer than the one before.
        low_ns: lower end of its interval, at 95 %.
        high_ns: upper end.
    """

    prompts: int
    steps: int
    mean_ns: float
    slope_ns: float
    low_ns: float
    high_ns: float

    @property
    def share(self) -> float:
        """The part of itself that a decode step grows by in 100 tokens."""
        return 100 * self.slope_ns / self.mean_ns if self.mean_ns else np.nan

    @property
    def verdict(self) -> str:
        """Whether decode steps get longer, beyond chance."""
        if np.isnan(self.low_ns):
            return UNKNOWN
        if self.low_ns > 0:
            return GROWS
        return FALLS if self.high_ns < 0 else UNCLEAR


def step_growth(prompts: Sequence[Int64]) -> StepGrowth:
    """Return how much longer a decode step takes than the one before it, with a longer cache.

    The slope is that of a straight line through the steps of each prompt, all with one slope and
    each with a height of its own: prompts differ in length, and a long answer must not pass for a
    slow one. The first step is left out: it reads what the projectors have made, for the first
    time. The interval comes from how much the prompts differ (their clustered variance, Student's
    t): steps beside each other are too alike to be counted as independent. Of a single prompt it
    comes from stretches of it.

    Args:
        prompts: ``(S,)`` step times of each, the first step among them.
    """
    used: list[Float64] = [
        steps[1:].astype(np.float64) for steps in prompts if len(steps) > FEWEST_STEPS
    ]
    if not used:
        return StepGrowth(0, 0, np.nan, np.nan, np.nan, np.nan)
    every = np.concatenate(used)
    places = [_centred(np.arange(len(steps), dtype=np.float64)) for steps in used]
    heights = [_centred(steps) for steps in used]
    spread = sum(float(place @ place) for place in places)
    pairs = list(zip(places, heights, strict=True))
    slope = sum(float(place @ height) for place, height in pairs) / spread
    # What each group pulls the slope by: its own, or that of a stretch of the only prompt.
    rest = [(place, height - slope * place) for place, height in pairs]
    groups = _groups(rest)
    weight = np.array([float(place @ place) for place, _ in groups]) / spread
    # Divided by what it leaves to the others, as the jackknife does: a long one bends the line
    # towards itself, and its rest is too small.
    pulls = np.array([float(place @ left) for place, left in groups]) / (1 - weight)
    error = float(np.sqrt((1 - 1 / len(groups)) * (pulls**2).sum())) / spread
    # As many groups as there would be if all weighed the same, less one.
    degrees = max(1 / float((weight**2).sum()) - 1, 1.0)
    half = float(student_quantile(np.array([degrees]))[0]) * error
    low, high = slope - half, slope + half
    return StepGrowth(len(used), len(every), float(every.mean()), slope, low, high)


def _centred(values: Float64) -> Float64:
    centred: Float64 = values - values.mean()
    return centred


def _groups(rest: list[tuple[Float64, Float64]]) -> list[tuple[Float64, Float64]]:
    if len(rest) > 1:
        return rest
    ((place, left),) = rest
    cut = min(STRETCHES, len(place) // 2)
    parts = zip(np.array_split(place, cut), np.array_split(left, cut), strict=True)
    return list(parts)


def positions(records: Records) -> Table:
    """Return the time of decode steps by their position in the text, in stretches that double."""
    pairs = records.pairs()
    lines = ["Decode steps by position"]
    for pair, made in pairs:
        sentence = growth_sentence(step_growth([each.steps_ns for each in made]))
        lines.append(f"{pair}: {sentence}" if len(pairs) > 1 else sentence)
    return _by_pair("generation_positions", "\n".join(lines), _positions, records)


def _positions(_: Pair, made: list[Generation]) -> Iterator[Row]:
    first, longest = 0, max(each.tokens for each in made)
    while first < longest:
        last = 0 if first == 0 else 2 * first - 1
        steps = [each.steps_ns[first : last + 1] for each in made if each.tokens > first]
        times = np.concatenate(steps).astype(np.float64)
        yield {
            "first_step": first,
            "last_step": min(last, longest - 1),
            "prompts": len(steps),
            "steps": len(times),
            "mean_ns": float(times.mean()),
            "median_ns": float(np.median(times)),
            "p90_ns": float(np.quantile(times, 0.9)),
            "max_ns": int(times.max()),
        }
        first = last + 1


def _growth(_: Pair, made: list[Generation]) -> Iterator[Row]:
    """Yield how decode steps grow from one to the next, with the interval of the slope."""
    found = step_growth([each.steps_ns for each in made])
    yield asdict(found) | {"per_100_tokens_share": found.share, "verdict": found.verdict}


def growth_sentence(found: StepGrowth) -> str:
    """Return in words whether decode time grows with the cache.

    >>> growth_sentence(StepGrowth(2, 100, 1e6, 500.0, 400.0, 600.0))
    'it grows with the cache: 500 ns a token (95 %: 400 ns to 600 ns), 5.0 % in 100 tokens'
    """
    if found.verdict == UNKNOWN:
        return "too few steps to tell whether it grows with the cache"
    verdict = {
        GROWS: "it grows with the cache",
        FALLS: "it falls as the cache grows: look for warm-up or clocks",
        UNCLEAR: "no growth with the cache beyond chance",
    }[found.verdict]
    low, high = duration(found.low_ns), duration(found.high_ns)
    return (
        f"{verdict}: {duration(found.slope_ns)} a token (95 %: {low} to {high}), "
        f"{found.share * 100:.1f} % in 100 tokens"
    )


def slowest(records: Records) -> Table:
    """Return the prompts that took longest."""
    chosen = sorted(records.generations, key=lambda each: -each.wall_ns)[:SLOWEST]
    rows: list[Row] = [
        {
            "pair": str(each.model_config),
            "id": each.id,
            "tokens": each.tokens,
            "wall_ns": round(each.wall_ns),
            "first_token_ns": round(each.first_token_ns),
            "per_token_ns": each.per_token_ns,
            "tokens_per_s": each.timing.tokens_per_second,
            "prompt": each.prompt,
            "file": each.file,
        }
        for each in chosen
    ]
    table = _table("generation_slowest", "Slowest prompts", records, rows)
    one = len({each.file for each in records.generations}) == 1
    hidden = (*table.hidden, *(("file",) if one else ()))
    return replace(table, hidden=hidden, droppable=("first_token_ns", "per_token_ns"))


def _references(pair: Pair, made: list[Generation]) -> Iterator[Row]:
    """Yield the figures of the first notes beside those of pairs of the same sizes."""
    times = [each.timing for each in made]
    prefill_ns = [each.before_ns - each.part_ns("projector_total") for each in made]
    here = {
        ("prefill, both models", "ms"): np.mean(prefill_ns) / 1e6,
        ("decode step", "ms"): np.mean([each.part_ns("decode_avg") for each in made]) / 1e6,
        ("tokens per second, decoding", "tokens/s"): np.mean([t.tokens_per_second for t in times]),
    }
    # Of a pair of other sizes there are no figures, and no rows.
    for ((measure, unit), mean), noted in zip(
        here.items(), first_notes_on(pair) or (), strict=False
    ):
        value = float(mean)
        ratio = value / noted
        what = {"measure": measure, "unit": unit}
        yield {**what, "here": value, "first_notes": noted, "ratio": ratio}


def first_notes_on(pair: Pair) -> tuple[float, float, float] | None:
    """Return the first notes' figures for a pair of models of such sizes, if there are any.

    >>> first_notes_on(Pair("Qwen/Qwen3-0.6B", "Qwen/Qwen3-4B-Base"))
    (950.0, 75.0, 13.0)
    """
    for base, teacher, figures in FIRST_NOTES:
        if re.search(base, pair.base_model.lower()) and re.search(
            teacher, (pair.teacher_model or "").lower()
        ):
            return figures
    return None


def _by_pair(
    name: str, heading: str, rows_of: RowsOf, records: Records, droppable: tuple[str, ...] = ()
) -> Table:
    """Return the rows of each pair of models as a table."""
    rows = [
        {"pair": str(pair), **row} for pair, made in records.pairs() for row in rows_of(pair, made)
    ]
    return replace(_table(name, heading, records, rows), droppable=droppable)


def _table(name: str, heading: str, records: Records, rows: Sequence[Row]) -> Table:
    """Return rows as a table; a person sees the pair of models only where there are several."""
    one = len(records.pairs()) == 1
    hidden = ("pair",) if one else ()
    return Table(name, columns_of(rows) or {"pair": []}, heading, hidden=hidden)


QUESTIONS: Final[dict[str, Callable[[Records], Table]]] = {
    "measure": partial(
        _by_pair,
        "generation",
        "Over the prompts",
        _measures,
        droppable=("p25", "p75", "p99", "count"),
    ),
    "part": partial(_by_pair, "generation_parts", "Parts: prefill, projectors, decoding", _parts),
    "position": positions,
    "growth": partial(
        _by_pair, "generation_growth", "Growth of a decode step from token to token", _growth
    ),
    "slowest": slowest,
    "reference": partial(
        _by_pair, "generation_references", "Beside the first notes' rough figures", _references
    ),
}
"""What may be asked for alone."""
