"""Which tiling a kernel gets: timed once for a kind of work, then kept.

A few tilings that are known to be good are timed on the first call, a fraction of a second each
beside their compilation. Nothing is timed under the interpreter, and nothing while a CUDA graph is
captured, which would record the trials.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import torch

from model.flash.availability import is_interpreted
from model.flash.tiles import INTERPRETED, Pass, Tiling, candidates, length_class, padded

WARM_UP_MS: Final = 10
TRIAL_MS: Final = 40
"""How long each tiling is timed; triton.testing takes milliseconds."""


class Kind(NamedTuple):
    """What a tiling is kept under."""

    which: Pass
    device: str
    dtype: torch.dtype
    width: int
    length: int
    is_causal: bool
    precision: str


Time = Callable[[Callable[[], object]], float]
"""Times a call in milliseconds."""

_tuned: dict[Kind, Tiling] = {}
_lock = threading.Lock()


def kind(which: Pass, q: torch.Tensor, keys: int, is_causal: bool, precision: str) -> Kind:
    """Return the kind of work that a kernel is asked for.

    Args:
        which: the kernel.
        q: ``(batch, heads, queries, width)``.
        keys: how many there are.
        is_causal: whether half of the tiles are skipped.
        precision: of products in fp32, as Triton calls it.
    """
    device = torch.cuda.get_device_name(q.device) if q.is_cuda else q.device.type
    length = length_class(max(q.shape[-2], keys))
    return Kind(which, device, q.dtype, padded(q.shape[-1]), length, is_causal, precision)


def known(work: Kind) -> Tiling:
    """Return the tiling this kind of work gets, or would get were nothing timed."""
    if is_interpreted():
        return INTERPRETED
    return _tuned.get(work) or _candidates(work)[0]


def is_tuned(work: Kind) -> bool:
    """Return whether nothing has to be timed for this kind of work any more."""
    return work in _tuned or is_interpreted()


def _candidates(work: Kind) -> tuple[Tiling, ...]:
    return candidates(work.which, work.width, work.dtype.itemsize, work.precision)


def tiling(work: Kind, run: Callable[[Tiling], object]) -> Tiling:
    """Return the tiling for a kind of work; the first time, the fastest of its candidates.

    Args:
        work: what is asked for.
        run: does it once with a tiling.
    """
    if is_tuned(work):
        return known(work)
    if torch.cuda.is_current_stream_capturing():
        return known(work)
    with _lock:
        if work not in _tuned:
            _tuned[work] = fastest(_candidates(work), run, _time)
        return _tuned[work]


def fastest(of_kind: Sequence[Tiling], run: Callable[[Tiling], object], time: Time) -> Tiling:
    """Return the tiling that ran in the least time.

    A tiling that the GPU has too little shared memory or too few registers for is passed over.

    Raises:
        RuntimeError: the GPU takes none of them.
    """
    times_ms: dict[Tiling, float] = {}
    failures = []
    for candidate in of_kind:
        try:
            times_ms[candidate] = time(lambda chosen=candidate: run(chosen))  # type: ignore[misc]
        except Exception as error:
            if not _is_too_much(error):
                raise
            failures.append(f"{candidate}: {error}")
    if not times_ms:
        raise RuntimeError(f"this GPU takes none of the tilings: {'; '.join(failures)}")
    return min(times_ms, key=lambda candidate: times_ms[candidate])


def _is_too_much(error: Exception) -> bool:
    """Return whether a kernel did not fit the GPU, or the compiler gave up on it."""
    from triton import runtime

    errors = runtime.errors
    refused = tuple(
        getattr(errors, name) for name in ("OutOfResources", "PTXASError") if hasattr(errors, name)
    )
    return isinstance(error, refused)


def _time(call: Callable[[], object]) -> float:
    """Return the median time of a call on the GPU, in milliseconds."""
    from triton.testing import do_bench

    return float(do_bench(call, warmup=WARM_UP_MS, rep=TRIAL_MS, return_mode="median"))
