"""The embedded recorder: the PyTorch profiler in the process itself, its trace converted."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self
from unittest.mock import patch

import torch
from torch._C._profiler import _ExperimentalConfig
from torch.autograd import profiler as autograd_profiler

from analysis.show.called import option
from analysis.source.trace.source import Progress
from profiling.common.errors import LaunchError
from profiling.names import recordable
from profiling.recorders.memory_samples import leave_base
from profiling.recorders.recorder import Recorder
from profiling.recorders.trace_report import TRACE_NAME, report_of_trace
from profiling.spans.backends import RangeSink, TorchSink
from profiling.spans.forward import recording
from profiling.spans.torch_profiler import TraceProfiler


class EmbeddedRecorder(Recorder):
    """The PyTorch profiler, which needs nothing but torch; on a GPU it reads CUPTI."""

    name: ClassVar[str] = "torch"
    finishing: ClassVar[str] = "writing the trace"
    making: ClassVar[str] = "converting the trace"
    stacks: ClassVar[bool] = False
    """Whether the Python functions that run are recorded."""

    def with_stacks(self) -> Recorder:
        """Return the recorder of Python's functions too."""
        return StackRecorder()

    @classmethod
    def find(cls) -> Self:
        """Return the recorder: it is wherever torch is."""
        return cls()

    def describe(self, device: str) -> str:
        """Return that it is the embedded one, and what takes the kernels' place on a CPU."""
        what = "the embedded recorder (PyTorch profiler)"
        if device.startswith("cuda"):
            return what
        return f"{what} over CPU operators: no CUDA device here"

    def limits(self, *, memory: bool) -> list[str]:
        """Return whose memory the profiler is told of."""
        alone = "of the script's main thread and autograd's alone"
        return [f"with --memory the PyTorch profiler records {alone}"] if memory else []

    def range_name(self, name: str) -> str:
        """Return the name as a trace can hold it."""
        return recordable(name)

    @classmethod
    @contextmanager
    def inside(
        cls, device: str, folder: Path, *, memory: bool = False, shapes: bool = True
    ) -> Iterator[RangeSink]:
        """Record by the profiler; with ``memory`` this thread and autograd's alone."""
        if memory:
            leave_base(device, folder)
        activities = [torch.profiler.ProfilerActivity.CPU]
        if device.startswith("cuda"):
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        sink = TorchSink()
        profiler = TraceProfiler(
            activities=activities,
            record_shapes=True,
            profile_memory=memory,
            with_stack=cls.stacks,
            # Of all threads at once torch 2.13 tells no memory; of this one and autograd's it does.
            experimental_config=_ExperimentalConfig(profile_all_threads=not memory),
        )
        with profiler:
            with ExitStack() as stack:
                stack.enter_context(patch.object(autograd_profiler.profile, "__init__", _refuse))
                stack.enter_context(recording(sink))
                yield sink
            profiler.add_metadata_json("toolkit_payloads", json.dumps(sink.payloads()))
        profiler.export_chrome_trace(str(folder / TRACE_NAME))

    def report(
        self, folder: Path, pushed: dict[str, int], progress: Progress | None = None
    ) -> Path:
        """Convert the trace."""
        return report_of_trace(folder, pushed, progress)


class StackRecorder(EmbeddedRecorder):
    """The embedded recorder, which records the Python functions that run as well."""

    stacks: ClassVar[bool] = True

    def describe(self, device: str) -> str:
        """Return that it records Python functions too."""
        return f"{super().describe(device)}, with the Python functions that run"

    def limits(self, *, memory: bool) -> list[str]:
        """Return whose functions the profiler is told of, too."""
        alone = "Python functions of the script's main thread alone"
        return [*super().limits(memory=memory), f"the PyTorch profiler records {alone}"]

    def facts(self) -> dict[str, object]:
        """Return that stacks were recorded too."""
        return {**super().facts(), "stacks": "yes"}


def _refuse(*_: Any, **__: Any) -> None:
    """Stand in for a profiler of the script's own: a second one ends the process (torch 2.13)."""
    raise LaunchError(
        "the script profiles itself, and PyTorch cannot do so twice at once; use "
        f"{option('--recorder', 'nsys')}, take its profiler out, or give the trace it writes to "
        "python -m analysis"
    )
