"""Training steps on a CPU: as they are, and really changed. Run as a script, those that load data.

spanlight profile --script benchmarks/predictions/cpu_steps.py
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from torch import nn

from model import SIZES
from profiling import names
from profiling.common.settings import Settings
from profiling.spans import span
from profiling.training.training import Training

SHAPE: Final = {"d_model": 256, "d_ff": 1024, "num_layers": 4, "num_heads": 4}
"""What makes a step of the size small so short that many can be timed."""

SETTINGS: Final = Settings(
    size="small",
    config=replace(SIZES["small"], **SHAPE),
    batch=2,
    context=128,
    device="cpu",
    steps=12,
    warmup=3,
)
DATA: Final = "data"
LOADING_S: Final = 0.05
"""How long a step of those that load data waits for it."""

TRAIN, WITHOUT_OPTIMIZER = "train", "forward_backward"
"""Modes of `Settings`, and the sides that run them."""

LOADING, WITHOUT_FFN, HALF_THE_BLOCKS = "loading", "without ffn", "half the blocks"


def sides() -> dict[str, Callable[[], None]]:
    """Return steps by what they do; those with another model have no optimizer."""
    plain, bare = (Training(replace(SETTINGS, mode=mode)) for mode in (TRAIN, WITHOUT_OPTIMIZER))
    half = replace(SETTINGS.config, num_layers=SETTINGS.config.num_layers // 2)
    shorter = Training(replace(SETTINGS, mode=WITHOUT_OPTIMIZER, config=half))
    return {
        TRAIN: plain.step,
        WITHOUT_OPTIMIZER: bare.step,
        LOADING: partial(loading_step, plain),
        WITHOUT_FFN: without_ffn().step,
        HALF_THE_BLOCKS: shorter.step,
    }


def without_ffn() -> Training:
    """Return a model whose blocks hand on what their ffn would be given."""
    made = Training(replace(SETTINGS, mode=WITHOUT_OPTIMIZER))
    for block in made.model.get_submodule("blocks").children():
        block.ffn = nn.Identity()
    return made


def loading_step(training: Training) -> None:
    """Wait for data, and train on it."""
    with span(DATA):
        time.sleep(LOADING_S)
    training.step()


def main() -> None:
    """Run steps that load data, after some that warm up."""
    training = Training(SETTINGS)
    for name, count in ((names.WARMUP, SETTINGS.warmup), (names.STEP, SETTINGS.steps)):
        for _ in range(count):
            with span(name):
                loading_step(training)


if __name__ == "__main__":
    main()
