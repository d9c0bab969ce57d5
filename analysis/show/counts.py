"""Counts in words. Nothing here needs NumPy, which the converter of traces does without."""


def plural(count: int, one: str, several: str = "") -> str:
    """Return a count with the word for what it counts, in singular or plural.

    Args:
        count: of what.
        one: the word for one of them, or several words.
        several: for none or more; with an s at the end where it is left out.

    >>> plural(1, "step"), plural(3000, "step"), plural(2, "row is", "rows are")
    ('1 step', '3,000 steps', '2 rows are')
    """
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"
