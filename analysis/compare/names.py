"""Names that mean the same in two runs: without what a compiler or a loop makes new each time."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from analysis.knowledge.vocabulary import canonical

Int64 = npt.NDArray[np.int64]

CHANGING: Final = (
    # Inductor numbers its kernels as it meets them: triton_poi_fused_add_mul_12.
    (re.compile(r"^(triton_(?:poi|red|per|tem|for)_\w*?)_\d+$"), r"\1"),
    # Triton 2 noted for each argument how it had been specialised: _fwd_kernel_0d1d2de3c.
    (re.compile(r"_0[cde]*1[cde]*[0-9cde]*$"), ""),
    # nvcc names what is local to a file by a hash of the file.
    (re.compile(r"\b_(?:GLOBAL__N|INTERNAL)_\w+|\(anonymous namespace\)"), "<unnamed>"),
    # The number of a graph is a counter of the process.
    (re.compile(r"^(\[CUDA graph replay\]) graph \w+$"), r"\1"),
)
"""What differs between two compilations of the same kernel, and what is put instead."""

HASH: Final = re.compile(r"(## Call CompiledFxGraph) \w+ (##)")
"""PyTorch's range around a compiled graph, by the hash of its code."""

UNNAMED: Final = "[unnamed]"


def kernel_name(name: str) -> str:
    """Return a kernel's name without what changes between compilations.

    >>> kernel_name("triton_poi_fused_add_mul_12"), kernel_name("_fwd_kernel_0d1d2de3c")
    ('triton_poi_fused_add_mul', '_fwd_kernel')
    >>> kernel_name("at::_GLOBAL__N__5f1c_7_x_cu::copy<int>"), kernel_name("sgemm_128x64_nn")
    ('at::<unnamed>::copy<int>', 'sgemm_128x64_nn')
    """
    for pattern, instead in CHANGING:
        name = pattern.sub(instead, name)
    return name


def range_name(name: str) -> str:
    """Return the name under which a range is compared: ours, or its own without numbers.

    >>> range_name("ProfilerStep#7"), range_name("computing softmax"), range_name("")
    ('step', 'softmax', '[unnamed]')
    >>> range_name("## Call CompiledFxGraph fmjx4t ##")
    '## Call CompiledFxGraph ##'
    """
    return HASH.sub(r"\1 \2", canonical(name)) or UNNAMED


def together(
    recorded: Sequence[str], rename: Callable[[str], str], used: Int64
) -> tuple[list[str], Int64, list[str]]:
    """Return names by which to compare, and which of them each recorded name has.

    Args:
        recorded: ``(K,)`` distinct names.
        rename: what one is compared under.
        used: positions of the names that count.

    Returns:
        ``(M,)`` names, ascending; ``(K,)`` positions among them, 0 for names that do not count; and
        ``(M,)`` the recorded names of each, joined.
    """
    found: dict[str, list[str]] = {}
    for place in np.unique(used).tolist():
        found.setdefault(rename(recorded[place]), []).append(recorded[place])
    made = sorted(found)
    position = {each: number for number, name in enumerate(made) for each in found[name]}
    places = np.array([position.get(name, 0) for name in recorded], np.int64)
    return made, places, [" + ".join(sorted(found[name])) for name in made]
