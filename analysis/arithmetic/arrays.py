"""Arrays: NumPy's types by element, and texts as numbers.

The shapes of arrays stand in the docstrings of functions.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def quotient(value: Int64 | Float64, by: Int64 | Float64) -> Float64:
    """Return quotients, NaN where a value is not known or a divisor is 0.

    >>> quotient(np.array([11, 1]), np.array([10, 0])).tolist()
    [1.1, nan]
    """
    divisor = np.asarray(by, np.float64)
    result: Float64 = np.divide(
        value, divisor, out=np.full(len(divisor), np.nan), where=divisor > 0
    )
    return result


def coded(texts: Iterable[str | None], lacking: str | None = None) -> tuple[list[str], Int64]:
    """Return the distinct texts, ascending, and ``(N,)`` the position of each among them.

    Args:
        texts: ``N`` of them.
        lacking: what stands for no text; its position, and that of None, is -1.

    >>> known, position = coded(["b", "a", "b", None])
    >>> known, position.tolist()
    (['a', 'b'], [1, 0, 1, -1])
    """
    listed = list(texts)
    known = sorted({text for text in listed if text is not None and text != lacking})
    position: dict[str | None, int] = {text: place for place, text in enumerate(known)}
    return known, np.array([position.get(text, -1) for text in listed], np.int64)
