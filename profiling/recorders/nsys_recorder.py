"""The nsys recorder: nsys around the process, ranges pushed into NVTX, its report exported."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Final, Self
from unittest.mock import patch

import torch

from analysis.show import nsys_program
from analysis.show.called import called, option
from analysis.show.errors import one_line
from analysis.show.sheet import say
from analysis.source.trace.source import Progress
from profiling.common.cli import relative_to_here, typed
from profiling.common.errors import LaunchError
from profiling.recorders.memory_samples import SampledSink, leave_samples, sampler
from profiling.recorders.nsys import Nsys
from profiling.recorders.nvtx_operators import NvtxOperators
from profiling.recorders.recorder import RECORDING, Recorder
from profiling.spans.backends import NvtxSink, RangeSink
from profiling.spans.forward import recording

_TEMPORARY: Final = "nsys"
"""The folder, in that of a run, for the temporary files of nsys."""


@dataclass(frozen=True)
class NsysRecorder(Recorder):
    """NVIDIA Nsight Systems, as `Nsys` finds it."""

    name: ClassVar[str] = "nsys"
    finishing: ClassVar[str] = "nsys writes its report"
    making: ClassVar[str] = "nsys exports its report"
    talks: ClassVar[bool] = True

    nsys: Nsys
    stacks: bool = False
    shapes: bool = False

    def with_shapes(self) -> Recorder:
        """Return the recorder of PyTorch's functions with their shapes too, where nsys can."""
        return replace(self, shapes=True)

    def with_stacks(self) -> Recorder:
        """Return the recorder of system calls, CPU samples and scheduling too."""
        return replace(self, stacks=True)

    def lacks(self) -> list[str]:
        """Return that this machine lets nobody sample its CPUs, where it was asked for that."""
        if not self.stacks or self.nsys.may_sample:
            return []
        return [
            "no CPU samples and no scheduling, only system calls: this machine does not allow them "
            "(see nsys status --environment)"
        ]

    @classmethod
    def find(cls) -> Self | None:
        """Return the recorder where nsys is installed."""
        found = Nsys.find()
        return None if found is None else cls(found)

    @classmethod
    def suits(cls, device: str) -> bool:
        """Return whether the device is a GPU: of CPU operators nsys knows nothing by itself."""
        return device.startswith("cuda")

    @classmethod
    def missing(cls) -> str:
        """Return how it is found, and what does without."""
        other = option("--recorder", "torch")
        return (
            f"is not on the PATH; install Nsight Systems, name it {nsys_program.BY}, or use {other}"
        )

    def describe(self, device: str) -> str:
        """Return the program and its version."""
        more = ", with system calls and CPU samples" if self.stacks else ""
        return f"nsys {self.nsys.version}{more}"

    def facts(self) -> dict[str, object]:
        """Return the recorder and the version of nsys."""
        more = {"stacks": "yes"} if self.stacks else {}
        return {"recorder": self.name, "nsys": self.nsys.version, **more}

    def around(self, command: list[str], device: str, folder: Path) -> list[str]:
        """Return the command line of ``nsys profile``."""
        temporary = folder.resolve() / _TEMPORARY
        temporary.mkdir()
        output = folder / RECORDING
        return self.nsys.profile_command(
            output, device, command, temporary, stacks=self.stacks, shapes=self.shapes
        )

    @classmethod
    @contextmanager
    def inside(
        cls, device: str, folder: Path, *, memory: bool = False, shapes: bool = False
    ) -> Iterator[RangeSink]:
        """Take what is inside only; on a CPU, or for shapes, nsys is told of operators too."""
        ranges = NvtxSink()
        sampled = SampledSink(ranges, sampler(device)) if memory else None
        on_gpu = device.startswith("cuda")
        told = _gpu_capture(device, shapes) if on_gpu else _operators(shapes)
        with recording(sampled or ranges), told:
            yield ranges
        if sampled:
            leave_samples(sampled, device, folder)

    def report(
        self, folder: Path, pushed: dict[str, int], progress: Progress | None = None
    ) -> Path:
        """Export what nsys recorded.

        Where that nsys cannot, the recording itself is returned: a ``.qdstrm`` where no importer is
        beside it, a ``.nsys-rep`` where it could not export that.
        """
        made = folder / f"{RECORDING}.nsys-rep"
        stream = made.with_suffix(".qdstrm")
        if not made.exists():
            if stream.exists():
                return stream
            raise LaunchError(
                f"nsys {self.nsys.version} left no recording; use {option('--recorder', 'torch')}"
            )
        try:
            self.nsys.export(made, made.with_suffix(".sqlite"))
        except LaunchError as error:
            say(f"note: {one_line(str(error))}")
            made.with_suffix(".sqlite").unlink(missing_ok=True)
            return made
        return made.with_suffix(".sqlite")

    def how_to_complete(self, recordings: list[Path]) -> str:
        """Name `profiling.complete`, for a machine that has the whole nsys."""
        files = [str(relative_to_here(path)) for path in recordings]
        kept = ", ".join(map(typed, recordings))
        alone = recordings[0].suffix == ".qdstrm"
        why = "has no importer here" if alone else "could not export it here"
        return (
            f"note: recorded, and kept in {kept}; no report and no page yet: nsys "
            f"{self.nsys.version} {why}. Where the whole nsys {self.nsys.version} is: "
            f"{called('profiling.complete', *files)}"
        )


@contextmanager
def _gpu_capture(device: str, shapes: bool) -> Iterator[None]:
    """Open and close nsys' ``--capture-range=cudaProfilerApi``; operators with shapes in it."""
    _profiler_switch("start")
    try:
        named = torch.autograd.profiler.emit_nvtx(  # type: ignore[no-untyped-call]
            enabled=shapes, record_shapes=True
        )
        with named:
            yield
        torch.cuda.synchronize(device)
    finally:
        _profiler_switch("stop")


def _profiler_switch(which: str) -> None:
    getattr(torch.cuda.profiler, which)()


@contextmanager
def _operators(shapes: bool) -> Iterator[None]:
    """Push a range around every operator, on this thread and on those it starts."""
    run = threading.Thread.run

    def recorded(thread: threading.Thread) -> None:
        with NvtxOperators(shapes=shapes):
            run(thread)

    with patch.object(threading.Thread, "run", recorded), NvtxOperators(shapes=shapes):
        yield
