"""Points 2 and 3 of the verdict that the recordings answer: GEMMs, the softmax, time by NVTX."""

from __future__ import annotations

import statistics
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from analysis import attention, phases
from analysis.answers.answers import answers as answered
from analysis.attribution import work_phases
from analysis.attribution.launches import Attribution
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Selection
from analysis.measures.gemm_calls import GEMM, gemm_calls
from analysis.ranges.summary import summary
from analysis.show.errors import ReportError
from analysis.show.render import digits
from benchmarks.gpu.verdict_rows import (
    RECORDERS,
    REFERENCES,
    Aim,
    Found,
    Left,
    Missing,
    Row,
    aim,
    percent,
    row,
)
from profiling import names

if TYPE_CHECKING:
    from analysis import Report
    from analysis.answers.benchmark import Benchmark

NOTES: Final = REFERENCES["notes"]

NS_PER_US: Final = 1e3
NS_PER_MS: Final = 1e6


def answers(left: Left) -> list[Row]:
    """Return point 2: how many GEMMs, their share, and the softmax beside them."""
    source = NOTES["source"]
    shares, us = NOTES["gemm_share"], NOTES["attention_us"]
    beside = f"{percent(shares['forward'])} → {percent(shares['step'])}"
    parts = " / ".join(str(us[part]) for part in names.ATTENTION_PARTS)
    ratio = f"time ratio {NOTES['time_ratio']}"
    flops = float(NOTES["flop_ratio"])
    ratios = Aim(f"FLOP ratio {flops}", source, flops - 0.05, flops + 0.05)
    gemms = REFERENCES["small"]
    wanted = Aim(f"{gemms['linear_gemms']} + {gemms['batched_gemms']} ({gemms['words']})")
    return [
        row(2, "GEMMs in one forward of small", wanted, partial(_gemms, left)),
        row(
            2,
            "GEMM's share, forward → step",
            Aim(beside, source, compared=False),
            partial(_share, left),
        ),
        row(
            2,
            "scores / softmax / final matmul of one layer",
            Aim(f"{parts} µs, {ratio}", source, compared=False),
            partial(_softmax, left),
        ),
        row(2, "final matmul's FLOPs to the softmax's", ratios, partial(_flops, left)),
    ]


def first(left: Left, name: str) -> Report:
    """Return a recording by whichever recorder made it, our own first.

    Raises:
        Missing: none did.
    """
    why = []
    for recorder in RECORDERS:
        try:
            return left.report(name, recorder)
        except Missing as error:
            why.append(str(error))
    raise Missing("; ".join(why))


def _gemms(left: Left) -> Found:
    with first(left, "forward") as report:
        chosen = Selected.of(report, Selection())
        attribution = chosen.attribution
        known = work_phases.phases_of_work(attribution)
        if names.FORWARD not in known.labels:
            raise Missing("the recording has no forward range")
        kept = chosen.work & (known.phase == known.labels.index(names.FORWARD))
        calls = gemm_calls(chosen, kept, _passes(attribution))
        layers = int(report.run.get("num_layers", "12"))
    words = f"{calls.linear:g} linear + {calls.batched:g} batched"
    return Found(words, calls.linear, calls.by_layer and calls.layers == layers)


def _passes(attribution: Attribution) -> int:
    rows = attribution.ranges.called(names.FORWARD) & ~attribution.ranges_in_warmup
    if not rows.any():
        raise Missing("the recording has no forward range")
    return int(rows.sum())


def _share(left: Left) -> Found:
    with first(left, "notes") as report:
        rows = phases.by_category(report).rows()
    share = {str(each["phase"]): float(each["share"]) for each in rows if each["category"] == GEMM}
    forward, step = share.get(names.FORWARD, 0.0), share.get(phases.ALL, 0.0)
    return Found(f"{percent(forward)} → {percent(step)}", forward / step if step else float("nan"))


def _notes(left: Left) -> dict[str, dict[str, Any]]:
    with first(left, "notes") as report:
        found = {str(each["part"]): each for each in attention.attention(report).rows()}
    if lacking := [part for part in names.ATTENTION_PARTS if part not in found]:
        raise Missing(f"the recording has no range {', '.join(lacking)}")
    return found


def _softmax(left: Left) -> Found:
    parts = _notes(left)
    each = {
        part: int(known["kernel_ns"]) / int(known["calls"]) / NS_PER_US
        for part, known in parts.items()
    }
    times = " / ".join(f"{each[part]:.0f}" for part in names.ATTENTION_PARTS)
    ratios = [
        float(parts[part]["time_ratio"]) for part in names.ATTENTION_PARTS if part != names.SOFTMAX
    ]
    words = " and ".join(f"{ratio:.2f}" for ratio in ratios)
    return Found(f"{times} µs, time ratio {words}", statistics.mean(ratios))


def _flops(left: Left) -> Found:
    ratio = float(_notes(left)[names.FINAL_MATMUL]["flop_ratio"])
    return Found(f"{ratio:.2f}", ratio)


def forward(left: Left) -> list[Row]:
    """Return the first half of point 3: the range of forward beside the benchmark."""
    return [
        row(
            3,
            f"forward by NVTX beside the benchmark, {recorder}",
            aim("forward_by_nvtx"),
            partial(_by_nvtx, left, recorder),
        )
        for recorder in RECORDERS
    ]


def _by_nvtx(left: Left, recorder: str) -> Found:
    """Return how far the range's work on the GPU, first start to last end, is from the benchmark.

    On a CPU the range itself, as long as it was open.
    """
    measured = statistics.median(left.json("benchmark-forward")["forward_ns"])
    with left.report("forward", recorder) as report:
        rows = summary(report, instances=True).rows()
        on_gpu = report.run.get("device", "cuda").startswith("cuda")
    column = "span_ns" if on_gpu else "wall_ns"
    times = [int(each[column]) for each in rows if each["range"] == names.FORWARD]
    if not times:
        raise Missing("the recording has no forward range")
    middle = statistics.median(times)
    apart = middle / measured - 1
    both = f"{digits(middle / NS_PER_MS)} beside {digits(measured / NS_PER_MS)} ms"
    return Found(f"{apart * 100:+.1f} % ({both})", abs(apart))


def sentences(left: Left) -> dict[str, list[str]]:
    """Return what `analysis.answers` says of the recordings there are, by report."""
    found = {}
    for name in ("forward", "train", "notes"):
        for recorder in RECORDERS:
            try:
                with left.report(name, recorder) as report:
                    rows = answered(report, _benchmark(left) if name == "forward" else None).rows()
            except (Missing, ReportError):
                continue
            found[f"{name}-{recorder}"] = [
                f"({each['question']}) {each['answer']}" for each in rows
            ]
    return found


def _benchmark(left: Left) -> Benchmark:
    try:
        return {"forward_ns": left.json("benchmark-forward")["forward_ns"]}
    except Missing:
        return {}
