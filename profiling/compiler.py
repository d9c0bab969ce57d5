"""What torch.compile is asked for: the whole model as one graph, or one graph for all blocks.

As one graph, the compiler fuses across blocks, and its work grows with their number. Block by
block, all blocks share the code of the first ("regional compilation" in PyTorch's tutorials), and
work is fused only inside them. In both the loss is compiled by itself.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from model import TransformerLM
from model.transformer import next_token_loss
from profiling.settings import BLOCK, COMPILE_MODES, CUDA_GRAPHS, Settings

Loss = Callable[[Tensor, Tensor], Tensor]


def compiled(made: TransformerLM, settings: Settings) -> nn.Module:
    """Return a model that compiles itself with its first forward pass.

    Args:
        made: on its device; block by block it becomes the compiled model.
        settings: of the run.
    """
    # Made while the compiler traces, the tables would be made by every step of every block, and
    # with the second step, which finds them there, everything would be compiled again.
    dtype = getattr(torch, settings.autocast or settings.dtype)
    made.prepare(settings.context, torch.empty(0, dtype=dtype, device=settings.device))
    if settings.compile_scope != BLOCK:
        return torch.compile(made, **options(settings))  # type: ignore[return-value]
    for part in (*made.blocks, made.final_norm):
        part.compile(**options(settings))
    return made


def compiled_loss(settings: Settings) -> Loss:
    """Return the loss of the model's logits, which compiles itself likewise."""
    loss: Loss = torch.compile(next_token_loss, **options(settings))
    return loss


def options(settings: Settings) -> dict[str, Any]:
    """Return the arguments of torch.compile."""
    default = settings.compile_mode == COMPILE_MODES[0]
    return {} if default else {"mode": settings.compile_mode}


def mark_step(settings: Settings) -> None:
    """Tell CUDA graphs that a step begins, and the results of the last are needed no more.

    By themselves they take every compiled part for a step that runs without gradients.
    """
    if settings.compile and settings.compile_mode == CUDA_GRAPHS:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]  # torch's
