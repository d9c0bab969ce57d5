"""What records a run from inside its process: the PyTorch profiler, or nsys around us."""

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import torch
from torch._C._profiler import _ExperimentalConfig
from torch.autograd import profiler as autograd_profiler

from profiling.common.errors import LaunchError
from profiling.recorders.memory_samples import SampledRecorder, leave_base, leave_samples, sampler
from profiling.recorders.nvtx_operators import NvtxOperators
from profiling.spans import costs
from profiling.spans.backends import NvtxRecorder, Recorder, TorchRecorder
from profiling.spans.backward import left_out_backward_ranges
from profiling.spans.forward import recording

TRACE_NAME: Final = "trace.json"
"""The file the PyTorch profiler leaves in the run's folder."""


@contextmanager
def capture(
    recorder: str, device: str, folder: Path, *, memory: bool = False
) -> Iterator[Recorder]:
    """Record what runs inside, on all threads of this process.

    Args:
        recorder: ``torch`` writes a trace into ``folder``; ``nsys`` is around this process and
            takes what is inside only.
        device: on a CPU nsys is told of the operators too.
        folder: of this run.
        memory: whether what tensors hold is recorded, too; a note in ``folder`` has what neither
            the trace nor nsys has. The trace is then of this thread and autograd's alone.
    """
    if recorder == "torch":
        if memory:
            leave_base(device, folder)
        with _torch_profiler(device, folder / TRACE_NAME, memory) as ranges:
            yield ranges
        return
    ranges = NvtxRecorder()
    sampled = SampledRecorder(ranges, sampler(device)) if memory else None
    with recording(sampled or ranges), _gpu_capture(device) if _on_gpu(device) else _operators():
        yield ranges
    if sampled:
        leave_samples(sampled, device, folder)


def _on_gpu(device: str) -> bool:
    return device.startswith("cuda")


@contextmanager
def _gpu_capture(device: str) -> Iterator[None]:
    """Open and close nsys' ``--capture-range=cudaProfilerApi``."""
    _profiler_switch("start")
    try:
        yield
        torch.cuda.synchronize(device)
    finally:
        _profiler_switch("stop")


def _profiler_switch(which: str) -> None:
    getattr(torch.cuda.profiler, which)()


@contextmanager
def _operators() -> Iterator[None]:
    """Push a range around every operator, on this thread and on those it starts."""
    run = threading.Thread.run

    def recorded(thread: threading.Thread) -> None:
        with NvtxOperators():
            run(thread)

    with patch.object(threading.Thread, "run", recorded), NvtxOperators():
        yield


@contextmanager
def _torch_profiler(device: str, trace: Path, memory: bool) -> Iterator[Recorder]:
    activities = [torch.profiler.ProfilerActivity.CPU]
    if _on_gpu(device):
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    recorder = TorchRecorder()
    profiler = torch.profiler.profile(
        activities=activities,
        acc_events=True,
        profile_memory=memory,
        # Of all threads at once torch 2.13 tells no memory; of this one and autograd's it does.
        experimental_config=_ExperimentalConfig(profile_all_threads=not memory),
    )
    with profiler:
        with ExitStack() as inside:
            inside.enter_context(patch.object(autograd_profiler.profile, "__init__", _refuse))
            inside.enter_context(recording(recorder))
            yield recorder
        profiler.add_metadata_json("toolkit_payloads", json.dumps(recorder.payloads()))
    profiler.export_chrome_trace(str(trace))


def _refuse(*_: Any, **__: Any) -> None:
    """Stand in for a profiler of the script's own: a second one ends the process (torch 2.13)."""
    raise LaunchError(
        "the script profiles itself, and PyTorch cannot do so twice at once; use RECORDER=nsys, "
        "take its profiler out, or give the trace it writes to python -m analysis"
    )


def range_facts(ranges: Recorder) -> dict[str, Any]:
    """Return what the recorder and the spans know at the end."""
    return {"pushed": ranges.pushed(), "costs": costs(), "too_deep": left_out_backward_ranges()}
