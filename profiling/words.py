"""Counts with their words, as lines for people have them.

`analysis` has the like of it: what a recorded script runs beside may import nothing of that.
"""


def plural(count: int, word: str) -> str:
    """Return a count with its word.

    >>> plural(1, "thread"), plural(3, "step")
    ('1 thread', '3 steps')
    """
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def runs(warmup: int, steps: int) -> str:
    """Return how many steps a run has, and how many before them do not count.

    >>> runs(1, 3), runs(0, 1)
    ('1 warm-up + 3 steps', 'no warm-up + 1 step')
    """
    return f"{warmup or 'no'} warm-up + {plural(steps, 'step')}"
