"""Training on any number of ranks: also where rows, or whole weights, do not come out even."""

from copy import deepcopy
from typing import Any, Final

import torch
from torch import Tensor

from model.parallel import STRATEGIES, DataParallel, FullyShardedDataParallel, process_group
from profiling.processes.notes import SendMessage
from tests.made.parallel.cases import case, own, parameters
from tests.made.parallel.data import adamw, train, trained_alone
from tests.made.parallel.sharded_training import MODELS

ADAMW: Final[dict[str, Any]] = {"make": adamw, "steps": 10}


def distances(given: dict[str, Any], tell: SendMessage) -> dict[str, float]:
    """Join the other ranks, and return `distances_of` plain SGD or of ten steps of AdamW."""
    with process_group("gloo", 60.0):
        return distances_of(ADAMW if given.get("adamw") else {})


def distances_of(how: dict[str, Any]) -> dict[str, float]:
    """Return how far each way of training ends from one process, by model and way."""
    found = {}
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


@case
def ten_steps_of_adamw_end_where_those_of_one_process_do() -> None:
    check_adamw(distances_of(ADAMW))


def check_adamw(found: dict[str, float]) -> None:
    assert len(found) == 3 * 5  # of models and ways
    assert max(found.values()) < 1e-6, found


def distance(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    return max(float((ours[name] - other).abs().max()) for name, other in theirs.items())
