"""What a collective is called, how large its message is, and what its bandwidth is compared by.

A collective has many names: PyTorch's (``_allgather_base``), those of NCCL's functions
(``ncclAllGather``) and kernels (``ncclDevKernel_AllGather_RING_LL``), a backend's ranges
(``gloo:all_gather``). The size of a message and the factor of the bus bandwidth are those of
nccl-tests (``doc/PERFORMANCE.md``; for gather and scatter ``src/gather.cu``, ``src/scatter.cu``):
the size is that of the whole array, which for all-gather and reduce-scatter is what all ranks have
together.
"""

from __future__ import annotations

import re
from typing import Final

KINDS: Final = {
    "reduce_scatter": "reducescatter",
    "all_reduce": "allreduce|crossdevicereduce",
    "all_gather": "allgather",
    "all_to_all": "alltoall",
    "send_recv": "sendrecv",
    "broadcast": "broadcast|bcast",
    "scatter": "scatter",
    "gather": "gather",
    "barrier": "barrier",
    "reduce": "reduce",
    "send": "send",
    "recv": "recv",
}
"""Kinds of collectives, and what their names hold, of letters alone; the first match counts."""

OF_ALL_RANKS: Final = frozenset({"all_gather", "reduce_scatter", "all_to_all", "gather", "scatter"})
"""The kinds of which NCCL is told the size of one rank's part, and the array is that of all."""

UNEVEN: Final = frozenset({"all_to_all", "gather", "scatter"})
"""The kinds in which each rank may have a message of another size."""

PAIRWISE: Final = frozenset({"send", "recv", "send_recv"})
"""The kinds that concern two ranks only."""

REDUCTIONS: Final = frozenset({"all_reduce", "reduce_scatter", "reduce"})
"""The kinds whose kernels differ by what they add up; those of others say nothing of it."""

DTYPES: Final = {
    "Byte": ("uint8", 1),
    "Char": ("int8", 1),
    "Bool": ("bool", 1),
    "Short": ("int16", 2),
    "Int": ("int32", 4),
    "Long": ("int64", 8),
    "UInt16": ("uint16", 2),
    "UInt32": ("uint32", 4),
    "UInt64": ("uint64", 8),
    "Half": ("float16", 2),
    "BFloat16": ("bfloat16", 2),
    "Float": ("float32", 4),
    "Double": ("float64", 8),
    "ComplexHalf": ("complex32", 4),
    "ComplexFloat": ("complex64", 8),
    "ComplexDouble": ("complex128", 16),
    "Float8_e4m3fn": ("float8_e4m3fn", 1),
    "Float8_e5m2": ("float8_e5m2", 1),
    "Float8_e4m3fnuz": ("float8_e4m3fnuz", 1),
    "Float8_e5m2fnuz": ("float8_e5m2fnuz", 1),
    "Float8_e8m0fnu": ("float8_e8m0fnu", 1),
}
"""PyTorch's types by the names its profiler has for them (`c10::toString`), with their bytes."""

OF_KERNELS: Final = {
    "bf16": "bfloat16",
    "__nv_bfloat16": "bfloat16",
    "f16": "float16",
    "half": "float16",
    "f32": "float32",
    "float": "float32",
    "f64": "float64",
    "double": "float64",
    "f8e4m3": "float8_e4m3fn",
    "f8e5m2": "float8_e5m2",
    "i8": "int8",
    "int8_t": "int8",
    "u8": "uint8",
    "uint8_t": "uint8",
    "i32": "int32",
    "int32_t": "int32",
    "u32": "uint32",
    "uint32_t": "uint32",
    "i64": "int64",
    "int64_t": "int64",
    "u64": "uint64",
    "uint64_t": "uint64",
}
"""The types in the names of NCCL's kernels, of now and of before 2.19."""

OF_KERNEL: Final = re.compile(
    rf"_(?:Sum|Prod|MinMax|Min|Max|PreMulSum|SumPostDiv)_({'|'.join(OF_KERNELS)})(?![a-z0-9])"
)


def kind_of(name: str) -> str:
    """Return the kind of a collective by any of its names; the name itself where none is known.

    >>> kind_of("_allgather_base"), kind_of("ncclDevKernel_ReduceScatter_Sum_bf16_RING_LL(args)")
    ('all_gather', 'reduce_scatter')
    >>> kind_of("gloo:all_reduce"), kind_of("ncclDevKernel_Generic_1")
    ('all_reduce', 'ncclDevKernel_Generic_1')
    """
    letters = re.sub("[^a-z]", "", name.partition("(")[0].lower())
    return next((kind for kind, held in KINDS.items() if re.search(held, letters)), name)


def kernel_dtype(name: str) -> str:
    """Return the type of what a kernel of NCCL's adds up, "" where its name does not say.

    >>> kernel_dtype("ncclDevKernel_AllReduce_Sum_bf16_RING_LL(args)")
    'bfloat16'
    >>> kernel_dtype("ncclKernel_AllGather_RING_LL_Sum_int8_t(args)")
    ''
    """
    found = OF_KERNEL.search(name)
    return OF_KERNELS[found[1]] if found and kind_of(name) in REDUCTIONS else ""


def bus_factor(kind: str, ranks: int) -> float | None:
    """Return what bandwidth is multiplied by to be that of the busiest link; None if not known.

    >>> bus_factor("all_reduce", 4), bus_factor("all_gather", 4), bus_factor("broadcast", 4)
    (1.5, 0.75, 1.0)
    """
    if kind == "all_reduce":
        return 2 * (ranks - 1) / ranks
    if kind in OF_ALL_RANKS:
        return (ranks - 1) / ranks
    return 1.0 if kind in PAIRWISE | {"broadcast", "reduce"} else None
