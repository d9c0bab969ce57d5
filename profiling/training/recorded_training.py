"""Inside the recorded process of training: the model is made, its steps timed and recorded."""

from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Protocol

import torch.distributed as dist

from model.flash import tuning
from model.parallel import process_group
from model.parallel.strategies import Strategy
from profiling.common import memory_fit
from profiling.common.machine import facts
from profiling.common.settings import Settings
from profiling.recorders.recorded_steps import RecordedProcess
from profiling.spans import recording
from profiling.training.parallel_training import ParallelTraining
from profiling.training.range_memory import range_memory
from profiling.training.training import Training
from profiling.training.workload import TrainingRanks, TrainingRun


class _Steps(Protocol):
    def step(self) -> None:
        """Run a step."""


def run(asked: TrainingRun, process: RecordedProcess) -> dict[str, Any]:
    """Time steps with nothing recording, then record warm-up and as many.

    Args:
        asked: what to run; as one rank of several, by the variables that torchrun sets.
        process: what records it.

    Returns:
        Step times in nanoseconds, what was pushed, facts of the machine, and rows of
        TOOLKIT_RANGE_MEMORY where memory is recorded.

    Raises:
        LaunchError: the GPU has too little memory free.
    """
    with ExitStack() as stack:
        settings = asked.settings
        if asked.ranks:
            device = stack.enter_context(process_group(asked.ranks.backend, asked.ranks.timeout_s))
            settings = replace(settings, device=str(device))
            process = replace(process, device=settings.device)
        if settings.device.startswith("cuda"):
            memory_fit.check(settings)  # asking takes memory on the GPU, so this process asks
        with recording(None):  # under nsys spans are on by themselves
            made = _made(settings, asked.ranks)
        if settings.compile:
            from profiling.spans import compiled  # here: Inductor takes seconds to import

            stack.enter_context(compiled.kernel_ranges())
            process.now("compiling")
            compiled.run_until_compiled(made.step)
        result = process.steps(
            made.step,
            warmup=settings.warmup,
            count=settings.steps,
            # All ranks begin each set together: what one took to make its model is no wait of the
            # others for a gradient.
            before_each=dist.barrier if asked.ranks else lambda: None,
        )
        result["facts"] = facts(settings.device)
        if process.memory and settings.mode != "forward":
            assert isinstance(made, Training), "memory is recorded of one process"
            result["range_memory"] = range_memory(made)
        if tilings := tuning.described_choices():
            result["flash_tilings"] = tilings
        if settings.compile:
            result["compiled"] = compiled.launch_counts()
        return result


def _made(settings: Settings, ranks: TrainingRanks | None) -> _Steps:
    if ranks is None:
        return Training(settings)
    return ParallelTraining(settings, Strategy(ranks.strategy, ranks.bucket_mb))
