"""What the ranges of a model keep for the backward pass, counted and by formula."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from model import memory
from profiling.common.settings import Settings
from profiling.training.saved_tensors import SavedTensors, find_saved_tensors
from profiling.training.training import Training

if TYPE_CHECKING:
    from torch import Tensor


def saved_by_forward(training: Training) -> SavedTensors:
    """Return the tensors that a model's forward pass keeps for its backward pass."""

    def forward() -> Tensor | None:
        training.forward()
        loss = training.loss
        training.clear()
        return loss

    return find_saved_tensors(
        forward, training.model.parameters(), (training.inputs, training.targets)
    )


def range_memory(training: Training) -> list[list[object]]:
    """Return rows of TOOLKIT_RANGE_MEMORY: what the ranges of each name keep."""
    formulas = memory_by_formula(training.settings)["spans"] or {}
    rows = []
    for found in saved_by_forward(training).by_span():
        name, instances, saved_bytes, *rest = asdict(found).values()
        rows.append([name, instances, saved_bytes, formulas.get(name), *rest])
    return rows


def memory_by_formula(settings: Settings) -> dict[str, Any]:
    """Return what the formulas of `model.memory` say of a configuration.

    ``spans`` is None where they do not hold: attention that is not eager, autocast, a compiler or
    checkpoints keep something else.
    """
    config, itemsize = settings.config, getattr(torch, settings.dtype).itemsize
    shape = (config, settings.batch, settings.context, itemsize)
    plain = settings.attention == "eager" and not settings.autocast
    plain = plain and not settings.compile and not settings.checkpoint
    return {
        "parameter_bytes": memory.parameter_bytes(config, itemsize),
        "gradient_bytes": memory.parameter_bytes(config, itemsize),
        "optimizer_bytes": memory.optimizer_bytes(config, itemsize),
        "residual_bytes": memory.residual_bytes(*shape),
        "spans": memory.saved_for_backward(*shape) if plain else None,
    }
