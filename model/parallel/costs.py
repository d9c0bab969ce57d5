"""What collectives cost, by formula: bytes a rank must send, and the time buckets add to a step.

The byte counts are those of the ring algorithms (P. Patarasuk and X. Yuan, "Bandwidth optimal
all-reduce algorithms for clusters of workstations", J. Parallel Distrib. Comput. 69, 2009), which
no algorithm over point-to-point links can better. ``size_bytes`` is always that of the *whole*
tensor: the input of an all-reduce, the output of an all-gather, the input of a reduce-scatter.
"""

import math


def all_gather(size_bytes: int, ranks: int) -> int:
    """Bytes a rank sends so that all have all: (N-1)/N * S.

    >>> all_gather(1000, 4)
    750
    """
    return (ranks - 1) * size_bytes // ranks


def reduce_scatter(size_bytes: int, ranks: int) -> int:
    """Bytes a rank sends so that each has its part of the sum: (N-1)/N * S."""
    return (ranks - 1) * size_bytes // ranks


def all_reduce(size_bytes: int, ranks: int) -> int:
    """Bytes a rank sends so that all have the sum: 2(N-1)/N * S, a reduce-scatter and a gather.

    >>> all_reduce(1000, 2), all_reduce(1000, 1)
    (1000, 0)
    """
    return 2 * (ranks - 1) * size_bytes // ranks


def broadcast(size_bytes: int, ranks: int) -> int:
    """Bytes a rank passes on along a pipeline (the last receives as many): S."""
    return size_bytes if ranks > 1 else 0


def bus_bytes_per_s(size_bytes: int, ranks: int, seconds: float) -> float:
    """Rate at which an all-reduce keeps each link busy: 2(N-1)/N * S/t.

    Unlike the algorithm bandwidth S/t it can be compared with the hardware's, whatever the number
    of ranks (NVIDIA, nccl-tests, doc/PERFORMANCE.md).
    """
    return 2 * (ranks - 1) / ranks * size_bytes / seconds


def bucket_overhead_s(
    size_bytes: float, bytes_per_s: float, call_s: float, buckets: float
) -> float:
    """Time that reducing gradients in buckets adds after the backward: s/(n_b w) + n_b o.

    The model of CS336 assignment 2 (2025): a bucket's gradients take as long to compute as to
    reduce, so that only the last bucket is exposed, and each call costs ``call_s`` besides.

    Args:
        size_bytes: s, of all gradients.
        bytes_per_s: w, the algorithm bandwidth of the all-reduce.
        call_s: o, of one call however small.
        buckets: n_b.

    >>> bucket_overhead_s(100e6, 1e9, 0.001, 10)
    0.02
    """
    return size_bytes / (buckets * bytes_per_s) + buckets * call_s


def best_bucket_bytes(size_bytes: float, bytes_per_s: float, call_s: float) -> float:
    """Size of a bucket at which `bucket_overhead_s` is least: sqrt(s w o).

    The derivative by n_b is zero at n_b = sqrt(s/(w o)). One bucket is the most there can be of.

    >>> best_bucket_bytes(100e6, 1e9, 0.001)
    10000000.0
    """
    return min(size_bytes, math.sqrt(size_bytes * bytes_per_s * call_s))
