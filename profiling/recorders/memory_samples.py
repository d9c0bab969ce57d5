"""Memory of a recorded run, in the recorded process: `profiling.recorders.memory_report` keeps it.

The PyTorch profiler is told of every allocation, so all it lacks is what a CPU held before. nsys is
told of none (torch's allocator asks CUDA for large pieces, and rarely): there the allocator is read
wherever a range opens or closes, its peak since the time before included.
"""

import gc
import json
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psutil
import torch

from profiling.spans.backends import RangeSink

NOTE_NAME: Final = "memory.json"
EVENTS: Final = "allocator"
SAMPLES: Final = "allocator at the borders of ranges"
RESIDENT: Final = "resident memory at the borders of ranges"
"""Where the figures of a report come from."""

Sample = tuple[int, int | None, int]
"""What is held, what is reserved for it, and the most that was held since the sample before."""


class SampledSink:
    """A sink that reads the allocator at every border of a range of another."""

    def __init__(self, sink: RangeSink, sample: Callable[[], Sample]) -> None:
        self._sink = sink
        self._sample = sample
        self._open = threading.local()
        self._borders: dict[tuple[int, str], list[list[Sample]]] = defaultdict(list)

    def push(self, name: str, flops: int | None) -> None:
        """Open a range; what comes before is not in it."""
        borders = [self._sample()]
        self._sink.push(name, flops)
        self._borders[threading.get_native_id(), name.replace("\0", "\\0")].append(borders)
        self._stack().append(borders)

    def pop(self) -> None:
        """Close the innermost open range of this thread."""
        self._stack().pop().append(self._sample())
        self._sink.pop()

    def pushed(self) -> dict[str, int]:
        """Return how often each name was pushed."""
        return self._sink.pushed()

    def borders(self) -> list[tuple[int, str, list[list[Sample]]]]:
        """Return for every native thread and name the two samples of each range, in order."""
        return [(thread, name, found) for (thread, name), found in self._borders.items()]

    def _stack(self) -> list[list[Sample]]:
        try:
            stack: list[list[Sample]] = self._open.stack
        except AttributeError:
            stack = self._open.stack = []
        return stack


def sampler(device: str) -> Callable[[], Sample]:
    """Return what reads the memory of a device, or on a CPU that of the process."""
    if not device.startswith("cuda"):
        process = psutil.Process()

        def resident() -> Sample:
            held = int(process.memory_info().rss)
            return held, None, held

        return resident

    def allocated() -> Sample:
        known: Any = torch.cuda.memory_stats_as_nested_dict(device)
        held, reserved = known["allocated_bytes"]["all"], known["reserved_bytes"]["all"]
        torch.cuda.reset_peak_memory_stats(device)
        return held["current"], reserved["current"], held["peak"]

    return allocated


def leave_base(device: str, folder: Path) -> None:
    """Leave a note of what tensors hold before the profiler counts: on a GPU it knows that."""
    base = 0 if device.startswith("cuda") else tensor_bytes()
    _leave(folder, {"source": EVENTS, "base_bytes": base})


def leave_samples(sampled: SampledSink, device: str, folder: Path) -> None:
    """Leave a note of every sample."""
    on_gpu = device.startswith("cuda")
    ordinal = (torch.device(device).index or 0) if on_gpu else -1
    note = {
        "source": SAMPLES if on_gpu else RESIDENT,
        "device": ordinal,
        "borders": sampled.borders(),
    }
    _leave(folder, note)


def _leave(folder: Path, note: dict[str, Any]) -> None:
    (folder / NOTE_NAME).write_text(json.dumps(note))


def tensor_bytes() -> int:
    """Return the bytes of all tensors on the CPU that Python knows, each storage counted once."""
    held: dict[int, int] = {}
    for each in gc.get_objects():
        # By its true type: some objects run code when they are asked for their class.
        if not issubclass(type(each), torch.Tensor):
            continue
        if each.device.type == "cpu" and each.layout == torch.strided:
            storage = each.untyped_storage()
            held[storage._cdata] = storage.nbytes()
    return sum(held.values())
