"""The table of `benchmarks.flash_tuning`."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import torch

from analysis.show.table import Column, Table
from benchmarks.flash_tuning_run import Shape
from benchmarks.flash_tuning_space import PASSES
from model.flash.tiles import Tiling, candidates
from profiling.flash_benchmark_run import PRODUCTS
from profiling.machine import device_name

KIND: Final = "flash_tuning"

Result = dict[str, Any]


def cells(row: Result) -> dict[str, Any]:
    """Return one row of the table; what is missing is NaN."""
    shape, cut = row["shape"], row["tiling"]
    median, low, high = row.get("time_ns", [math.nan] * 3)
    seconds = median / 1e9
    shipped = cut is not None and Tiling(**cut) in candidates(
        row["part"], shape["width"], getattr(torch, shape["dtype"]).itemsize, "tf32"
    )
    return {
        **{name: shape[name] for name in ("batch", "heads", "width", "length")},
        "part": row["part"],
        "implementation": row["implementation"],
        **{
            name: cut[name] if cut else math.nan
            for name in ("queries", "keys", "warps", "stages", "registers")
        },
        "shipped": "yes" if shipped else "",
        "median_ns": median,
        "p20_ns": low,
        "p80_ns": high,
        "flops_per_s": row["flops"] / seconds if seconds > 0 else math.nan,
        "launched_ratio": row.get("launched_flops", math.nan) / row["flops"],
        "error": row.get("error", math.nan),
        "outcome": row["outcome"],
    }


def table(rows: Iterable[Result], shapes: Sequence[Shape], device: str) -> Table:
    """Return the rows, those of a shape and a pass together, the fastest first.

    Returns:
        ``batch, heads, width, length, part, implementation, queries, keys, warps, stages,
        registers, shipped, median_ns, p20_ns, p80_ns, flops_per_s, launched_ratio, error,
        outcome``.
    """
    order = {json.dumps(asdict(shape)): place for place, shape in enumerate(shapes)}
    parts = [*PASSES, *PRODUCTS]
    known = [row for row in rows if json.dumps(row["shape"]) in order]

    def place(row: Result) -> tuple[float, ...]:
        first = row.get("time_ns", [math.inf])[0]
        return (order[json.dumps(row["shape"])], parts.index(row["part"]), first)

    made = [cells(row) for row in sorted(known, key=place)]
    columns: dict[str, Column] = {}
    for name in made[0] if made else ():
        values = [row[name] for row in made]
        columns[name] = values if isinstance(values[0], str) else np.array(values, object)
    return Table(
        KIND,
        columns,
        heading=f"Tilings of causal attention on {device_name(device)}",
        droppable=("p20_ns", "p80_ns", "error", "shipped"),
    )
