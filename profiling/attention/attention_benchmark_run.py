"""Time one attention and count its memory, for `profiling.processes.isolated`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

import torch
from torch import Tensor

from model import memory
from model.attention import ATTENTIONS
from profiling import names
from profiling.attention.rows import COMPILED, HEADS, AttentionRow, check
from profiling.common.timing import synchronize, time_parts
from profiling.memory.run import held_bytes
from profiling.training.saved_tensors import CONSTANT, find_saved_tensors

ALLOCATOR: Final = "allocator"
HOOKS: Final = "storages of q, k, v, the result, and what hooks on saved tensors see"
"""Where the memory before backward is read: on a GPU, and on a CPU."""


def computed_bytes(row: AttentionRow) -> int | None:
    """Return what the row keeps for the backward pass beside its inputs, by the formula.

    None for compiled attention: the compiler chooses what it keeps and what it computes again.
    """
    if row.implementation == COMPILED:
        return None
    if row.is_square:
        return memory.softmax(row.batch * HEADS * row.length**2, row.itemsize)
    return memory.fused_attention(row.batch, HEADS, row.length, row.width, row.itemsize)


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """Time one attention, and count its memory.

    Args:
        spec: the fields of an `AttentionRow`.

    Returns:
        The row; ``forward_ns`` and ``backward_ns``, raw; ``memory_bytes`` before a backward pass
        and its ``memory_source``; ``saved_bytes`` beside the inputs, ``computed_bytes``.

    Raises:
        OutOfMemory: a CPU has too little memory free.
    """
    row = AttentionRow(**spec)
    check(row)
    torch.manual_seed(row.seed)
    shape = (row.batch, HEADS, row.length, row.width)
    made = {"dtype": getattr(torch, row.dtype), "device": row.device}
    q, k, v = inputs = [torch.randn(shape, **made, requires_grad=True) for _ in range(3)]
    gradient = torch.randn(shape, **made)
    attend = _attention(row)
    result: list[Tensor] = []

    def forward() -> None:
        result.append(attend(q, k, v))

    def backward() -> None:
        result.pop().backward(gradient)  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def step() -> tuple[int, int]:
        parts = {names.FORWARD: forward, names.BACKWARD: backward}
        taken = time_parts(parts, row.device).parts_ns
        for each in inputs:
            each.grad = None
        return taken[names.FORWARD], taken[names.BACKWARD]

    for _ in range(row.warmup):
        step()
    synchronize(row.device)
    times = [step() for _ in range(row.steps)]
    return {
        **asdict(row),
        "forward_ns": [forward_ns for forward_ns, _ in times],
        "backward_ns": [backward_ns for _, backward_ns in times],
        **_memory(row, attend, inputs),
        "computed_bytes": computed_bytes(row),
    }


def _attention(row: AttentionRow) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    if row.implementation == COMPILED:
        compiled: Callable[[Tensor, Tensor, Tensor], Tensor] = torch.compile(ATTENTIONS["eager"])
        return compiled
    return ATTENTIONS[row.implementation]


def _memory(
    row: AttentionRow, attend: Callable[[Tensor, Tensor, Tensor], Tensor], inputs: list[Tensor]
) -> dict[str, Any]:
    """Return what is held when a backward pass could begin, and what of it is kept for that."""
    held, storages = [], []

    def forward() -> Tensor:
        result = attend(*inputs)
        synchronize(row.device)
        if row.device.startswith("cuda"):
            held.append(torch.cuda.memory_allocated(row.device))
        storages.append((result.untyped_storage()._cdata, held_bytes([result])))
        return result

    found = find_saved_tensors(forward, (), inputs)
    saved = found.total_bytes()
    known: dict[str, Any] = {"saved_bytes": saved, "memory_source": ALLOCATOR}
    if held:
        return {**known, "memory_bytes": held[-1]}
    number, size = storages[-1]
    kept = any(each.storage == number for each in found.kept)
    total = held_bytes(inputs) + found.total_bytes(CONSTANT) + saved + (0 if kept else size)
    return {**known, "memory_source": HOOKS, "memory_bytes": total}
