"""Warm up, time steps, and note memory: what `profiling.benchmark` measures.

The order: warm-up steps, each timed; the timed steps; then, where there is a backward, as many
forward passes alone (one more, not timed, before them), for the older estimate of the backward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from timeit import default_timer
from typing import TYPE_CHECKING, TypeVar

from analysis.show.errors import first_line
from profiling import names
from profiling.benchmark.device_memory import Memory, memory, reset_peak
from profiling.common import memory_fit
from profiling.common.errors import LaunchError
from profiling.common.settings import Settings
from profiling.common.timing import Clock, StepTime, synchronize, time_parts

if TYPE_CHECKING:
    from profiling.training import training

T = TypeVar("T")

StepListener = Callable[[str, int, int], None]
"""Hears what was done, how many times, and of how many."""

STEPS, WARMUP, ALONE = "steps", "warm-up steps", "forward-only steps"


@dataclass
class Measurements:
    """Times and memory measured so far; an interruption leaves them as they are.

    Attributes:
        warmup: the first steps.
        steps: the timed ones.
        forward_only_ns: forward passes alone, without gradients, as in the mode ``forward``.
        memory: after the timed steps.
        complete: whether all that was asked for was measured.
    """

    warmup: list[StepTime] = field(default_factory=list)
    steps: list[StepTime] = field(default_factory=list)
    forward_only_ns: list[int] = field(default_factory=list)
    memory: Memory | None = None
    complete: bool = False


def run(
    workload: training.Training,
    measured: Measurements,
    tell: StepListener,
    clock: Clock = default_timer,
) -> Measurements:
    """Warm up and time the steps that the settings of ``workload`` ask for.

    Args:
        workload: whose optimizer is made, where the mode has one.
        measured: filled as the run goes on.
        tell: hears of every step, between steps.
        clock: of the host; a test gives its own.

    Raises:
        LaunchError: the model cannot be compiled here.
    """
    settings = workload.settings
    device, parts = settings.device, workload.parts()

    def step() -> StepTime:
        return time_parts(parts, device, clock)

    synchronize(device)
    with compiling(settings):
        _repeat(settings.warmup, step, measured.warmup, WARMUP, tell)
        reset_peak(device)
        try:
            _repeat(settings.steps, step, measured.steps, STEPS, tell)
        finally:
            measured.memory = memory(device)
        if names.BACKWARD in parts:
            workload.infer()  # compiles, and takes memory, as the passes below need it
            synchronize(device)

            def alone() -> int:
                return time_parts({names.FORWARD: workload.infer}, device, clock).total_ns

            _repeat(settings.steps, alone, measured.forward_only_ns, ALONE, tell)
    measured.complete = True
    return measured


def _repeat(
    count: int, step: Callable[[], T], times: list[T], what: str, tell: StepListener
) -> None:
    for done in range(1, count + 1):
        times.append(step())
        tell(what, done, count)


@contextmanager
def compiling(settings: Settings) -> Iterator[None]:
    """Turn a failure of torch.compile into one line.

    Raises:
        LaunchError: it failed.
    """
    if not settings.compile:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import InductorError

    try:
        yield
    except (TorchDynamoException, InductorError) as error:
        said = first_line(error)
        detail = f" ({said})" if said else ""
        raise LaunchError(
            f"torch.compile failed{detail}; leave --compile out, or see that a C++ compiler is here"
        ) from None


def check(settings: Settings) -> None:
    """Refuse settings that cannot be run on this machine, before the model is made.

    Raises:
        LaunchError: the device cannot do what is asked for, or it does not fit.
    """
    from profiling.training import training

    training.check(settings)
    memory_fit.check(settings)
