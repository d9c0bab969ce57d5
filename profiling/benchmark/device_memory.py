"""How much memory a run holds: the allocator's figures on a GPU, the process's on a CPU."""

import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_STATUS: Final = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory held at the end of the timed steps, and its peaks.

    Attributes:
        allocated_bytes: by tensors on the GPU; None on a CPU, whose allocator keeps no account.
        reserved_bytes: by PyTorch's allocator on the GPU.
        peak_bytes: the most that tensors held on the GPU during the timed steps.
        rss_bytes: resident memory of the process.
        peak_rss_bytes: the most since the process began, start-up and warm-up included.
    """

    allocated_bytes: int | None
    reserved_bytes: int | None
    peak_bytes: int | None
    rss_bytes: int
    peak_rss_bytes: int


def reset_peak(device: str) -> None:
    """Let the GPU's peak be counted from now on."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)


def memory(device: str) -> Memory:
    """Return the memory that a device holds now, and its peaks."""
    import psutil
    import torch

    resident = int(psutil.Process().memory_info().rss)
    peak = max(resident, peak_resident())
    if not device.startswith("cuda"):
        return Memory(None, None, None, resident, peak)
    return Memory(
        torch.cuda.memory_allocated(device),
        torch.cuda.memory_reserved(device),
        torch.cuda.max_memory_allocated(device),
        resident,
        peak,
    )


def peak_resident() -> int:
    """Return the most resident memory this process has had, in bytes.

    Linux' VmHWM is of this program; what getrusage gives (used elsewhere) counts its parent's
    memory at the fork too.
    """
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
