"""What the Triton kernels are called with: strides, layouts, constants, grids."""

from typing import Any

import torch
from torch import Tensor

from model.flash.availability import is_interpreted
from model.flash.tiles import Tiling, padded


def precision(dtype: torch.dtype) -> str:
    """Return how Triton multiplies: TF32 for fp32 only where torch is allowed it too."""
    if dtype == torch.float32 and torch.get_float32_matmul_precision() == "highest":
        return "ieee"
    return "tf32"


def rows(tensor: Tensor) -> tuple[int, int, int]:
    """Return the strides of batch, head and row."""
    batch, head, row, _ = tensor.stride()
    return batch, head, row


def with_rows(tensor: Tensor) -> Tensor:
    """Return the tensor, copied where its channels do not lie side by side."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def empty_like(tensor: Tensor) -> Tensor:
    """Return a tensor to be filled, of the same layout, its channels side by side in any case."""
    made = torch.empty_like(tensor)
    if made.stride(-1) == 1:
        return made
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


def constants(q: Tensor, keys: int, is_causal: bool, chosen: Tiling) -> dict[str, Any]:
    """Return what a kernel with tiles is compiled for."""
    limit = {"maxnreg": chosen.registers} if chosen.registers and torch.version.hip is None else {}
    return {
        "TILE_Q": chosen.queries,
        "TILE_K": chosen.keys,
        "WIDTH": q.shape[-1],
        "BLOCK": padded(q.shape[-1]),
        "CAUSAL": is_causal,
        "SHORT_Q": bool(q.shape[-2] % chosen.queries),
        "SHORT_K": bool(keys % chosen.keys),
        "PRECISION": precision(q.dtype),
        "UPCAST": is_interpreted() and q.dtype == torch.bfloat16,
        "num_warps": chosen.warps,
        "num_stages": chosen.stages,
        **limit,
    }


def programs(q: Tensor, length: int, tile: int) -> tuple[int]:
    """Return the grid: a program for each tile of each head, the tiles of a head side by side."""
    return (-(-length // tile) * q.shape[0] * q.shape[1],)
