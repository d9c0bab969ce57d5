"""What is measured on a GPU, stage by stage: the commands that `benchmarks.gpu_evidence` runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Step:
    """One command of this project.

    Attributes:
        name: of its log, ``OUT/NAME.log``.
        words: the module and its arguments; ``{out}`` is the output folder.
        modules: what must be importable for it.
    """

    name: str
    words: tuple[str, ...]
    modules: tuple[str, ...] = ()


def _recording(name: str, *words: str) -> tuple[Step, ...]:
    common = ("--size", "small", "--device", "cuda", "--reports", "{out}", "--overwrite", *words)
    return tuple(
        Step(
            f"recording-{name}-{recorder}",
            ("profiling.launch", *common, "--recorder", recorder, "--name", f"{name}-{recorder}"),
            ("psutil", "rich", "nvtx"),
        )
        for recorder in ("torch", "nsys")
    )


def _sweep(name: str, *words: str) -> Step:
    out = ("--results", "{out}/sweep.jsonl", "--format", "csv", "--output", f"{{out}}/{name}.csv")
    return Step(name, ("profiling.sweep", "--device", "cuda", *words, *out), ("psutil", "rich"))


def _table(name: str, module: str, *words: str) -> Step:
    out = ("--format", "csv", "--output", f"{{out}}/{name}.csv")
    return Step(name, (module, "--device", "cuda", *words, *out), ("psutil", "rich"))


def _layers(size: str, *words: str) -> Step:
    where = ("--output-dir", "{out}", "--output-file", f"layers-{size}.json", "--overwrite")
    given = ("--random-init", f"qwen3-{size}", "--device", "cuda", *where, *words)
    return Step(f"layers-{size}", ("profiling.model_timing", *given), ("transformers",))


STAGES: Final[Mapping[str, tuple[Step, ...]]] = {
    "tests": (
        Step("tests", ("pytest", "-m", "gpu", "-q", "--no-header"), ("pytest", "hypothesis")),
    ),
    "recording": (
        *_recording("forward", "--mode", "forward"),
        *_recording("train", "--mode", "train"),
        *_recording("train-sdpa-bf16", "--attention", "sdpa", "--dtype", "bfloat16"),
        *_recording("notes", "--mode", "train", "--batch", "8", "--context", "256"),
        *_recording("train-compiled", "--mode", "train", "--compile"),
    ),
    "flash": (
        _table("flash", "profiling.flash_benchmark", "--heads", "16", "--widths", "64,128"),
        _table("attention", "profiling.attention_benchmark"),
    ),
    "sweep": (
        _sweep("sweep-warmup", "--warmups", "0,1,2,5"),
        _sweep("sweep-train", "--modes", "train"),
        _sweep("sweep-precision", "--dtypes", "tf32,bfloat16-autocast"),
        _sweep("sweep-context", "--sizes", "small,medium", "--contexts", "128,256,512,1024"),
    ),
    "mfu": (
        _sweep(
            "sweep-mfu",
            *("--sizes", "xl", "--contexts", "1024", "--modes", "train", "--dtypes", "bfloat16"),
            *("--attention", "flash", "--compile", "--optimizer", "fused"),
        ),
    ),
    "memory": (
        _table("memory", "profiling.memory", "--size", "small", "--contexts", "128,256,512"),
    ),
    "layers": (_layers("0.6b"), _layers("4b")),
    "generation": (
        Step(
            "generation",
            (
                *("profiling.generation", "batch", "--device", "cuda", "--overwrite"),
                *("--random-init", "qwen3-0.6b", "--teacher-random-init", "qwen3-4b"),
                *("--max_new_tokens", "64", "--output", "{out}/generation.jsonl"),
            ),
            ("transformers",),
        ),
    ),
}
"""In the order of their worth: what comes first is most wanted where time is short."""
