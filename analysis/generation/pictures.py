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
from analysis.show.pictures import draw_each
from analysis.show.sheet import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Pairs = list[tuple[str, list[Generation]]]

_BINS: Final = 60
_SHOWN: Final = 0.995
"""How much of a distribution has room; the rest would squeeze it."""

_MOST_POINTS: Final = 20_000
"""Steps in one picture; more are thinned out evenly."""


def draw(records: Records, folder: Path) -> list[Path]:
    """Write the pictures of generation times into a folder, which is made where it is missing.

    Returns:
        The files.

    Raises:
        NotInstalled: matplotlib is not.
        ReportError: the folder cannot be written to.
    """
    pairs = [(_plain(str(pair)), made) for pair, made in records.pairs()]
    return draw_each(folder, PICTURES, pairs)


def _plain(name: str) -> str:
    """Return a name that matplotlib shows as it is.

    A dollar sign would begin a formula, an underscore at the start hide it from the legend, and a
    letter that the font has not be a box.
    """
    shown = name.encode("ascii", "backslashreplace").decode().replace("$", r"\$")
    return visible(f" {shown}" if shown.startswith("_") else shown)


def _histogram(
    axes: Axes,
    pairs: Pairs,
    *,
    times_ms: Callable[[list[Generation]], Float64],
    what: str,
    title: str,
) -> None:
    """Draw distributions up to a percentile; what lies beyond is in the last bar."""
    times = [times_ms(made) for _, made in pairs]
    edge = max(float(np.quantile(values, _SHOWN)) for values in times) or 1.0
    bins = np.linspace(0, edge, _BINS + 1).tolist()
    for number, ((label, _), values) in enumerate(zip(pairs, times, strict=True)):
        axes.hist(np.minimum(values, edge), bins=bins, alpha=0.6, label=label, color=f"C{number}")
        middle = float(np.median(values))
        text = f"median {middle:.3g} ms"
        axes.axvline(middle, linestyle="--", linewidth=1, label=text, color=f"C{number}")
    beyond = f"the slowest {1 - _SHOWN:.1%} are in the last bar"
    axes.set(xlabel=f"{what}, ms ({beyond})", ylabel="how many", title=title)


def _growth(axes: Axes, pairs: Pairs) -> None:
    """Every step at its position, and the line through them."""
    for number, (label, made) in enumerate(pairs):
        places = np.concatenate([np.arange(each.tokens) for each in made])
        times = _steps_ms(made)
        every = max(1, len(times) // _MOST_POINTS)
        (dots,) = axes.plot(places[::every], times[::every], ".", label=label)
        dots.set(markersize=2, alpha=0.4, color=f"C{number}")
        found = step_growth([each.steps_ns for each in made])
        if not np.isnan(found.slope_ns):
            ends = np.array([1, int(places.max())])
            middle = float(places[places > 0].mean())
            line = (found.mean_ns + found.slope_ns * (ends - middle)) / 1e6
            text = f"{found.slope_ns / 1e3:.3g} µs a token: {found.verdict}"
            axes.plot(ends, line, label=text, color=f"C{number}")
    # A few steps many times as long as the others would flatten all of them.
    every_ms = np.concatenate([_steps_ms(made) for _, made in pairs])
    axes.set_ylim(0, float(np.quantile(every_ms, _SHOWN)) * 1.3 or 1.0)
    axes.set(xlabel="tokens generated before", ylabel="ms", title="Decode steps by position")


def _parts(axes: Axes, pairs: Pairs) -> None:
    """A bar for each pair of models, of what its mean prompt consists of."""
    left = np.zeros(len(pairs))
    for part, value in PARTS.items():
        time = np.array([sum(map(value, made)) / len(made) / 1e6 for _, made in pairs])
        axes.barh(np.arange(len(pairs)), time, left=left, label=part)
        left = left + time
    axes.set_yticks(range(len(pairs)), [label for label, _ in pairs])
    axes.set(xlabel="ms, the mean of the prompts", title="Parts of a prompt")


def _steps_ms(made: list[Generation]) -> Float64:
    joined: Float64 = np.concatenate([each.steps_ns for each in made]) / 1e6
    return joined


def _first_tokens_ms(made: list[Generation]) -> Float64:
    return np.array([each.first_token_ns / 1e6 for each in made])


PICTURES: Final[dict[str, Callable[..., None]]] = {
    "decode_time_distribution.png": partial(
        _histogram, times_ms=_steps_ms, what="decode step", title="Decode steps"
    ),
    "time_to_first_token.png": partial(
        _histogram,
        times_ms=_first_tokens_ms,
        what="time to first token",
        title="Time to first token",
    ),
    "decode_time_by_position.png": _growth,
    "parts.png": _parts,
}
