"""The machine a run is made on: its device, memory, and the versions of what ran."""

import platform
import re

from analysis.show.render import plural
from analysis.source.free_memory import container_bytes
from profiling.common import host
from profiling.common.errors import LaunchError, UsageError


def choose_device(asked: str | None) -> str:
    """Return ``cuda`` or ``cpu``: what was asked for, or the best there is.

    Raises:
        UsageError: no device is called so.
        LaunchError: CUDA was asked for and there is none.
    """
    import torch

    if asked is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:[0-9]+)?", asked):
        raise UsageError(f"no device is called {asked!r}; there are: cpu, cuda, cuda:N")
    if asked.startswith("cuda"):
        if not torch.cuda.is_available():
            raise LaunchError("CUDA was asked for and no CUDA device is here; ask for cpu")
        count = torch.cuda.device_count()
        if torch.device(asked).index not in {None, *range(count)}:
            raise LaunchError(
                f"there is no {asked}; this machine has {plural(count, 'CUDA device')}"
            )
    return asked


def device_name(device: str) -> str:
    """Return the model of the GPU, or of the processor with its number of threads."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{host.processor()}, {plural(torch.get_num_threads(), 'thread')}"


def available_bytes(device: str) -> int:
    """Return the memory a new process may take, on the GPU or in this machine or container."""
    import psutil
    import torch

    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    return max(0, min([int(psutil.virtual_memory().available), *container_bytes()]))


def facts(device: str) -> dict[str, str]:
    """Return what a report must tell of the machine: device, clocks, versions."""
    import psutil
    import torch

    known = {
        "device": device,
        "device_name": device_name(device),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "threads": str(torch.get_num_threads()),
        "tf32": str(torch.get_float32_matmul_precision() != "highest").lower(),
    }
    known |= host.versions("nvtx", "triton", "transformers")
    if device.startswith("cuda"):
        known |= _cuda_facts(device)
    else:
        known["memory_bytes"] = str(psutil.virtual_memory().total)
    return known


def _cuda_facts(device: str) -> dict[str, str]:
    import torch

    properties = torch.cuda.get_device_properties(device)
    known = {
        "cuda": str(torch.version.cuda),
        "memory_bytes": str(properties.total_memory),
        "compute_capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": str(properties.multi_processor_count),
    }
    query = "driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit"
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"]
    # By its own id: the CUDA ordinal counts visible devices only.
    which = getattr(properties, "uuid", None)
    answer = host.command_output(*command, *([f"--id=GPU-{which}"] if which else []))
    keys = ("driver", "clock_mhz", "clock_max_mhz", "memory_clock_mhz", "power_limit_w")
    values = map(str.strip, answer.split(",")) if answer else ()
    return known | dict(zip(keys, values, strict=False))
