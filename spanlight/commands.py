"""The table of the commands: name, module, and what each does; a module is imported when used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Final, NamedTuple

Main = Callable[[Sequence[str]], int]
"""Runs a command with its arguments, and returns its exit status."""


class Command(NamedTuple):
    """A command.

    Attributes:
        module: what ``python -m`` runs; a folder's command is its ``__main__``.
        summary: what it does, in one line.
        kinds: words that may come first, each with options of its own besides those of the first.
    """

    module: str
    summary: str
    kinds: tuple[str, ...] = ()

    @property
    def main(self) -> Main:
        """The function that runs the command."""
        inside = f"{self.module}.__main__"
        found = find_spec(self.module)
        is_folder = found is not None and found.submodule_search_locations is not None
        main: Main = import_module(inside if is_folder else self.module).main
        return main


GROUPS: Final = {
    "Record a run": {
        "profile": Command(
            "profiling.launch",
            "a run of the model or of your script, as a report",
            ("training", "layers", "generation", "script"),
        ),
        "convert": Command("profiling.torch_trace", "a PyTorch profiler trace to a report"),
        "complete": Command("profiling.complete", "recordings of an nsys that only records"),
    },
    "Measure without a recorder": {
        "benchmark": Command("profiling.benchmark", "steps of the model, end to end"),
        "sweep": Command("profiling.sweep", "every combination of sizes, contexts, dtypes, …"),
        "precision": Command("profiling.precision", "float32, TF32, bfloat16, float16, autocast"),
        "time-attention": Command("profiling.attention_benchmark", "attention by width and length"),
        "time-flash": Command("profiling.flash_benchmark", "FlashAttention beside the others"),
        "measure-memory": Command("profiling.memory", "how much a model takes, when, for what"),
        "communication": Command("profiling.communication", "all-reduces between ranks"),
        "time-parallel": Command("profiling.parallel_benchmark", "training on ranks, by strategy"),
        "time-layers": Command("profiling.model_timing", "a Qwen3-like model, layer by layer"),
        "generate": Command("profiling.generation", "generation by two models, token by token"),
    },
    "Read a report": {
        "page": Command("analysis", "everything on one page"),
        "kernels": Command("analysis.kernels", "which kernels run, how often and for how long"),
        "ranges": Command("analysis.ranges", "GPU time of every NVTX range"),
        "phases": Command("analysis.phases", "what forward, backward and optimizer spend time on"),
        "attention": Command("analysis.attention", "scores, softmax, product: time against FLOPs"),
        "budget": Command("analysis.budget", "where each step's wall time went, adding up to it"),
        "roofline": Command("analysis.roofline", "rate of each range against the GPU's peak"),
        "gaps": Command("analysis.gaps", "when the GPU was idle, and why"),
        "whatif": Command("analysis.whatif", "what a change would gain, by replaying the run"),
        "copies": Command("analysis.copies", "memory copies, and those the host waited for"),
        "overlap": Command("analysis.overlap", "collectives: hidden under compute or exposed"),
        "collectives": Command("analysis.collectives", "bandwidth, and who kept whom waiting"),
        "streams": Command("analysis.streams", "which streams ran at the same time"),
        "memory": Command("analysis.memory", "device memory by part of the model"),
        "answers": Command("analysis.answers", "the profiling assignment's five questions"),
        "nvidia": Command("analysis.nvidia", "NVIDIA's own reports in NVIDIA's own columns"),
        "generation": Command("analysis.generation", "what `generate` measured"),
        "layers": Command("analysis.layers", "what `time-layers` measured"),
        "export": Command("analysis.export", "for Perfetto, flame graphs, Chrome's viewers"),
        "trim": Command("analysis.trim", "a smaller report, of some of the steps"),
        "cache": Command(
            "analysis.cache", "what is kept of large reports, so that it is read once"
        ),
    },
    "Compare reports": {
        "fleet": Command("analysis.fleet", "many ranks: who is slow, and keeps whom waiting"),
        "compare": Command("analysis.compare", "what got faster and what slower, with a gate"),
    },
}
"""The commands by what they are for, and by name."""

COMMANDS: Final = {name: command for group in GROUPS.values() for name, command in group.items()}
NAMES: Final = {command.module: name for name, command in COMMANDS.items()}
"""The name of a command by its module."""
