"""What README.md says of a GPU, from the data that `benchmarks.gpu.verdict --keep` wrote."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.gpu.verdict_rows import BESIDE, HOLDS, MISSED, NOT_MEASURED, REFERENCES

EVIDENCE: Final = "gpu_evidence.json"
NS_PER_MS: Final = 1e6
EXPLAINED: Final = ("(d)", "(e)")
"""The questions whose answers stand there whole."""

ABSENT: Final = "Nothing has been measured on a GPU yet; the commands below do it."


def section(folder: Path) -> str:
    """Return the text on what a GPU showed, or that none did yet.

    Args:
        folder: of the results.
    """
    path = folder / EVIDENCE
    if not path.exists():
        return ABSENT
    known = json.loads(path.read_text(encoding="utf-8"))
    parts = [_first(known), _verdicts(known["rows"]), *_explained(known["answers"])]
    for name, table in (("sweep_gpu.csv", _sweep), ("flash_gpu.csv", _flash)):
        if (folder / name).exists():
            with (folder / name).open(encoding="utf-8", newline="") as stream:
                parts += table(list(csv.DictReader(stream)))
    return "\n\n".join(part for part in parts if part)


def _first(known: dict[str, Any]) -> str:
    about = known["conditions"]
    verdicts = [row["verdict"] for row in known["rows"]]
    counts = ", ".join(
        f"{verdicts.count(verdict)} {words}"
        for verdict, words in ((HOLDS, "hold"), (MISSED, "missed"), (NOT_MEASURED, "not measured"))
    )
    names = ("driver", "torch", "triton")
    versions = ", ".join(f"{name} {about[name]}" for name in names if name in about)
    where = f"{about['device_name']} ({versions}; {about['date'][:10]})"
    return f"Measured on {where}. Of what was to be shown: {counts}."


def _verdicts(rows: Sequence[dict[str, Any]]) -> str:
    shown = [row for row in rows if row["verdict"] != BESIDE or row["goal"]]
    return markdown(
        ("to show", "goal, or others' figure", "reached", "verdict"),
        ([row[name] for name in ("what", "goal", "reached", "verdict")] for row in shown),
    )


def _explained(answers: dict[str, list[str]]) -> list[str]:
    """Return what `analysis.answers` says of GEMM and the softmax, of the notes' shape."""
    for recording, sentences in answers.items():
        if recording.startswith("notes"):
            chosen = [said for said in sentences if said.startswith(EXPLAINED)]
            return ["`analysis.answers`, batch 8, context 256, fp32: " + " ".join(chosen)]
    return []


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Return a table of Markdown.

    >>> print(markdown(["a"], [["x|y"]]))
    | a |
    |---|
    | x\|y |
    """
    lines = [header, ["---"] * len(header), *rows]
    made = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    ruled = ["| " + " | ".join(line) + " |" for line in made]
    ruled[1] = "|" + "---|" * len(header)
    return "\n".join(ruled)


def _sweep(rows: Sequence[dict[str, str]]) -> list[str]:
    """Return the sweep of whole steps, warm, by precision, beside the public tables."""
    public = REFERENCES["sweep"]
    header = ["ms a step", "fp32", "TF32", "bf16 autocast", "train, fp32"]
    header += [
        f"{table['name'].removesuffix(' public table')} public ({table['device']})"
        for table in public
    ]
    columns = (
        ("forward_backward", "float32"),
        ("forward_backward", "tf32"),
        ("forward_backward", "bfloat16-autocast"),
        ("train", "float32"),
    )
    lines = []
    for size in public[0]["total_ms"]:
        cells = [_cell(rows, size, mode, dtype) for mode, dtype in columns]
        if any(cells):
            lines.append([size, *cells, *(_published(table, size) for table in public)])
    if not lines:
        return []
    said = "Batch 4, context 512, eager attention; whole steps, forward + backward in brackets:"
    return [said, markdown(header, lines)]


def _published(table: dict[str, Any], size: str) -> str:
    if size in table.get("total_ms", {}):
        return f"{table['total_ms'][size]:.1f}"
    if size in table.get("forward_ms", {}):
        forward, backward = table["forward_ms"][size], table["backward_ms"][size]
        return f"{forward + backward:.1f} ({forward} + {backward})"
    return ""


def _cell(rows: Sequence[dict[str, str]], size: str, mode: str, dtype: str) -> str:
    wanted = {
        "size": size,
        "mode": mode,
        "dtype": dtype,
        "batch": "4",
        "context": "512",
        "warmup": "5",
        "attention": "eager",
        "compile": "false",
    }
    for row in rows:
        if all(row[name] == value for name, value in wanted.items()):
            if row["status"] != "ok":
                return row["status"]
            total, forward, backward = (
                int(row[f"{part}_mean_ns"]) / NS_PER_MS for part in ("total", "forward", "backward")
            )
            return f"{total:.1f} ({forward:.1f} + {backward:.1f})"
    return ""


def _flash(rows: Sequence[dict[str, str]]) -> list[str]:
    """Return attention at each shape: forward + backward, ms, by implementation."""
    both = [row for row in rows if row["part"] == "both"]
    names = list(dict.fromkeys(row["implementation"] for row in both))
    shapes = dict.fromkeys((row["dtype"], row["width"], row["length"]) for row in both)
    lines = []
    for shape in shapes:
        found = {
            row["implementation"]: _flash_cell(row)
            for row in both
            if (row["dtype"], row["width"], row["length"]) == shape
        }
        lines.append([*shape, *(found.get(name, "") for name in names)])
    if not lines:
        return []
    said = (
        "Causal attention, batch 1, 16 heads, forward + backward: ms (TFLOP/s, of FlashAttention's "
        "count):"
    )
    return [said, markdown(["dtype", "width", "length", *names], lines)]


def _flash_cell(row: dict[str, str]) -> str:
    if row["outcome"] != "done":
        return row["outcome"]
    milliseconds, rate = float(row["median_ns"]) / NS_PER_MS, float(row["flops_per_s"]) / 1e12
    return f"{milliseconds:.3f} ({rate:.0f})"
