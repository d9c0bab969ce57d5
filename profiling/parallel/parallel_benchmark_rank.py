"""Time training steps on one rank; `profiling.parallel_benchmark` starts as many as there are."""

from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist

from model.parallel import process_group
from model.parallel.collectives import observing
from model.parallel.strategies import Strategy
from profiling.common import memory_fit
from profiling.common.settings import Settings
from profiling.common.timing import synchronize, time_parts
from profiling.parallel.meter import CollectiveMeter, PeakMemory
from profiling.processes.notes import SendMessage
from profiling.training.parallel_training import ParallelTraining


def measure(arguments: dict[str, Any], tell: SendMessage) -> dict[str, Any]:
    """Train by one strategy: warm-up, a step for its memory, and the steps that are timed.

    Args:
        arguments: ``settings`` of a rank, ``strategy``, ``backend``, ``timeout_s``.
        tell: gets ``{"step": n}`` after each.

    Returns:
        Every step's times, collectives and bytes, the peaks of memory, and what is held.
    """
    with process_group(arguments["backend"], arguments["timeout_s"]) as device:
        settings = replace(Settings.from_fields(arguments["settings"]), device=str(device))
        if device.type == "cuda":
            memory_fit.check(settings)
        _load_optimizers()
        peak = PeakMemory(settings.device)
        peak.start()
        training = ParallelTraining(settings, Strategy(**arguments["strategy"]))
        synchronize(settings.device)
        peaks = {"initial_peak_bytes": peak.read()}
        for step in range(settings.warmup):
            training.step()
            tell({"step": step})
        peaks, held = _watch_memory(training, peak, settings.device, peaks)
        tell({"step": settings.warmup})
        steps = []
        for step in range(settings.steps):
            steps.append(_timed(training, settings.device))
            tell({"step": settings.warmup + 1 + step})
    return {"steps": steps, "memory_source": peak.source, **peaks, "held": held}


def _load_optimizers() -> None:
    """Let torch load what its optimizers need: over 100 MiB that are not the model's."""
    number = torch.nn.Parameter(torch.zeros(1))
    number.grad = torch.zeros(1)
    torch.optim.AdamW([number]).step()


def _watch_memory(
    training: ParallelTraining, peak: PeakMemory, device: str, peaks: dict[str, int]
) -> tuple[dict[str, int], dict[str, int]]:
    """Run a step, and return the peaks before and in the optimizer, and what is held between.

    The optimizer has its state already, unless there was no warm-up.
    """
    *before, optimizer = training.parts().values()
    synchronize(device)
    peak.start()
    for part in before:
        part()
    synchronize(device)
    peaks["before_step_peak_bytes"] = peak.read()
    held = training.held_bytes()
    peak.start()
    optimizer()
    synchronize(device)
    peaks["in_step_peak_bytes"] = peak.read()
    # The gradients were there before the step, the state is after it.
    held["optimizer_bytes"] = training.held_bytes()["optimizer_bytes"]
    return peaks, held


def _timed(training: ParallelTraining, device: str) -> dict[str, Any]:
    synchronize(device)
    dist.barrier()  # else one that comes late counts as communication
    synchronize(device)
    meter = CollectiveMeter(device)
    with observing(meter):
        time = time_parts(training.parts(), device)
    communication_ns, exposed_ns = meter.read()
    return {
        "total_ns": time.total_ns,
        "parts_ns": time.parts_ns,
        "communication_ns": communication_ns,
        "exposed_ns": exposed_ns,
        "moved_bytes": meter.moved_bytes,
        "calls": meter.calls,
    }
