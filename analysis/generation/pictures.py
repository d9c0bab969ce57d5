"""Pictures of generation times: decode steps, first tokens, growth, parts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Float64
from analysis.generation.records import Generation, Records
from analysis.generation.tables import PARTS, step_growth
from analysis.show.pictures import (
    FEW,
    MILLI,
    draw_each,
    engineering_units,
    plain,
    title,
    whole_numbers,
)
from analysis.show.render import duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Pairs = list[tuple[str, list[Generation]]]

_BINS: Final = 60
_SHOWN: Final = 0.995
"""How much of a distribution has room; the rest would squeeze it."""

FEW_DOTS: Final = 1_000
_MOST_POINTS: Final = 20_000
"""Steps in one picture; more are thinned out evenly."""


def draw(records: Records, folder: Path, about: str = "") -> list[Path]:
    """Write the pictures of generation times into a folder, which is made where it is missing.

    Args:
        records: what is drawn.
        folder: where.
        about: in which number format they are, on what.

    Returns:
        The files.

    Raises:
        NotInstalled: matplotlib is not.
        ReportError: the folder cannot be written to.
    """
    pairs = [(plain(str(pair)), made) for pair, made in records.pairs()]
    return draw_each(folder, PICTURES, pairs, about)


def _title(what: str, pairs: Pairs, about: str) -> str:
    """Return the title of a picture: the models where they are one pair, and the rest."""
    return title(what, pairs[0][0] if len(pairs) == 1 else "", about)


def _distribution(
    axes: Axes,
    pairs: Pairs,
    about: str = "",
    *,
    times_ms: Callable[[list[Generation]], Float64],
    what: str,
    heading: str,
) -> None:
    """Draw distributions up to a percentile, what lies beyond in the last bar; points if few."""
    times = [times_ms(made) for _, made in pairs]
    axes.set_title(_title(heading, pairs, about))
    engineering_units(axes.xaxis, "s", MILLI)
    if max(map(len, times)) < FEW:
        _points(axes, pairs, times, what)
        return
    edge = max(float(np.quantile(values, _SHOWN)) for values in times) or 1.0
    bins = np.linspace(0, edge, _BINS + 1).tolist()
    for number, ((label, _), values) in enumerate(zip(pairs, times, strict=True)):
        middle, color = float(np.median(values)), f"C{number}"
        text = f"{label}: median {duration(middle * 1e6)}"
        axes.hist(np.minimum(values, edge), bins=bins, alpha=0.6, label=text, color=color)
        axes.axvline(middle, linestyle="--", linewidth=1, color=color)
    beyond = f"the slowest {1 - _SHOWN:.1%} are in the last bar"
    axes.set(xlabel=f"{what} ({beyond})", ylabel="how many")
    whole_numbers(axes.yaxis)


def _points(axes: Axes, pairs: Pairs, times_ms: list[Float64], what: str) -> None:
    """Draw a point for each of few times, a row for each pair of models."""
    for number, ((label, _), values) in enumerate(zip(pairs, times_ms, strict=True)):
        place, color = np.full(len(values), number), f"C{number}"
        middle = float(np.median(values))
        text = f"{label}: median {duration(middle * 1e6)}"
        axes.plot(values, place, "o", alpha=0.6, label=text, color=color)
        axes.plot([middle], [number], "|", markersize=40, color=color)
    axes.set(xlabel=what, yticks=[], ylim=(len(pairs) - 0.5, -0.5), xlim=(0, None))


def _growth(axes: Axes, pairs: Pairs, about: str = "") -> None:
    """Every step at its position, and the line through them."""
    for number, (label, made) in enumerate(pairs):
        places = np.concatenate([np.arange(each.tokens) for each in made])
        times = _steps_ms(made)
        every = max(1, len(times) // _MOST_POINTS)
        axes.plot([], [], "o", label=label, color=f"C{number}")  # for the legend to show
        (dots,) = axes.plot(places[::every], times[::every], ".")
        dots.set(markersize=2 if len(times) > FEW_DOTS else 6, alpha=0.4, color=f"C{number}")
        found = step_growth([each.steps_ns for each in made])
        if not np.isnan(found.slope_ns):
            ends = np.array([1, int(places.max())])
            middle = float(places[places > 0].mean())
            line = (found.mean_ns + found.slope_ns * (ends - middle)) / 1e6
            text = f"{duration(found.slope_ns)} a token: {found.verdict}"
            axes.plot(ends, line, label=text, color=f"C{number}")
    # A few steps many times as long as the others would flatten all of them.
    every_ms = np.concatenate([_steps_ms(made) for _, made in pairs])
    axes.set_ylim(0, float(np.quantile(every_ms, _SHOWN)) * 1.3 or 1.0)
    axes.set(xlabel="tokens generated before", ylabel="decode step")
    axes.set_title(_title("Decode steps by position", pairs, about))
    whole_numbers(axes.xaxis)
    engineering_units(axes.yaxis, "s", MILLI)


def _parts(axes: Axes, pairs: Pairs, about: str = "") -> None:
    """A bar for each pair of models, of what its mean prompt consists of."""
    left = np.zeros(len(pairs))
    for part, value in PARTS.items():
        time = np.array([sum(map(value, made)) / len(made) / 1e6 for _, made in pairs])
        axes.barh(np.arange(len(pairs)), time, left=left, height=0.6, label=part)
        left = left + time
    # The title names one pair; several have a line each beside their bars.
    names = ["\n+ ".join(label.split(" + ")) if len(pairs) > 1 else "" for label, _ in pairs]
    axes.set_yticks(range(len(pairs)), names)
    axes.set(xlabel="mean of the prompts", ylim=(max(len(pairs), 2) - 0.5, -0.7))
    axes.set_title(_title("Parts of a prompt", pairs, about))
    engineering_units(axes.xaxis, "s", MILLI)


def _steps_ms(made: list[Generation]) -> Float64:
    joined: Float64 = np.concatenate([each.steps_ns for each in made]) / 1e6
    return joined


def _first_tokens_ms(made: list[Generation]) -> Float64:
    return np.array([each.first_token_ns / 1e6 for each in made])


PICTURES: Final[dict[str, Callable[..., None]]] = {
    "decode_time_distribution.png": partial(
        _distribution, times_ms=_steps_ms, what="decode step", heading="Decode steps"
    ),
    "time_to_first_token.png": partial(
        _distribution,
        times_ms=_first_tokens_ms,
        what="time to first token",
        heading="Time to first token",
    ),
    "decode_time_by_position.png": _growth,
    "parts.png": _parts,
}
