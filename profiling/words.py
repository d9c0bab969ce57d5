"""Counts with their words, as lines for people have them."""

from analysis.words import plural


def runs(warmup: int, steps: int) -> str:
    """Return how many steps a run has, and how many before them do not count.

    >>> runs(1, 3), runs(0, 1)
    ('1 warm-up + 3 steps', 'no warm-up + 1 step')
    """
    return f"{warmup or 'no'} warm-up + {plural(steps, 'step')}"
