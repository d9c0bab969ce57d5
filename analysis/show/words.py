"""Words for people: a count, and what it counts."""

from __future__ import annotations


def plural(count: int, word: str) -> str:
    """Return a count with its word.

    >>> plural(1, "step"), plural(3000, "step")
    ('1 step', '3,000 steps')
    """
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"
