"""Which tiling a kernel gets: timed once for a kind of work, then kept.

A few tilings that are known to be good are timed on the first call, a tenth of a second each beside
their compilation, which takes a second or two each and is kept on the disk by Triton: at most
`MOST_CANDIDATES` of them for each pass. The backward pass is timed in two passes and in one.
Nothing is timed under the interpreter, and nothing while a CUDA graph is captured, which would
record the trials.
"""

import math
import threading
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import asdict
from timeit import default_timer
from typing import Any, Final, NamedTuple

import torch

from model.flash.availability import is_interpreted
from model.flash.tiles import (
    INTERPRETED,
    ONE_PASS,
    PRODUCTS,
    TWO_PASSES,
    Pass,
    Tiling,
    candidates,
    length_class,
    padded,
    product_precision,
)

WARM_UP_MS: Final = 10
TRIAL_MS: Final = 40
"""How long each tiling is timed; triton.testing takes milliseconds."""

MOST_CANDIDATES: Final = 5
"""Tilings that are tried of a pass, so that a first step is late by seconds and not by minutes."""


class Kind(NamedTuple):
    """A kind of work, under which a tiling is kept.

    Attributes:
        precision: of products in fp32, as Triton calls it.
    """

    which: Pass
    device: str
    dtype: torch.dtype
    width: int
    length: int
    is_causal: bool
    precision: str


class NoTiling(RuntimeError):
    """The GPU takes none of the tilings."""


class Choice(NamedTuple):
    """The tiling chosen for a kind of work, and on what grounds.

    Attributes:
        tiling: the fastest.
        time_ms: of it; infinite where the GPU took none.
        tried: how many there were.
        took_s: how long trying them took, with their compilation.
    """

    tiling: Tiling
    time_ms: float
    tried: int
    took_s: float


_tuned: dict[Kind, Choice] = {}
_lock = threading.Lock()


def kind(which: Pass, q: torch.Tensor, keys: int, is_causal: bool) -> Kind:
    """Return the kind of work of a kernel, with q ``(batch, heads, queries, width)``."""
    device = torch.cuda.get_device_name(q.device) if q.is_cuda else q.device.type
    length = length_class(max(q.shape[-2], keys))
    precision = product_precision(q.dtype)
    return Kind(which, device, q.dtype, padded(q.shape[-1]), length, is_causal, precision)


def kinds(q: torch.Tensor, keys: int, is_causal: bool) -> dict[Pass, Kind]:
    """Return the kind of work of each pass, under which its tiling is kept."""
    return {which: kind(which, q, keys, is_causal) for which in PRODUCTS}


def known_tiling(work: Kind) -> Tiling:
    """Return the tiling this kind of work gets, or would get were nothing timed."""
    if is_interpreted():
        return INTERPRETED
    return _tuned[work].tiling if work in _tuned else _candidates(work)[0]


def is_tuned(work: Kind) -> bool:
    """Return whether nothing has to be timed for this kind of work any more."""
    return work in _tuned or is_interpreted() or not _candidates(work)


def _candidates(work: Kind) -> tuple[Tiling, ...]:
    return candidates(work.which, work.width, work.dtype.itemsize, work.precision)


def tiling(work: Kind, run: Callable[[Tiling], object]) -> Tiling:
    """Return the tiling for a kind of work; the first time, the fastest of its candidates.

    Raises:
        NoTiling: the GPU takes none of them.
    """
    _tune(work, run)
    return known_tiling(work)


def backward_tilings(
    works: Mapping[Pass, Kind], runs: Mapping[Pass, Callable[[Tiling], object]]
) -> list[tuple[Pass, Tiling]]:
    """Return the passes of the backward pass and their tilings; the first time, all are timed.

    Raises:
        NoTiling: the GPU takes no tiling of one of the two passes.
    """
    for which in (*TWO_PASSES, *ONE_PASS):
        try:
            _tune(works[which], runs[which])
        except NoTiling:
            if which not in ONE_PASS:
                raise
            _tuned[works[which]] = Choice(_candidates(works[which])[0], math.inf, 0, 0.0)
    return [(which, known_tiling(works[which])) for which in backward_passes(works)]


def backward_passes(works: Mapping[Pass, Kind]) -> tuple[Pass, ...]:
    """Return the passes that are chosen: two, until one was timed and is faster.

    Two as well where only deterministic algorithms are allowed.
    """
    timed = [_tuned.get(works[which]) for which in (*ONE_PASS, *TWO_PASSES)]
    if torch.are_deterministic_algorithms_enabled() or None in timed:
        return TWO_PASSES
    one, *two = (choice.time_ms for choice in timed if choice)
    return ONE_PASS if one < sum(two) else TWO_PASSES


def described_choices(works: Container[Kind] | None = None) -> list[dict[str, Any]]:
    """Return the tilings chosen in this process, or those for some kinds of work.

    Returns:
        A row for each kind of work: the fields of `Kind`, of `Tiling` and of `Choice`; a time that
        no tiling reached is None.
    """
    return [
        {
            **work._asdict(),
            "dtype": str(work.dtype).removeprefix("torch."),
            **asdict(choice.tiling),
            "time_ms": choice.time_ms if choice.time_ms < math.inf else None,
            "tried": choice.tried,
            "took_s": round(choice.took_s, 1),
        }
        for work, choice in _tuned.items()
        if works is None or work in works
    ]


def _tune(work: Kind, run: Callable[[Tiling], object]) -> None:
    if is_tuned(work) or torch.cuda.is_current_stream_capturing():
        return
    with _lock:
        if work not in _tuned:
            start, of_kind = default_timer(), _candidates(work)
            chosen, time_ms = fastest(of_kind, run, _time)
            _tuned[work] = Choice(chosen, time_ms, len(of_kind), default_timer() - start)


def fastest(
    of_kind: Sequence[Tiling],
    run: Callable[[Tiling], object],
    time: Callable[[Callable[[], object]], float],
) -> tuple[Tiling, float]:
    """Return the tiling that ran in the least time, by ``time``, and its time in milliseconds.

    A tiling that the GPU has too little shared memory or too few registers for is passed over.

    Raises:
        NoTiling: the GPU takes none of them.
    """
    times_ms: dict[Tiling, float] = {}
    failures = []
    for candidate in of_kind:
        try:
            times_ms[candidate] = time(lambda chosen=candidate: run(chosen))  # type: ignore[misc]
        except Exception as error:
            if not is_too_much(error):
                raise
            failures.append(f"{candidate}: {error}")
    if not times_ms:
        raise NoTiling(f"this GPU takes none of the tilings: {'; '.join(failures)}")
    return min(times_ms.items(), key=lambda item: item[1])


def is_too_much(error: Exception) -> bool:
    """Return whether a kernel did not fit the GPU, or the compiler gave up on it."""
    from triton import runtime

    # By name: which of them there is depends on Triton's version.
    names = ("OutOfResources", "PTXASError")
    refused = tuple(getattr(runtime.errors, name, ()) for name in names)
    return isinstance(error, refused) or "PassManager::run failed" in str(error)


def _time(call: Callable[[], object]) -> float:
    """Return the median time of a call on the GPU, in milliseconds."""
    from triton.testing import do_bench

    return float(do_bench(call, warmup=WARM_UP_MS, rep=TRIAL_MS, return_mode="median"))
