"""The evidence as data that is committed: rows, tables with their device, and small reports."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from analysis import Report
from analysis.layers import records, tables
from analysis.show.errors import ReportError
from analysis.show.output import replacing
from benchmarks.conditions import ROOT
from benchmarks.gpu.verdict_answers import sentences
from benchmarks.gpu.verdict_attribution import recorded
from benchmarks.gpu.verdict_rows import RECORDERS, Left, Missing, Row
from benchmarks.gpu.verdict_text import EVIDENCE
from benchmarks.gpu.verdict_times import rows_of
from benchmarks.text import BenchmarkError

LARGEST: Final = "2MB"
FACTS: Final = (
    *("device_name", "driver", "cuda", "compute_capability", "memory_bytes", "clock_max_mhz"),
    *("power_limit_w", "python", "torch", "triton", "transformers", "nvtx", "commit"),
)
"""What is kept of the machine."""

PARTS: Final = ("total", "forward", "backward", "optimizer")

Cells = dict[str, Any]
Conditions = dict[str, str]


def conditions(left: Left) -> Conditions:
    """Return the device, its driver, the versions and the date: of the first result that says.

    A folder whose results are of two devices is refused, or figures of one would stand under the
    other's name.

    Returns:
        `FACTS` and ``date``; nothing where no result says what device it is of.

    Raises:
        BenchmarkError: two results are of different devices.
    """
    found = [known for known in map(_about, sorted(left.out.glob("*.json"))) if known]
    with suppress(Missing):
        found += [line["result"] for _, line in rows_of(left) if line["result"]]
    found += [] if found else _recorded(left)
    devices = sorted({known["facts"]["device_name"] for known in found})
    if len(devices) > 1:
        raise BenchmarkError(
            f"{left.out}: results of {' and of '.join(devices)}; keep a folder for each device"
        )
    if not found:
        return {}
    first = min(found, key=lambda known: str(known["date"]))
    facts = {key: str(first["facts"][key]) for key in FACTS if key in first["facts"]}
    return {"date": str(first["date"]), **facts}


def _recorded(left: Left) -> list[Cells]:
    """Return what the recordings say of the machine."""
    found = []
    for path in sorted(left.out.glob("*.sqlite")):
        with suppress(ReportError), Report(path) as report:
            if "device_name" in report.run:
                found.append({"facts": report.run, "date": report.run.get("date", "")})
    return found


def _about(path: Path) -> Cells | None:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    facts = known.get("facts") if isinstance(known, dict) else None
    return known if isinstance(facts, dict) and "device_name" in facts and "date" in known else None


def heading(about: Conditions) -> str:
    """Return the lines above the verdict."""
    if not about:
        return "no result says what device it is of"
    words = [
        f"{key} {about[key]}" for key in ("driver", "torch", "triton", "commit") if key in about
    ]
    return f"{about['device_name']}, {about['date'][:10]}\n{', '.join(words)}"


def keep(left: Left, found: Sequence[Row], about: Conditions, folder: Path) -> list[str]:
    """Write the verdict and the tables, and return what to say of it.

    Raises:
        BenchmarkError: there is nothing to keep, or the folder cannot be made.
        ReportError: a file cannot be written.
    """
    if not about:
        raise BenchmarkError(f"{left.out}: nothing was measured that could be kept; run a stage")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchmarkError(f"{folder}: {error.strerror}; choose another --keep") from None
    rows = [asdict(each) | {"value": _finite(each.value)} for each in found]
    said = {"conditions": about, "rows": rows, "answers": sentences(left)}
    _write(folder / EVIDENCE, json.dumps(said, indent=1, ensure_ascii=False) + "\n")
    told = [f"wrote {folder / EVIDENCE}"]
    for name, make in TABLES.items():
        try:
            cells = list(make(left))
        except (Missing, ReportError) as error:
            told.append(f"no {name}: {error}")
            continue
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            told.append(f"no {name}: a file is damaged ({type(error).__name__}: {error})")
            continue
        if cells:
            device = {"device": about["device_name"]}
            _write(folder / name, _csv([device | each for each in cells]))
            told.append(f"wrote {folder / name}, {len(cells)} rows")
    return told


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _write(path: Path, text: str) -> None:
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def _csv(rows: Sequence[Cells]) -> str:
    columns = list(dict.fromkeys(name for each in rows for name in each))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def sweep_rows(left: Left) -> Iterable[Cells]:
    """Yield the rows of every sweep, those of the MFU too.

    Yields:
        ``size, mode, batch, context, warmup, dtype, attention, compile, optimizer, status``; mean
        and deviation of each part in ns; ``mfu``, ``peak_bytes``.
    """
    for settings, line in rows_of(left):
        result = line["result"] or {}
        times = {
            f"{part}_{which}_ns": round(known[which])
            for part in PARTS
            if (known := result.get("statistics", {}).get(part))
            for which in ("mean", "std")
        }
        yield {
            "size": settings.size,
            "mode": settings.mode,
            "batch": settings.batch,
            "context": settings.context,
            "warmup": settings.warmup,
            "dtype": settings.precision,
            "attention": settings.attention,
            "compile": str(settings.compile).lower(),
            "optimizer": settings.optimizer,
            "status": line["status"],
            **times,
            "mfu": "" if result.get("mfu") is None else f"{result['mfu']:.4f}",
            "peak_bytes": (result.get("memory") or {}).get("peak_bytes", ""),
        }


def _of_steps(*steps: str) -> Callable[[Left], Iterable[Cells]]:
    """Return what puts the tables of some steps, of the same columns, one under another."""

    def made(left: Left) -> Iterable[Cells]:
        found, why = [], []
        for step in steps:
            try:
                found += left.csv(step)
            except Missing as error:
                why.append(str(error))
        if not found:
            raise Missing("; ".join(why))
        return found

    return made


def layer_rows(left: Left) -> Iterable[Cells]:
    """Return the layer timer's configurations, by model, in ns.

    Raises:
        Missing: it left nothing.
        ReportError: its file is damaged.
    """
    paths = sorted(left.out.glob("layers-*.json"))
    if not paths:
        raise Missing(left.why("layers-0.6b-prompt"))
    files = {path.stem: records.read(path)[0] for path in paths}
    table = tables.summary(files)
    return [{name: _number(cell) for name, cell in each.items()} for each in table.rows()]


def _number(cell: float | str) -> float | str:
    return round(cell, 4) if isinstance(cell, float) else cell


def generation_rows(left: Left) -> Iterable[Cells]:
    """Yield the timings of each prompt, in ms, without prompt and response."""
    for line in left.lines("generation.jsonl", "generation"):
        if "timing" in line:
            yield {"id": line["id"], **line["model_config"], **line["timing"]}


TABLES: Final[dict[str, Callable[[Left], Iterable[Cells]]]] = {
    "sweep_gpu.csv": sweep_rows,
    "flash_gpu.csv": _of_steps("flash", "flash-lengths", "flash-float32"),
    "attention_gpu.csv": _of_steps("attention-eager", "attention-compiled"),
    "memory_gpu.csv": _of_steps("memory-small", "memory-medium", "memory-xl"),
    "layers_gpu.csv": layer_rows,
    "generation_gpu.csv": generation_rows,
}
"""What is kept beside the verdict."""


def samples(left: Left, folder: Path) -> list[str]:
    """Cut the recordings down to small reports, and return what to say of it.

    Raises:
        BenchmarkError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchmarkError(f"{folder}: {error.strerror}; choose another --samples") from None
    told = []
    for recorder in RECORDERS:
        for name in recorded(recorder):
            report = left.out / f"{name}-{recorder}.sqlite"
            if report.is_file():
                target = folder / f"gpu-{name}-{recorder}.sqlite"
                told.append(_trimmed(report, target))
    return told


def _trimmed(report: Path, target: Path) -> str:
    given = [str(report), "--output", str(target), "--max-size", LARGEST, "--overwrite"]
    done = subprocess.run(
        [sys.executable, "-m", "analysis.trim", *given],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return f"no {target.name}: {re.sub('^error: ', '', last)}"
    return f"wrote {target}, {target.stat().st_size / 1e6:.2f} MB"
