"""What ranges are called: our own names, and those other people use for the same thing."""

from collections.abc import Mapping
from typing import Final

from profiling import names

ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    names.WARMUP: ("Warm-up", "warm-up", "warm_up", "Warmup", "WARMUP", "warm up"),
    names.STEP: ("Step", "train_step", "training_step", "training step", "iteration"),
    names.FORWARD: ("Forward", "forward pass", "Forward pass", "forward_pass", "fwd"),
    names.BACKWARD: ("Backward", "backward pass", "Backward pass", "backward_pass", "bwd"),
    names.OPTIMIZER: (
        "Optimizer",
        "optimizer step",
        "Optimizer step",
        "optimizer_step",
        "optimizer.step",
    ),
    names.ATTENTION: ("scaled dot product attention", "scaled_dot_product_attention"),
    # Our own model scales and masks inside the scores, so masking counts with them.
    names.ATTENTION_SCORES: ("computing attention scores", "attention scores", "masking"),
    names.SOFTMAX: ("computing softmax",),
    names.FINAL_MATMUL: ("final matmul",),
    names.LOSS: ("Loss", "computing loss", "loss computation"),
}
"""Canonical name to the other spellings of CS336 answers and public training codes."""

_CANONICAL: Final = {
    alias + suffix: canonical + suffix
    for canonical, aliases in ALIASES.items()
    for alias in aliases
    for suffix in ("", names.BACKWARD_SUFFIX)
}


def canonical(name: str) -> str:
    """Return our name for a range, or the name itself.

    >>> canonical("computing softmax"), canonical("my_range")
    ('softmax', 'my_range')
    """
    return _CANONICAL.get(name, name)
