"""Steps on one rank: warm-up and measured ones recorded, then as many without a recorder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch.distributed as dist

from model.flash import tuning
from model.parallel import process_group
from model.parallel.strategies import Strategy
from profiling import names
from profiling.common import memory_fit
from profiling.common.machine import facts
from profiling.common.settings import Settings
from profiling.processes.notes import SendMessage, rank_folder
from profiling.recorders.capture import capture, range_facts
from profiling.spans import recording, span
from profiling.training.model_steps import timed_ns
from profiling.training.parallel_training import ParallelTraining


def record(arguments: dict[str, Any], tell: SendMessage) -> dict[str, Any]:
    """Record warm-up and steps of this rank, then time as many steps with nothing recording.

    Args:
        arguments: ``settings`` of a rank, ``strategy``, ``backend``, ``timeout_s``, ``recorder``
            (``torch`` or ``nsys``), and ``folder``, where each rank has one of its own.
        tell: gets ``step``, what kind it was, and ``duration_ns`` after each.

    Returns:
        Step times in nanoseconds, what was pushed, and facts of the machine.

    Raises:
        LaunchError: this rank's GPU has too little memory free.
    """
    with process_group(arguments["backend"], arguments["timeout_s"]) as device:
        settings = replace(Settings.from_fields(arguments["settings"]), device=str(device))
        if device.type == "cuda":
            memory_fit.check(settings)
        with recording(None):  # under nsys spans are on by themselves, here as below
            training = ParallelTraining(settings, Strategy(**arguments["strategy"]))
        folder = rank_folder(Path(arguments["folder"]), dist.get_rank())

        def repeat(count: int, step: Callable[[], None], what: str) -> list[int]:
            times = []
            for _ in range(count):
                times.append(timed_ns(step, settings.device))
                tell({"step": what, "duration_ns": times[-1]})
            return times

        def named(name: str) -> Callable[[], None]:
            def step() -> None:
                with span(name):
                    training.step()

            return step

        # Before each set of steps all are there: what one took to make its model, or to write
        # its trace, is no wait of the others for a gradient.
        dist.barrier()
        with capture(arguments["recorder"], settings.device, folder) as ranges:
            repeat(settings.warmup, named(names.WARMUP), "warm-up")
            profiled = repeat(settings.steps, named(names.STEP), "recorded")
        dist.barrier()
        with recording(None):
            unprofiled = repeat(settings.steps, training.step, "unrecorded")
        times = {"step_ns": profiled, "unprofiled_step_ns": unprofiled}
        tilings = tuning.described_choices()
        more = {"flash_tilings": tilings} if tilings else {}
        return {**times, **range_facts(ranges), **more, "facts": facts(settings.device)}
