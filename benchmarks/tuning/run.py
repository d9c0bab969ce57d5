"""Compile, check and time one pass of FlashAttention at one tiling."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache, partial
from multiprocessing import get_context
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from model.flash import reference
from model.flash.availability import is_interpreted
from model.flash.launch import backward_runs, run_forward, statistics
from model.flash.tiles import PRODUCTS, Pass, Tiling, computed_pairs
from model.flash.tuning import is_too_much
from model.flops import visible_pairs
from profiling.attention.flash_benchmark_run import timed_ns
from profiling.attention.rows import FlashRow

DONE: Final = "done"
REFUSED: Final = "refused"
WRONG: Final = "wrong"
FAILED: Final = "failed"

TOLERANCE: Final = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
"""Of the error's norm to the result's, against float32: the inputs' rounding, a few times over."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of one causal attention.

    Attributes:
        width: of a head.
        length: in positions.
    """

    batch: int
    heads: int
    width: int
    length: int
    dtype: str
    device: str


class Trial(NamedTuple):
    """One pass at one tiling."""

    shape: Shape
    which: Pass
    tiling: Tiling

    @property
    def flops(self) -> int:
        """FLOPs of the pairs that count."""
        return self._flops(visible_pairs(self.shape.length))

    @property
    def launched_flops(self) -> int:
        """FLOPs of the tiles that are computed."""
        length, cut = self.shape.length, self.tiling
        return self._flops(computed_pairs(length, length, True, cut.queries, cut.keys))

    def _flops(self, pairs: int) -> int:
        shape = self.shape
        return 2 * PRODUCTS[self.which] * shape.batch * shape.heads * shape.width * pairs


class Problem:
    """The tensors of a shape, and what they should become."""

    def __init__(self, shape: Shape) -> None:
        torch.manual_seed(0)
        size = (shape.batch, shape.heads, shape.length, shape.width)
        made = {"dtype": getattr(torch, shape.dtype), "device": shape.device}
        self.q, self.k, self.v, self.above = (torch.randn(size, **made) for _ in range(4))
        self.output, self.dq, self.dk, self.dv = (torch.empty(size, **made) for _ in range(4))
        self.lse = torch.empty(size[:-1], dtype=torch.float32, device=shape.device)

    def run(self, which: Pass, tiling: Tiling, lse: Tensor, output: Tensor) -> Callable[[], None]:
        """Return a function that runs a pass once, from this result of the forward pass."""
        if which == "forward":
            read = (self.q, self.k, self.v)
            return lambda: run_forward(*read, self.output, self.lse, True, tiling)
        tensors = (self.q, self.k, self.v, self.above, self.dq, self.dk, self.dv)
        known = statistics(output, self.above, lse)
        return partial(backward_runs(*tensors, statistics=known, is_causal=True)[which], tiling)

    @cached_property
    def expected(self) -> dict[str, Tensor]:
        """What every tensor should become, computed in float32 by the reference."""
        q, k, v, above = reference.wide(self.q, self.k, self.v, self.above)
        output, lse = reference.attention(q, k, v, True)
        found = reference.gradients(q, k, v, output, lse, above, True)
        return {"output": output, "lse": lse, **dict(zip(("dq", "dk", "dv"), found, strict=True))}

    def error(self, which: Pass, run: Callable[[], None]) -> float:
        """Run once, and return the greatest of the errors of what was written."""
        names = WRITTEN[which]
        for name in names:
            getattr(self, name).fill_(torch.nan)
        run()
        return max(relative(getattr(self, name), self.expected[name]) for name in names)


WRITTEN: Final[dict[Pass, tuple[str, ...]]] = {
    "forward": ("output", "lse"),
    "dq": ("dq",),
    "dkdv": ("dk", "dv"),
    "one_pass": ("dq", "dk", "dv"),
}


def relative(found: Tensor, expected: Tensor) -> float:
    """Return the norm of the error to the norm of what was expected; not a number is infinite."""
    error = ((found.float() - expected).norm() / expected.norm()).item()
    return error if error == error else float("inf")  # not a number


@lru_cache(maxsize=1)
def problem(shape: Shape) -> Problem:
    """Return the tensors of a shape; those of the last one are kept."""
    return Problem(shape)


def compile_one(trial: Trial) -> str | None:
    """Run a trial once for its compilation, which stays on the disk; return what went wrong.

    Called in a process of its own, which is the one that ends if the compiler crashes.
    """
    torch.set_num_threads(1)
    made = problem(trial.shape)
    lse, output = torch.zeros_like(made.lse), torch.zeros_like(made.output)
    try:
        made.run(trial.which, trial.tiling, lse, output)()
    except Exception as error:  # whatever the compiler says is a row of the table
        return message_of(error)
    return None


def message_of(error: Exception) -> str:
    """Return what is kept of an error: whether the GPU refused the tiling, and the first line."""
    said = (str(error).strip().splitlines() or [""])[0]
    return f"{REFUSED if is_too_much(error) else FAILED}: {type(error).__name__}: {said}"


class Compiler:
    """Processes that compile ahead, so that timing has the GPU for itself afterwards.

    Args:
        processes: how many; none under the interpreter, which compiles nothing.
    """

    def __init__(self, processes: int) -> None:
        wanted = 0 if is_interpreted() else processes
        self._pool = ProcessPoolExecutor(wanted, get_context("spawn")) if wanted > 1 else None

    def ahead(self, trials: Sequence[Trial]) -> dict[Trial, Future[str | None]]:
        """Begin to compile trials."""
        if self._pool is None:
            return {}
        try:
            return {trial: self._pool.submit(compile_one, trial) for trial in trials}
        except BrokenProcessPool:
            return {}

    def close(self) -> None:
        """End the processes; what has not begun is not compiled."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


def measure(trial: Trial, milliseconds: int) -> dict[str, Any]:
    """Check a trial, and time it.

    Returns:
        ``outcome``; ``time_ns``, the median, 10th and 90th percentile; ``error``, see
        `Problem.error`; ``message`` where there is no time.
    """
    made = problem(trial.shape)
    expected = made.expected
    try:
        run = made.run(trial.which, trial.tiling, expected["lse"], expected["output"])
        error = made.error(trial.which, run)
        if not error <= TOLERANCE[made.q.dtype]:
            return {"outcome": WRONG, "error": error, "message": f"off by {error:.1e} of its size"}
        shape = asdict(trial.shape)
        row = FlashRow(implementation="flash", warmup_ms=10, repeat_ms=milliseconds, **shape)
        return {"outcome": DONE, "error": error, "time_ns": timed_ns(run, row, [])}
    except Exception as failure:  # a row of the table, too
        said = message_of(failure)
        return {"outcome": said.partition(":")[0], "message": said}
