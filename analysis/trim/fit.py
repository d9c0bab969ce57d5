"""How many steps fit into a file of some size: found by writing it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from analysis.show import cli
from analysis.show.errors import ReportError
from analysis.trim.copy import Trimmer, Written
from analysis.trim.tables import TooLarge
from analysis.trim.windows import Windows

PATIENT: Final = 8
"""How often what a step took is trusted."""


def fitting(
    trimmer: Trimmer, draft: Path, chosen: Windows, most_bytes: int | None
) -> tuple[Written, Windows]:
    """Write as many of the last steps as fit, and return what was written and of which steps.

    Args:
        trimmer: the report.
        draft: where to write.
        chosen: all that may be kept.
        most_bytes: how large the file may be; None for everything that is chosen.

    Raises:
        ReportError: not even one fits.
    """
    if most_bytes is None:
        return trimmer.write(draft, chosen), chosen
    total = len(chosen.numbers)
    fitted: list[tuple[int, int]] = []
    fits, too_many, tries, tried, made = 0, total + 1, 0, 1, Written()
    while fits + 1 < too_many:
        tries += 1
        try:
            made = trimmer.write(draft, chosen.last(tried), most_bytes)
        except TooLarge:
            too_many = tried
        else:
            fits = tried
            fitted.append((fits, made.size_bytes))
        tried, last = next_guess(fitted, too_many, most_bytes, tries), tried
    if not fits:
        one = chosen.last(1).describe()
        path, limit = trimmer.report.path, f"{most_bytes / 1e6:g} MB"
        remedy = "allow more with --max-size, or choose less with --within RANGE"
        raise ReportError(path, f"{one} does not fit into {limit}", remedy)
    kept = chosen.last(fits)
    if last != fits:  # what lies there is of an attempt that failed
        made = trimmer.write(draft, kept)
    if fits < total:
        cli.say(f"{fits:,} of {total:,} steps fit into {most_bytes / 1e6:g} MB: the last ones")
    return made, kept


def next_guess(fits: list[tuple[int, int]], too_many: int, most_bytes: int, tried: int) -> int:
    """Return how many steps to try next: by what each took so far, but between the bounds.

    Args:
        fits: how many fitted into how many bytes, ascending.
        too_many: so many do not fit.
        most_bytes: how large the file may be.
        tried: how often; after `PATIENT` times the space between the bounds is halved.

    >>> next_guess([(1, 500)], 101, 10_000, 1), next_guess([(1, 500), (2, 900)], 101, 10_000, 2)
    (2, 24)
    >>> next_guess([(1, 500), (2, 900), (24, 9_700)], 26, 10_000, 9)
    25
    """
    count, size = fits[-1] if fits else (0, 0)
    guess = count + 1
    if len(fits) > 1:
        before, smaller = fits[-2]
        a_step = max((size - smaller) // (count - before), 1)
        guess = count + (most_bytes - size) // a_step
    if tried > PATIENT:
        guess = (count + too_many) // 2
    return max(min(guess, too_many - 1), count + 1)
