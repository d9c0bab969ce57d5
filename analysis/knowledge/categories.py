"""What kind of work a kernel or an operator does, by its name."""

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Final

from analysis.knowledge.patterns import CATEGORIES, FUSED, KERNELS, OPERATORS

__all__ = ["CATEGORIES", "categories", "category"]

OTHER: Final = CATEGORIES[-1]
INDUCTOR: Final = re.compile(r"triton_(?:poi|red|per)_fused_|(?:graph_\d+_)?cpp_fused_")


@cache
def compiled(kind: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Return the patterns for a kind of name, in the order in which they are tried."""
    table = {"kernel": KERNELS, "fused": FUSED, "operator": OPERATORS}[kind]
    return tuple((name, re.compile(pattern, re.IGNORECASE)) for name, pattern in table.items())


@lru_cache(maxsize=1 << 16)
def category(name: str) -> str:
    """Return the category of a GPU kernel, of a kernel of Inductor's, or of an ATen operator.

    The first pattern that matches counts, in the order of `CATEGORIES`.

    Returns:
        One of `CATEGORIES`; ``other`` if nothing matches.

    >>> category("ampere_sgemm_128x64_nn"), category("triton_per_fused__softmax_mul_3")
    ('gemm', 'softmax')
    >>> category("aten::embedding_dense_backward"), category("aten::view")
    ('embedding', 'other')
    """
    if name.startswith("aten::"):
        kind = "operator"
    else:
        kind = "fused" if INDUCTOR.match(name) else "kernel"
    for label, pattern in compiled(kind):
        if pattern.search(name):
            return label
    return OTHER


def categories(names: Iterable[str]) -> list[str]:
    """Return the category of each name; a name that comes again is looked up once."""
    return [category(name) for name in names]
