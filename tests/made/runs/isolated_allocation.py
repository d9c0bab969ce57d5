"""An isolated process that allocates a tensor; torch is there before its limit counts."""

from typing import Any

import torch


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """Allocate so many bytes."""
    return {"bytes": torch.ones(spec["bytes"] // 4).nbytes}
