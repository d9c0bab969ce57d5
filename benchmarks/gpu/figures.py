"""What is held against a goal: each function takes it from what a run left, as words and a number.

All take the folder of a machine and the run; `runs.toml` names them, and what else they take.
"""

from __future__ import annotations

import csv
import json
import re
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import Report
from analysis.show.render import digits, duration, percent
from benchmarks.gpu.measure import LOG, last_words
from profiling import names

if TYPE_CHECKING:
    import pandas as pd

Figure = tuple[str, float]


class Missing(Exception):
    """A figure was not measured: why, in one line."""


def result(folder: Path, run: str, name: str) -> Path:
    """Return a result of a run.

    Raises:
        Missing: it is not there; with the last words of the run, where it failed.
    """
    path = folder / run / name
    if not path.is_file():
        why = "its result is not here" if path.parent.is_dir() else "not run"
        raise Missing(f"{run}: {last_words(folder / f'{run}.log') or why}")
    return path


def _json(folder: Path, run: str) -> Any:
    return json.loads(result(folder, run, f"{run}.json").read_text(encoding="utf-8"))


def _rows(folder: Path, run: str, **wanted: str) -> list[dict[str, str]]:
    """Return the rows of a table that have some cells and were measured."""
    with result(folder, run, f"{run}.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if wanted.items() <= row.items()]
    how = [row.get("Status") or row.get("outcome") for row in rows]
    done = [row for row, outcome in zip(rows, how, strict=True) if outcome in {"ok", "done"}]
    if not done:
        words = " ".join(wanted.values()) or "every row"
        raise Missing(f"{run}: {words} reads {how[0]}" if how else f"{run}: no row of {words}")
    return done


def _report(folder: Path, run: str) -> Report:
    return Report(result(folder, run, f"{run}.sqlite"))


def tests(folder: Path, run: str) -> Figure:
    """Return what pytest said at its end, and how many tests failed: none, or the run had."""
    said = last_words(result(folder, run, LOG)).strip("= ")
    if "passed" not in said:
        raise Missing(f"{run}: {said}")
    return said, 0


def placed(folder: Path, run: str) -> Figure:
    """Return the share of the kernel time that is in forward, backward or optimizer."""
    with _report(folder, run) as report:
        times = report.phases().groupby("phase")["kernel_ns"].sum().to_dict()
    share = sum(times.get(phase, 0) for phase in names.PHASES) / times["all"]
    return f"{100 * share:.2f} %", share


def gemms(folder: Path, run: str) -> Figure:
    """Return how many matrix products of linear layers one forward launches."""
    with _report(folder, run) as report:
        answers = " ".join(report.answers()["answer"])
    if not (match := re.search(r"([\d.]+) linear .*?and ([\d.]+) batched", answers)):
        raise Missing(f"{run}: no range tells attention's products from the others")
    return f"{match[1]} linear + {match[2]} batched", float(match[1])


def _attention(folder: Path, run: str) -> pd.DataFrame:
    with _report(folder, run) as report:
        return report.attention().set_index("part").loc[list(names.ATTENTION_PARTS)]


def softmax(folder: Path, run: str) -> Figure:
    """Return how long attention's parts take, and in how many softmaxes a product takes."""
    parts = _attention(folder, run)
    times = (f"{time_ns / 1e3:.0f}" for time_ns in parts["kernel_ns"] / parts["calls"])
    ratio = float(parts["time_ratio"].drop(names.SOFTMAX).mean())
    return f"{' / '.join(times)} µs, ratio {ratio:.2f}", ratio


def flop_ratio(folder: Path, run: str) -> Figure:
    """Return the FLOPs of the final matmul, in the softmax's."""
    ratio = float(_attention(folder, run)["flop_ratio"][names.FINAL_MATMUL])
    return f"{ratio:.2f}", ratio


def gemm_share(folder: Path, run: str) -> Figure:
    """Return GEMM's share of the forward and of the step, and the one in the other."""
    with _report(folder, run) as report:
        rows = report.phases()
    share = rows[rows["category"] == "gemm"].set_index("phase")["share"].to_dict()
    forward, step = share[names.FORWARD], share["all"]
    return f"{percent(forward)} → {percent(step)}", step / forward


def step(folder: Path, run: str, base: str) -> Figure:
    """Return how long a step takes that nobody records, in steps of another run."""
    ours_ns, base_ns = _step_ns(folder, run), _step_ns(folder, base)
    return f"{ours_ns / base_ns:.2f} ({duration(ours_ns)})", ours_ns / base_ns


def _step_ns(folder: Path, run: str) -> float:
    if (folder / run / f"{run}.json").is_file():
        return statistics.median(map(float, _json(folder, run)["total_ns"]))
    with _report(folder, run) as report:
        return statistics.median(map(float, json.loads(report.run["unprofiled_step_ns"])))


def sweep_row(folder: Path, run: str, size: str) -> Figure:
    """Return the time of forward and backward of a size, in ms."""
    row = _rows(folder, run, Model=size)[0]
    total, forward, backward = (
        float(row[f"{part} Mean (ms)"]) for part in ("Total", "Forward", "Backward")
    )
    return f"{digits(total)} ms ({digits(forward)} + {digits(backward)})", total


def flash(folder: Path, run: str, width: str, part: str) -> Figure:
    """Return the time of flash attention, in ms."""
    time = _flash_ms(folder, run, "flash", width, part)
    return f"{time:.3f} ms", time


def flash_ratio(folder: Path, run: str, width: str, part: str, other: str) -> Figure:
    """Return the time of flash attention, in that of another implementation."""
    ours, theirs = (_flash_ms(folder, run, name, width, part) for name in ("flash", other))
    return f"{ours / theirs:.2f} ({ours:.3f} beside {theirs:.3f} ms)", ours / theirs


def _flash_ms(folder: Path, run: str, implementation: str, width: str, part: str) -> float:
    rows = _rows(folder, run, implementation=implementation, width=width, part=part)
    return float(rows[0]["median_ns"]) / 1e6


def mfu(folder: Path, run: str) -> Figure:
    """Return the best share of the GPU's peak of any row."""
    rows = [row for row in _rows(folder, run) if row["MFU"]]
    if not rows:
        raise Missing(f"{run}: no peak is known of this device")
    best = max(rows, key=lambda row: float(row["MFU"]))
    time = digits(float(best["Total Mean (ms)"]))
    return f"{percent(float(best['MFU']))} (batch {best['Batch']}, {time} ms)", float(best["MFU"])


def forward_by_nvtx(folder: Path, run: str, recording: str) -> Figure:
    """Return how much longer the range `forward` of a recording is than the forward timed alone."""
    timed = statistics.median(_json(folder, run)["forward_ns"])
    with _report(folder, recording) as report:
        rows = report.ranges(instances=True)
        # From its first to its last kernel; on a CPU, as long as it was open.
        column = "span_ns" if report.run["device"].startswith("cuda") else "wall_ns"
    return _apart(statistics.median(rows[rows["range"] == names.FORWARD][column]), timed)


def recorders(folder: Path, run: str, other: str) -> Figure:
    """Return how much more kernel time is in one recording than in another."""
    times_ns = []
    for name in (run, other):
        with _report(folder, name) as report:
            times_ns.append(int(report.kernels()["total_ns"].sum()))
    return _apart(*times_ns)


def _apart(one_ns: float, other_ns: float) -> Figure:
    apart = one_ns / other_ns - 1
    return f"{100 * apart:+.2f} % ({duration(one_ns)} beside {duration(other_ns)})", apart


def span_cost(folder: Path, run: str) -> Figure:
    """Return how much longer a forward takes with spans that nobody records than without."""
    (line,) = _json(folder, run)["lines"]
    return f"{line['on top']}, itself {line['control']}", float(line["on top"].split()[0]) / 100
