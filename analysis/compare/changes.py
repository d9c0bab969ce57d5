"""How a ratio of two times is said in words."""

from __future__ import annotations

import math
from typing import Final

TIMES: Final = 2
"""From which ratio on a change is said in times: 18.6× is read at once, +1763 % is not."""


def relative_change(ratio: float) -> str:
    """Return a ratio as a change in percent, from a doubling on as so many times.

    >>> relative_change(1.1), relative_change(0.987), relative_change(float("nan"))
    ('+10.0 %', '-1.3 %', 'no ratio')
    >>> relative_change(1.999), relative_change(2), relative_change(18.63), relative_change(1256.3)
    ('+99.9 %', '2.00×', '18.6×', '1,256×')
    """
    if math.isnan(ratio):
        return "no ratio"
    if ratio >= TIMES:
        return f"{ratio:,.{max(0, 3 - len(str(int(ratio))))}f}×"
    return f"{(ratio - 1) * 100:+.1f} %"
