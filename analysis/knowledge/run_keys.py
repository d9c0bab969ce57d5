"""Keys of `TOOLKIT_RUN`, where our launcher notes a run, that say what its step computes."""

from __future__ import annotations

from typing import Final

PARTS: Final = ("d_model", "d_ff", "num_layers", "num_heads", "vocab_size")
"""What a size stands for; worth a word where the size is the same."""

SHAPE: Final = ("size", *PARTS, "batch", "context", "dtype")
"""What makes the step of a run another piece of work: no gate judges one by the other."""
