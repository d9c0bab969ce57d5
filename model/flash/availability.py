"""Whether Triton kernels can run here, said in one line where they cannot."""

import os
from importlib.util import find_spec
from typing import Final

import torch

OLDEST: Final = (8, 0)
"""The first compute capability with bfloat16 tensor cores and asynchronous copies: Ampere."""


class FlashUnavailable(RuntimeError):
    """FlashAttention in Triton cannot run: what is missing, and what to do."""


def is_interpreted() -> bool:
    """Return whether Triton kernels run in its interpreter, on a CPU.

    Triton reads ``TRITON_INTERPRET`` once, when it is imported.
    """
    return os.environ.get("TRITON_INTERPRET", "0").lower() in {"1", "true", "on", "yes", "y"}


def check_available(device: torch.device) -> None:
    """Refuse a device, where tensors are, that Triton kernels cannot run on.

    Raises:
        FlashUnavailable: Triton is not installed; the device is no GPU and there is no interpreter;
            or the GPU is too old.
    """
    if find_spec("triton") is None:
        raise FlashUnavailable(
            "flash attention needs Triton, which is not installed; pip install triton, "
            "or use attention sdpa or flash-reference"
        )
    if is_interpreted():
        return
    if device.type != "cuda":
        raise FlashUnavailable(
            f"flash attention in Triton needs a GPU, and these tensors are on {device.type}; "
            "set TRITON_INTERPRET=1 before Python starts to interpret it (slow), "
            "or use attention sdpa or flash-reference"
        )
    if torch.version.hip is None and torch.cuda.get_device_capability(device) < OLDEST:
        name = torch.cuda.get_device_name(device)
        raise FlashUnavailable(
            f"flash attention in Triton needs compute capability {OLDEST[0]}.{OLDEST[1]} or more, "
            f"and {name} has less; use attention sdpa or flash-reference"
        )
