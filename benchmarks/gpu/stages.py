"""What is measured on a GPU, stage by stage: the commands that `benchmarks.gpu.evidence` runs.

    python -m benchmarks.gpu_stages            the steps in order, with the seconds each may take

What comes first is most wanted where time is short. All stages but `more` together fit in half an
hour on an H100, in calls of under ten minutes (`calls`).

`Step.expected_s` was added up, not measured: 7 s to start a command and to come to the first kernel
(5 s more for each row that is a process of its own and imports all that again), the work at a third
of the GPU's peak, 1.2 s to compile a kernel of bf16 flash attention and 2.5 s one of float32 (as
ptxas takes for sm_90, on one core), two minutes to compile 48 layers forward and backward and 15 s
to compile one of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
CALL_S: Final = 570
"""How long one call of `benchmarks.gpu.evidence` may take where ten minutes are allowed."""

MORE: Final = "more"
"""The stage that is only worth its time once everything else is there."""

LAUNCHED: Final = ("psutil", "rich", "nvtx", "adbc_driver_sqlite", "pyarrow")
TIMED: Final = ("psutil", "rich")


@dataclass(frozen=True, slots=True)
class Step:
    """One command of this project.

    Attributes:
        name: of its log, ``OUT/NAME.log``.
        words: the module and its arguments; ``{out}`` is the output folder.
        modules: what must be importable for it.
        expected_s: how long it may take on an H100, starting the process included.
    """

    name: str
    words: tuple[str, ...]
    modules: tuple[str, ...] = ()
    expected_s: int = 60


def _recording(name: str, recorder: str, expected_s: int, *words: str) -> Step:
    common = ("--size", "small", "--device", "cuda", "--reports", "{out}", "--overwrite", *words)
    return Step(
        f"recording-{name}-{recorder}",
        ("profiling.launch", *common, "--recorder", recorder, "--name", f"{name}-{recorder}"),
        LAUNCHED,
        expected_s,
    )


def _benchmark(mode: str, expected_s: int) -> Step:
    """Return the benchmark of what the recordings of the same mode run, without a profiler."""
    name = f"benchmark-{mode}"
    what = ("--size", "small", "--device", "cuda", "--mode", mode, "--json", f"{{out}}/{name}.json")
    return Step(name, ("profiling.benchmark", *what), TIMED, expected_s)


def _sweep(name: str, expected_s: int, *words: str) -> Step:
    out = ("--results", "{out}/sweep.jsonl", "--format", "csv", "--output", f"{{out}}/{name}.csv")
    words = ("profiling.sweep", "--device", "cuda", *words, *out)
    return Step(name, words, TIMED, expected_s)


def _mfu(name: str, expected_s: int, batches: str, attention: str, *words: str) -> Step:
    return _sweep(
        name,
        expected_s,
        *("--sizes", "xl", "--contexts", "1024", "--modes", "train", "--dtypes", "bfloat16"),
        *("--optimizer", "fused", "--batches", batches, "--attention", attention, *words),
    )


def _table(name: str, expected_s: int, module: str, *words: str) -> Step:
    out = ("--format", "csv", "--output", f"{{out}}/{name}.csv", "--json", f"{{out}}/{name}.json")
    return Step(name, (f"profiling.{module}", "--device", "cuda", *words, *out), TIMED, expected_s)


def _flash(name: str, expected_s: int, dtype: str, lengths: str, implementations: str) -> Step:
    what = ("--heads", "16", "--widths", "64,128", "--dtypes", dtype, "--lengths", lengths)
    chosen = ("--implementations", implementations)
    return _table(name, expected_s, "flash_benchmark", *what, *chosen)


def _tuning(expected_s: int) -> Step:
    """Return the search for tilings, which goes on in the next call where it is not done."""
    out = ("--results", "{out}/flash_tuning.json")
    shown = ("--format", "csv", "--output", "{out}/flash_tuning.csv")
    words = ("benchmarks.flash_tuning", "--device", "cuda", "--budget-s", "450", *out, *shown)
    return Step("flash-tuning", words, TIMED, expected_s)


def _memory(size: str, expected_s: int, contexts: str) -> Step:
    what = ("--size", size, "--contexts", contexts, "--dtypes", "float32,bfloat16")
    return _table(f"memory-{size}", expected_s, "memory", *what, "--show", "peaks")


def _attention(implementation: str, expected_s: int) -> Step:
    what = ("--implementations", implementation, "--widths", "64,128")
    lengths = ("--lengths", "1024,16384")
    return _table(f"attention-{implementation}", expected_s, "attention_benchmark", *what, *lengths)


def _spans(name: str, expected_s: int, batch: int, context: int) -> Step:
    what = ("--sizes", "small", "--batch", str(batch), "--context", str(context), "--seconds", "8")
    words = (
        "benchmarks.cost.span_cost",
        "--device",
        "cuda",
        *what,
        "--json",
        f"{{out}}/{name}.json",
    )
    return Step(name, words, (*TIMED, "nvtx"), expected_s)


def _layers(size: str, length: int, expected_s: int) -> Step:
    """Return the layer timer on a prompt, or on one token, which is what a decoding step reads."""
    name = f"layers-{size}-{'decode' if length == 1 else 'prompt'}"
    where = ("--output-dir", "{out}", "--output-file", f"{name}.json", "--overwrite")
    given = ("--random-init", f"qwen3-{size}", "--device", "cuda", "--input-len", str(length))
    runs = ("--num-runs", "10", "--warmup-runs", "3")
    words = ("profiling.model_timing", *given, *runs, *where)
    return Step(name, words, (*TIMED, "transformers"), expected_s)


def _tests(name: str, expected_s: int, files: Iterable[str], *words: str) -> Step:
    left = f"--junitxml={{out}}/{name}.xml"
    # A warning of a newer package is no failure of what is shown here.
    how = ("-W", "default", "-p", "no:cacheprovider", "--continue-on-collection-errors")
    words = ("pytest", *files, "-m", "gpu", "-v", "--no-header", *how, *words, left)
    return Step(name, words, (*LAUNCHED, "pytest", "hypothesis"), expected_s)


OWN_TESTS: Final = "tests/benchmarks/gpu/test_stages.py"
FLASH_TESTS: Final = "tests/model/flash/test_triton.py"


def files_with_gpu_tests() -> list[str]:
    """Return the files of tests for a GPU but `FLASH_TESTS`: collecting all takes half a minute."""
    found = sorted((ROOT / "tests").rglob("test_*.py"))
    marked = [path for path in found if "mark.gpu" in path.read_text()]
    files = [path.relative_to(ROOT).as_posix() for path in marked]
    return [path for path in files if path not in {FLASH_TESTS, OWN_TESTS}]


_OF_SEVERAL = "eager,sdpa,sdpa-flash,flash"
_NOTES = ("--mode", "train", "--batch", "8", "--context", "256")
_BF16 = ("--attention", "sdpa", "--dtype", "bfloat16")
_BY_BLOCK = ("--compile", "--compile-scope", "block")
_AUTOTUNED = ("--compile-mode", "max-autotune-no-cudagraphs")

STAGES: Final[Mapping[str, tuple[Step, ...]]] = {
    "recording": (
        _benchmark("forward", 12),
        _recording("forward", "torch", 25, "--mode", "forward"),
        _recording("train", "torch", 30, "--mode", "train"),
        _recording("notes", "torch", 28, *_NOTES),
        _recording("train-sdpa-bf16", "torch", 25, *_BF16),
        _recording("forward", "nsys", 35, "--mode", "forward"),
        _recording("train", "nsys", 40, "--mode", "train"),
        _recording("notes", "nsys", 38, *_NOTES),
    ),
    "flash": (
        _flash("flash", 67, "bfloat16", "16384", _OF_SEVERAL),
        _tests("tests-flash-float32", 100, (FLASH_TESTS,), "-k", "gpu and 64-float32"),
    ),
    "mfu": (
        _mfu("mfu", 120, "16,8,4", "flash", *_BY_BLOCK),
        _mfu("mfu-plain", 18, "8", "flash"),
    ),
    "spans": (
        _spans("span-cost", 28, 4, 512),
        _spans("span-cost-launches", 22, 1, 64),
    ),
    "sweep": (
        _sweep("sweep", 75),
        _sweep("sweep-train", 80, "--modes", "train"),
        _sweep("sweep-cold", 70, "--warmups", "0"),
        _sweep("sweep-precision", 104, "--dtypes", "tf32,bfloat16-autocast"),
        _sweep("sweep-context", 60, "--sizes", "small,medium", "--contexts", "128,256,512,1024"),
    ),
    "tests": (_tests("tests", 45, files_with_gpu_tests()),),
    "memory": (_memory("small", 54, "128,512,2048"), _memory("xl", 56, "128,2048")),
    "layers": (
        _layers("0.6b", 128, 16),
        _layers("0.6b", 1, 16),
        _layers("4b", 128, 22),
        _layers("4b", 1, 22),
    ),
    "generation": (
        Step(
            "generation",
            (
                *("profiling.generation", "batch", "--device", "cuda", "--overwrite"),
                *("--random-init", "qwen3-0.6b", "--teacher-random-init", "qwen3-4b"),
                *("--max_new_tokens", "64", "--output", "{out}/generation.jsonl"),
            ),
            (*TIMED, "transformers"),
            60,
        ),
    ),
    "variants": (
        _recording("train-compiled", "torch", 75, "--mode", "train", "--compile"),
        _flash("flash-lengths", 69, "bfloat16", "1024,4096", "sdpa,sdpa-flash,flash"),
        _flash("flash-float32", 60, "float32", "1024,4096,16384", "sdpa,flash"),
        _attention("eager", 36),
    ),
    MORE: (
        _tuning(300),
        _mfu("mfu-whole", 200, "16", "flash", "--compile"),
        _mfu("mfu-autotuned", 200, "16", "flash", *_BY_BLOCK, *_AUTOTUNED),
        _mfu("mfu-graphs", 60, "8", "flash", *_BY_BLOCK, "--compile-mode", "reduce-overhead"),
        _mfu("mfu-eager", 18, "8", "eager"),
        _mfu("mfu-eager-compiled", 40, "8", "eager", *_BY_BLOCK),
        _recording("train-sdpa-bf16", "nsys", 40, *_BF16),
        _sweep("sweep-warmup", 140, "--warmups", "1,2"),
        _attention("compiled", 60),
        _memory("medium", 40, "128,512,2048"),
        _tests("tests-flash", 560, (FLASH_TESTS,), "-k", "gpu", "-m", "gpu and not slow"),
    ),
}
"""In the order of their worth."""


def calls(steps: Iterable[Step], most_s: int = CALL_S) -> list[list[Step]]:
    """Return the steps in order, cut into calls of so many expected seconds at most.

    >>> a, b = Step("a", (), expected_s=300), Step("b", (), expected_s=290)
    >>> [[step.name for step in call] for call in calls([a, b, b], 600)]
    [['a', 'b'], ['b']]
    """
    found: list[list[Step]] = []
    left = 0
    for step in steps:
        if step.expected_s > left:
            found.append([])
            left = most_s
        found[-1].append(step)
        left -= step.expected_s
    return found


def listed(stages: Mapping[str, tuple[Step, ...]] = STAGES, most_s: int = CALL_S) -> list[str]:
    """Return the lines that tell the calls, the stages and the steps, with their seconds."""
    stage_of = {step.name: stage for stage, steps in stages.items() for step in steps}
    lines = []
    for number, call in enumerate(calls((s for steps in stages.values() for s in steps), most_s)):
        lines.append(f"call {number + 1}: {sum(step.expected_s for step in call)} s expected")
        lines += [f"  {stage_of[s.name]:<11} {s.name:<28} {s.expected_s:>4} s" for s in call]
    return lines


def main() -> int:
    """Print what there is to run."""
    print("\n".join(listed()))
    return 0
