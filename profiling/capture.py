"""What records a run from inside its process: the PyTorch profiler, or nsys around us."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final

import torch

from profiling.forward import recording
from profiling.operators import NvtxOperators
from profiling.recorders import NvtxRecorder, Recorder, TorchRecorder

TRACE_NAME: Final = "trace.json"
"""The file the PyTorch profiler leaves in the run's folder."""


@contextmanager
def capture(recorder: str, device: str, folder: Path) -> Iterator[Recorder]:
    """Record what runs inside.

    Args:
        recorder: ``torch`` writes a trace into ``folder``; ``nsys`` is around this process and
            takes what is inside only.
        device: on a CPU nsys is told of the operators too.
        folder: of this run.
    """
    if recorder == "torch":
        with _torch_profiler(device, folder / TRACE_NAME) as ranges:
            yield ranges
        return
    on_gpu = device.startswith("cuda")
    if on_gpu:
        _profiler_switch("start")  # opens nsys' --capture-range=cudaProfilerApi
    ranges = NvtxRecorder()
    try:
        with recording(ranges), nullcontext() if on_gpu else NvtxOperators():
            yield ranges
    finally:
        if on_gpu:
            torch.cuda.synchronize(device)
            _profiler_switch("stop")


def _profiler_switch(which: str) -> None:
    getattr(torch.cuda.profiler, which)()


@contextmanager
def _torch_profiler(device: str, trace: Path) -> Iterator[Recorder]:
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.startswith("cuda"):
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    recorder = TorchRecorder()
    with torch.profiler.profile(activities=activities, acc_events=True) as profiler:
        with recording(recorder):
            yield recorder
        payloads = json.dumps(recorder.payloads())
        profiler.add_metadata_json("toolkit_payloads", payloads)
    profiler.export_chrome_trace(str(trace))
