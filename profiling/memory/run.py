"""Measure the memory of one configuration, for `profiling.processes.isolated`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from profiling import names
from profiling.common import memory_fit
from profiling.common.settings import Settings
from profiling.common.timing import synchronize
from profiling.memory.tables import INFERENCE, MODEL
from profiling.memory.timeline import Timeline, recorded
from profiling.spans import span
from profiling.training.range_memory import memory_by_formula, saved_by_forward
from profiling.training.training import Training

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

HISTORY_ENTRIES: Final = 1_000_000
"""Changes that the allocator's own history holds: a step of the largest model has a tenth."""


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the memory that one configuration takes, by phase and by range.

    Args:
        spec: ``settings`` as ``asdict`` gives them, ``timeline`` (whether every change is wanted),
            and ``snapshot`` (a file for the allocator's history on a GPU, or None).

    Returns:
        Bytes by name: ``peaks`` of the phases, what lasts, what is kept for the backward pass by
        range and by contributor, the figures computed for the same, and the timeline.

    Raises:
        OutOfMemory: the device has too little memory free.
    """
    fields = spec["settings"]
    settings = Settings.from_fields(fields)
    # Before the system ends what it likes.
    memory_fit.check_bytes(memory_fit.needed_bytes(settings), settings.device)
    with recorded(settings.device) as timeline:
        with span(MODEL):
            training = Training(settings)
        _run(training)
    found: dict[str, Any] = {
        "settings": fields,
        "parameters": settings.config.parameter_count,
        **_levels(timeline, settings),
        "parameter_bytes": held_bytes(training.model.parameters()),
        "input_bytes": held_bytes((training.inputs, training.targets)),
        "optimizer_bytes": _optimizer_bytes(training),
        "computed": memory_by_formula(settings),
    }
    if settings.mode != "forward":
        found |= _of_backward(training)
    if spec["snapshot"]:
        _snapshot(training, Path(spec["snapshot"]))
    if spec["timeline"]:
        found["timeline"] = asdict(timeline)
    return found


def _run(training: Training) -> None:
    """Run everything once to warm up, and once to be looked at.

    The pass for no gradient comes before there is a state of the optimizer.
    """
    device = training.settings.device
    for name in (names.WARMUP, INFERENCE):
        with span(name):
            training.infer()
            synchronize(device)
    if training.settings.mode == "forward":
        return
    for name in (names.WARMUP, names.STEP):
        with span(name):
            training.step()
            synchronize(device)


def _levels(timeline: Timeline, settings: Settings) -> dict[str, Any]:
    (whole,) = timeline.called(INFERENCE)
    phases = {INFERENCE: whole}
    if settings.mode != "forward":
        (whole,) = timeline.called(names.STEP)
        inside = [each for name in names.PHASES for each in timeline.called(name, whole)]
        phases |= {each.name: each for each in inside} | {names.STEP: whole}
    forward = phases.get(names.FORWARD, whole)
    return {
        "peaks": {name: timeline.peak_bytes(phase) for name, phase in phases.items()},
        "reserved_peak_bytes": (
            timeline.peak_reserved_bytes(whole) if settings.device.startswith("cuda") else None
        ),
        "start_bytes": timeline.at(whole.start_ns),
        "forward_held_bytes": timeline.at(forward.end_ns) - timeline.at(forward.start_ns),
        "leaked_bytes": timeline.at(whole.end_ns) - timeline.at(whole.start_ns),
    }


def held_bytes(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of the storages of some tensors, each counted once."""
    storages = {each.untyped_storage()._cdata: each.untyped_storage() for each in tensors}
    return sum(storage.nbytes() for storage in storages.values())


def _optimizer_bytes(training: Training) -> int:
    states = training.optimizer.state.values() if training.optimizer else ()
    tensors = [value for state in states for value in state.values() if torch.is_tensor(value)]
    return held_bytes(tensors)


def _of_backward(training: Training) -> dict[str, Any]:
    """Return what is kept for the backward pass, and the gradients it leaves."""
    found = saved_by_forward(training)
    training.forward()
    training.backward()
    gradients = [each.grad for each in training.model.parameters() if each.grad is not None]
    gradient_bytes = held_bytes(gradients)
    training.clear()
    return {
        "gradient_bytes": gradient_bytes,
        "saved_bytes": found.total_bytes(),
        "spans": [asdict(row) for row in found.by_span()],
        "largest": [asdict(row) for row in found.largest()],
        "unasked_nodes": found.unasked,
    }


def _snapshot(training: Training, file: Path) -> None:
    """Write the allocator's history of one step, for https://pytorch.org/memory_viz."""
    history = torch.cuda.memory
    history._record_memory_history(max_entries=HISTORY_ENTRIES, stacks="python")
    try:
        training.infer() if training.settings.mode == "forward" else training.step()
        synchronize(training.settings.device)
        history._dump_snapshot(str(file))  # type: ignore[no-untyped-call]  # torch leaves it untyped
    finally:
        history._record_memory_history(enabled=None)
