"""A folder as `benchmarks.gpu.evidence` leaves it, made by hand: every figure adds up by eye."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks.gpu.stages import STAGES
from profiling.common.settings import Settings, shape
from tests.made.gpu.on_cpu import write_state
from tests.made.reports.build_report import Kernel, Range, make_report

DEVICE: Final = "NVIDIA Test 1"
ABOUT: Final = {
    "date": "2026-01-02T03:04:05+00:00",
    "facts": {"device_name": DEVICE, "driver": "580.1", "torch": "2.0", "commit": "abc"},
}
RUN: Final = {"device": "cuda", "num_layers": "1", "device_name": DEVICE}
MS: Final = 1_000_000

NSYS_NAME: Final = "void at::f<(int)4, g<float>>(int, T2)"
TORCH_NAME: Final = "void at::f<4, g<float> >(int, g<float>)"
AUTOGRAD: Final = 2


def made(out: Path) -> Path:
    """Fill a folder with all that the verdict reads, every goal reached."""
    status = {step.name: 0 for steps in STAGES.values() for step in steps}
    write_state(out, status)
    for recorder in ("torch", "nsys"):
        name = NSYS_NAME if recorder == "nsys" else TORCH_NAME
        forward(out / f"forward-{recorder}.sqlite", name)
        for run in ("train", "notes"):
            training(out / f"{run}-{recorder}.sqlite", name)
    write(out, "benchmark-forward.json", ABOUT | {"forward_ns": [105, 100, 95]})
    for step in ("span-cost", "span-cost-launches"):
        write(out, f"{step}.json", span_cost(1.002))
    flash(out)
    junit(out, failed=0)
    junit(out, failed=0, step="tests")
    sweep(out)
    return out


def write(out: Path, name: str, content: object) -> None:
    """Write JSON."""
    (out / name).write_text(json.dumps(content))


def forward(path: Path, name: str, linear: int = 8) -> None:
    """Write a recorded forward: so many linear GEMMs, one of them in two parts, two batched."""
    ranges = [
        Range("warmup", 0, 90),
        Range("step", 100, 210),
        Range("forward", 10, 80),
        Range("forward", 100, 200),
        Range("attention_scores", 130, 140),
        Range("softmax", 140, 150),
        Range("final_matmul", 150, 160),
    ]
    work = [Kernel("sgemm", 20, 30, launch=20)]
    work += [Kernel("sgemm", 100 + 2 * n, 101 + 2 * n, launch=101 + n) for n in range(linear)]
    work += [
        Kernel("splitKreduce_kernel", 125, 126, launch=125),
        Kernel("bgemm_sgemm", 131, 133, launch=131),
        Kernel(name, 141, 143, launch=141),
        Kernel("bgemm_sgemm", 151, 200, launch=151),
    ]
    make_report(path, kernels=work, ranges=ranges, run=RUN)


def training(path: Path, name: str, unplaced: int = 0) -> None:
    """Write a recorded step of 1000 ns of kernels, and some outside any phase.

    GEMM has 600 of 900 in forward, so 60 % of all; the parts of attention 100, 50, 100.
    """
    parts = (
        ("attention_scores", 100, "sgemm"),
        ("softmax", 50, name),
        ("final_matmul", 100, "sgemm"),
    )
    ranges = [Range("step", 0, 5000), Range("forward", 0, 1000), Range("backward", 2000, 3000)]
    ranges.append(Range("optimizer", 4000, 4500))
    work = [
        Kernel("sgemm", 10, 410, launch=10),
        Kernel(name, 500, 750, launch=500),
        Kernel(name, 4000, 4010, launch=4000),
    ]
    for number, (part, took, kernel) in enumerate(parts):
        begin, back = 600 + 50 * number, 2100 + 100 * (2 - number)
        flops = 4267 if part == "final_matmul" else 100
        ranges.append(Range(part, begin, begin + 40, payload=flops))
        ranges.append(Range(f"{part}.backward", back, back + 40, thread=AUTOGRAD))
        start = 1000 + 200 * number
        work.append(Kernel(kernel, start, start + took, launch=begin + 5))
        work.append(
            Kernel(name, 3000 + number * 100, 3030 + number * 100, launch=back + 5, thread=AUTOGRAD)
        )
    if unplaced:
        work.append(Kernel(name, 6000, 6000 + unplaced, launch=6000))
    make_report(path, kernels=work, ranges=ranges, run=RUN)


def span_cost(ratio: float) -> dict[str, Any]:
    """Return what `benchmarks.cost.span_cost` writes where spans cost so much."""
    times = {"with": [ratio] * 9, "without": [1.0] * 9, "with again": [ratio] * 9}
    about = {"batch": 4, "context": 512}
    return {"conditions": about, "forward": {"small": {"seconds": times, "spans": 99}}}


def flash(out: Path, both_ms: float = 5.5, ours_ms: float = 1.0) -> None:
    """Write the table of flash attention at length 16384."""
    lines = [
        "implementation,dtype,width,length,part,median_ns,p20_ns,p80_ns,flops_per_s,memory_bytes,outcome"
    ]
    for implementation, forward_ms in (("flash", ours_ms), ("sdpa-flash", 1.1)):
        for width in (64, 128):
            for part, ms in (("forward", forward_ms), ("backward", 3.0), ("both", both_ms)):
                cells = (implementation, "bfloat16", width, 16384, part, int(ms * MS), 1, 1)
                lines.append(",".join(map(str, (*cells, 3.5e14, 1, "done"))))
    lines.append("eager,bfloat16,64,16384,both,,,,,,OOM")
    (out / "flash.csv").write_text("\n".join(lines) + "\n")


def junit(out: Path, *, failed: int, skipped: int = 0, step: str = "tests-flash-float32") -> None:
    """Write what pytest leaves of three tests."""
    bad = ["<failure/>"] * failed + ["<skipped/>"] * skipped
    cases = "".join(f"<testcase>{inside}</testcase>" for inside in (bad + [""] * 3)[:3])
    (out / f"{step}.xml").write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")


def line(size: str, mean_ms: float, **more: Any) -> dict[str, Any]:
    """Return a row of a sweep."""
    given: dict[str, Any] = {"mode": "forward_backward", "batch": 4, "context": 512, "warmup": 5}
    mfu = more.pop("mfu", None)
    settings = Settings(size=size, config=shape(size), device="cuda", **(given | more))
    parts = {"total": mean_ms, "forward": mean_ms / 4, "backward": mean_ms / 2}
    statistics = {
        part: {"mean": time * MS, "median": time * MS, "std": 0.0} for part, time in parts.items()
    }
    result = {**ABOUT, "statistics": statistics, "mfu": mfu, "memory": {"peak_bytes": 5}}
    known = {"settings": asdict(settings), "machine": {}, "limit_bytes": None}
    return {**known, "status": "ok", "reason": "", "result": result}


def sweep(out: Path, *more: dict[str, Any]) -> None:
    """Write the rows of sweeps: small, 2.7B without memory for it, and xl at two batches."""
    xl = {"mode": "train", "context": 1024, "dtype": "bfloat16", "attention": "flash"}
    rows = [
        line("small", 60.0),
        line("small", 30.0, autocast="bfloat16"),
        line("2.7B", 1.0) | {"status": "OOM", "reason": "out of memory", "result": None},
        line("xl", 200.0, batch=8, compile=True, mfu=0.47, **xl),
        line("xl", 100.0, batch=4, compile=True, mfu=0.41, **xl),
        line("xl", 300.0, batch=8, mfu=0.30, **xl),
        *more,
    ]
    (out / "sweep.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
