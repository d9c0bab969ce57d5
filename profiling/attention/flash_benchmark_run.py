"""Time one attention at one shape: forward, backward and both, and its peak of memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from timeit import default_timer
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from model.attention import ATTENTIONS, causal_mask
from model.flash import FlashUnavailable, tuning
from model.flash.function import check
from profiling.attention.rows import (
    BACKWARD,
    BOTH,
    COMPILED,
    FLASH_ATTN,
    FORWARD,
    SDPA_FLASH,
    FlashRow,
    Unsupported,
)
from profiling.common.machine import available_bytes
from profiling.common.spread import QUANTILES, Spread
from profiling.common.timing import synchronize, to_ns

FEWEST: Final = 3
"""Repetitions on a CPU, however long they take."""

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def measure(row: FlashRow) -> dict[str, Any]:
    """Time one causal attention, and measure its peak of memory.

    Returns:
        For each of ``forward``, ``backward`` and ``both`` the median, 10th and 90th percentile of
        its time in nanoseconds; ``memory_bytes``, the peak of a forward and a backward pass with
        their inputs on a GPU, else None; of our kernels ``tilings``, as `tuning.described_choices`
        has them.

    Raises:
        Unsupported: the implementation does not do this here.
        MemoryError: a CPU has too little memory free, and nothing was begun.
    """
    if not row.device.startswith("cuda") and row.needed_bytes > available_bytes(row.device):
        raise MemoryError(f"about {row.needed_bytes / 2**30:.1f} GiB are needed")
    attend, around = implementation(row)
    like: dict[str, Any] = {"dtype": getattr(torch, row.dtype), "device": row.device}
    torch.manual_seed(0)
    shape = (row.batch, row.heads, row.length, row.width)
    q, k, v = inputs = [torch.randn(shape, **like).requires_grad_() for _ in range(3)]
    above = torch.randn(shape, **like)

    def both() -> None:
        attend(q, k, v).backward(above)  # type: ignore[no-untyped-call]

    if row.implementation == "flash":
        refused(q, k, v)
    with around, supported(row):
        memory_bytes = peak_bytes(both, inputs, row.device)
        output = attend(q, k, v)
        parts: dict[str, Callable[[], object]] = {
            FORWARD: lambda: attend(q, k, v),
            BACKWARD: lambda: output.backward(above, retain_graph=True),  # type: ignore[no-untyped-call]
            BOTH: both,
        }
        times = {name: timed_ns(part, row, inputs) for name, part in parts.items()}
    made: dict[str, Any] = {**times, "memory_bytes": memory_bytes}
    if row.implementation == "flash":
        works = tuning.kinds(q, row.length, True)
        made["tilings"] = tuning.described_choices(works.values())
    return made


def implementation(row: FlashRow) -> tuple[Attend, AbstractContextManager[object]]:
    """Return the function that computes attention, and what must be around its calls.

    Raises:
        Unsupported: there is no such package, or no such backend on this device.
    """
    on_gpu = row.device.startswith("cuda")
    if row.implementation == COMPILED:
        # A buffer that is given away in a backward pass is not there for the next one.
        return torch.compile(ATTENTIONS["eager"], dynamic=False), _kept_buffers()
    if row.implementation == SDPA_FLASH:
        if on_gpu and row.dtype == "float32":
            raise Unsupported("PyTorch's flash backend takes no float32")
        return ATTENTIONS["sdpa"], sdpa_kernel(SDPBackend.FLASH_ATTENTION)
    if row.implementation == FLASH_ATTN:
        return _package(row, on_gpu), nullcontext()
    return ATTENTIONS[row.implementation], nullcontext()


def _kept_buffers() -> AbstractContextManager[object]:
    from torch._functorch import config

    patched: AbstractContextManager[object] = config.patch(donated_buffer=False)
    return patched


def _package(row: FlashRow, on_gpu: bool) -> Attend:
    if find_spec("flash_attn") is None:
        raise Unsupported("the package flash-attn is not installed")
    if not on_gpu:
        raise Unsupported("flash-attn needs a GPU")
    if row.dtype == "float32":
        raise Unsupported("flash-attn takes no float32")
    from flash_attn import flash_attn_func

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))  # it wants (b, t, h, d)
        attended: Tensor = flash_attn_func(q, k, v, causal=True)
        return attended.transpose(1, 2)

    return attend


def refused(q: Tensor, k: Tensor, v: Tensor) -> None:
    """Say what our kernels refuse.

    Raises:
        Unsupported: they do.
    """
    try:
        check(q, k, v, True)
    except (FlashUnavailable, ValueError, TypeError) as error:
        raise Unsupported(str(error)) from None


@contextmanager
def supported(row: FlashRow) -> Iterator[None]:
    """Tell what PyTorch's backends refuse from what goes wrong; and keep the compiler quiet."""
    with warnings.catch_warnings():
        # What is compiled makes its own mask; sdpa_kernel says why each backend is out.
        warnings.filterwarnings("ignore", message="(?s).*lru_cache")
        warnings.filterwarnings("ignore", module=r"torch\._inductor")  # of TF32 not allowed, say
        warnings.filterwarnings("ignore", module="profiling.attention.flash_benchmark_run")
        try:
            yield
        except RuntimeError as error:
            if "No available kernel" not in str(error):
                raise
            raise Unsupported(f"{row.implementation} has no kernel for this") from None
        finally:
            causal_mask.cache_clear()  # of 65536 positions it takes 4 GiB


def peak_bytes(both: Callable[[], None], inputs: list[Tensor], device: str) -> int | None:
    """Return the most that torch's allocator gave out at once; None on a CPU, where none counts."""
    both()  # compiles, and tunes
    for tensor in inputs:
        tensor.grad = None
    if not device.startswith("cuda"):
        return None
    synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    both()
    synchronize(device)
    return int(torch.cuda.max_memory_allocated(device))


def timed_ns(part: Callable[[], object], row: FlashRow, inputs: list[Tensor]) -> list[int]:
    """Return the median, 10th and 90th percentile of a call's time.

    On a GPU ``triton.testing.do_bench`` times with events, its second-level cache emptied before
    each call; on a CPU the clock does, warm.
    """
    if row.device.startswith("cuda"):
        from triton.testing import do_bench

        with torch.cuda.device(row.device):
            found = do_bench(
                part,
                warmup=row.warmup_ms,
                rep=row.repeat_ms,
                grad_to_none=inputs,
                quantiles=list(QUANTILES),
            )
        return [to_ns(milliseconds / 1e3) for milliseconds in found]
    times = list(_clocked(part, row.warmup_ms / 1e3, row.repeat_ms / 1e3, inputs))
    return [round(value) for value in Spread.quantiles(times)]


def _clocked(
    part: Callable[[], object], warmup_s: float, repeat_s: float, inputs: list[Tensor]
) -> Iterator[int]:
    """Yield the times of calls in nanoseconds, after a warm-up, for so long together."""
    count, warm_from = 0, default_timer()
    while default_timer() - warm_from < warmup_s:
        part()
    spent = 0.0
    while count < FEWEST or spent < repeat_s:
        for tensor in inputs:
            tensor.grad = None
        start = default_timer()
        part()
        taken = default_timer() - start
        count, spent = count + 1, spent + taken
        yield to_ns(taken)
