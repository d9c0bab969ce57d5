"""Training on any number of ranks: also where rows, or whole weights, do not come out even."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from model.parallel import STRATEGIES, DataParallel, FullyShardedDataParallel, process_group
from profiling.processes.notes import SendMessage
from tests.made.parallel.cases import own, parameters
from tests.made.parallel.data import adamw, train, trained_alone
from tests.made.parallel.sharded_training import MODELS


def distances(given: dict[str, Any], tell: SendMessage) -> dict[str, Any]:
    """Return how far each way of training ends from one process, by model and way."""
    found: dict[str, Any] = {}
    how: dict[str, Any] = {"make": adamw, "steps": 10} if given.get("adamw") else {}
    with process_group("gloo", 60.0):
        for make in MODELS:
            alone = trained_alone(make, *how.values())
            torch.manual_seed(0)
            start = make()
            name = type(start).__name__
            for strategy in STRATEGIES:
                model = DataParallel(deepcopy(start), strategy, bucket_size_mb=0.001)
                train(model, model.finish_gradient_synchronization, **how)
                found[f"{name} {strategy}"] = distance(parameters(model.module), alone)
            sharded = FullyShardedDataParallel(deepcopy(start))
            train(sharded, sharded.finish_gradient_synchronization, own, **how)
            found[f"{name} fsdp"] = distance(sharded.gather_full_params(), alone)
    return found


def distance(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    return max(float((ours[name] - other).abs().max()) for name, other in theirs.items())
