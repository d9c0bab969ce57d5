"""Steps of our own model: warm-up and measured ones recorded, then as many without a recorder."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from model.flash import tuning
from profiling import names
from profiling.common import memory_fit
from profiling.common.progress import steps_bar
from profiling.common.settings import Settings
from profiling.common.timing import synchronize
from profiling.recorders.capture import capture, range_facts
from profiling.spans import recording, span
from profiling.training.range_memory import range_memory
from profiling.training.training import Training


def timed_ns(step: Callable[[], None], device: str) -> int:
    """Return how long one step takes, from an idle device to an idle device."""
    synchronize(device)
    start = time.perf_counter_ns()
    step()
    synchronize(device)
    return time.perf_counter_ns() - start


def run(
    settings_file: Path, recorder: str, folder: Path, *, memory: bool = False
) -> dict[str, Any]:
    """Record warm-up and steps, then time as many steps with nothing recording.

    Args:
        settings_file: what to run.
        recorder: ``torch`` or ``nsys``.
        folder: of this run.
        memory: whether what tensors hold is recorded, and what is kept for the backward pass.

    Returns:
        Step times in nanoseconds, what was pushed, and rows of TOOLKIT_RANGE_MEMORY.

    Raises:
        LaunchError: the GPU has too little memory free.
    """
    settings = Settings.load(settings_file)
    if settings.device.startswith("cuda"):
        memory_fit.check(settings)  # asking takes memory on the GPU, so this process asks
    workload = Training(settings)

    def named(name: str) -> Callable[[], None]:
        def step() -> None:
            with span(name):
                workload.step()

        return step

    warmup, measured = settings.warmup, settings.steps
    with ExitStack() as stack:
        bar = stack.enter_context(steps_bar(warmup + 2 * measured))
        if settings.compile:
            from profiling.spans import compiled  # here: Inductor takes seconds to import

            stack.enter_context(compiled.kernel_ranges())
            compiled.run_until_compiled(workload.step)

        def repeat(count: int, step: Callable[[], None], what: str) -> list[int]:
            return [bar.done(what, timed_ns(step, settings.device)) for _ in range(count)]

        with capture(recorder, settings.device, folder, memory=memory) as ranges:
            repeat(warmup, named(names.WARMUP), "warm-up")
            profiled = repeat(measured, named(names.STEP), "recorded")
        with recording(None):  # under nsys spans are on by themselves
            unprofiled = repeat(measured, workload.step, "unrecorded")
    result = {"step_ns": profiled, "unprofiled_step_ns": unprofiled, **range_facts(ranges)}
    if memory and settings.mode != "forward":
        result["range_memory"] = range_memory(workload)
    if tilings := tuning.described_choices():
        result["flash_tilings"] = tilings
    return result | ({"compiled": compiled.launch_counts()} if settings.compile else {})
