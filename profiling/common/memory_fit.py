"""Whether a run fits in memory, said before it starts."""

from typing import Final

from profiling.common.errors import LaunchError, OutOfMemory
from profiling.common.machine import available_bytes
from profiling.common.settings import Settings

ITEMSIZE: Final = {"float32": 4, "bfloat16": 2, "float16": 2}
_COPIES: Final = {"forward": 1, "forward_backward": 2, "train": 4.5}
"""Numbers kept for each parameter: the weight, its gradient, AdamW's two moments.

The half is what the optimizer's temporaries and the allocator's fragments were measured to take.
"""

_PROCESS_BYTES: Final = 350 * 2**20
"""What Python and torch take before there is a model (measured, torch 2.13 on a CPU)."""


def needed_bytes(settings: Settings) -> int:
    """Return about how much memory a run takes at its peak.

    Per layer autograd keeps some 20 vectors of ``d_model`` and 5 of ``d_ff`` for each token, and
    the attention weights; the logits exist three times. Within 20 % of what was measured for
    small (batch 4, context 128 and 512) and medium in float32 on a CPU. Compiled, it is 8 and 3: so
    many did the graphs of xl that Inductor wrote for an H100 hand to their backward pass.
    """
    config, itemsize = settings.config, ITEMSIZE[settings.dtype]
    tokens = settings.batch * settings.context
    wide, hidden = (8, 3) if settings.compile else (20, 5)
    layer = tokens * (wide * config.d_model + hidden * config.d_ff)
    if settings.attention == "eager":
        layer += settings.batch * config.num_heads * settings.context**2
    layers = 1 if settings.mode == "forward" else config.num_layers
    if settings.mode != "forward" and settings.checkpoint:
        # One group is whole while it runs again; the inputs of the others are small beside it.
        layers = min(config.num_layers, settings.checkpoint)
    logits = 3 * tokens * config.vocab_size
    numbers = int(_COPIES[settings.mode] * config.parameter_count) + layers * layer + logits
    return itemsize * numbers + _PROCESS_BYTES


def check(settings: Settings) -> None:
    """Refuse a run that cannot fit.

    Raises:
        LaunchError: it needs more than is available.
    """
    needed, available = needed_bytes(settings), available_bytes(settings.device)
    if needed > available:
        raise LaunchError(
            f"{settings.size} ({settings.mode}, batch {settings.batch}, context "
            f"{settings.context}, {settings.dtype}) needs about {needed / 2**30:.1f} GiB and "
            f"{available / 2**30:.1f} GiB are free on {settings.device}; use a smaller size, "
            "batch or context, mode forward, or dtype bfloat16"
        )


def check_bytes(needed: int, device: str) -> None:
    """Refuse what needs more bytes than a device has free.

    Raises:
        OutOfMemory: it does.
    """
    available = available_bytes(device)
    if needed > available:
        raise OutOfMemory(
            f"about {needed / 2**30:.1f} GiB are needed and {available / 2**30:.1f} GiB are free"
        )


def check_ranks(settings: Settings, ranks: int) -> None:
    """Refuse ranks on a CPU that do not fit into its memory together.

    Raises:
        LaunchError: they need more than is available.
    """
    needed, free = ranks * needed_bytes(settings), available_bytes("cpu")
    if needed > free:
        raise LaunchError(
            f"{ranks} ranks of {settings.size} (batch {settings.batch} each, context "
            f"{settings.context}) need about {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB "
            "are free; use a smaller --size, --batch or --context, or fewer --ranks"
        )
