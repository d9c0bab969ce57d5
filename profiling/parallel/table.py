"""The table of `profiling.parallel_benchmark`: what was measured, beside what was computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.show.render import binary, duration, scaled
from analysis.show.table import Column, Table
from model.parallel import costs
from model.parallel.strategies import BUCKET_SIZE_MB, FINISH, FULLY_SHARDED, Strategy
from profiling import names
from profiling.common.machine import device_name
from profiling.common.memory_fit import ITEMSIZE
from profiling.common.settings import Settings
from profiling.common.spread import Spread
from profiling.processes import ranks

if TYPE_CHECKING:
    from model.parallel.accounting import Account

KIND: Final = "parallel_benchmark"
DONE: Final = "ok"
NAN: Final = float("nan")
PARTS: Final = (names.FORWARD, names.BACKWARD, FINISH, names.OPTIMIZER)
PEAKS: Final = ("initial_peak_bytes", "before_step_peak_bytes", "in_step_peak_bytes")
IN_BUCKETS: Final = ("flat", "overlapped", "bucketed")
"""What the model of the bucket overhead is of: all that launch without waiting in between."""


@dataclass
class StrategyRow:
    """One strategy, and what was measured of it.

    Attributes:
        results: of each rank; empty where it was not measured.
    """

    strategy: Strategy
    status: str = "not measured"
    results: list[dict[str, Any]] = field(default_factory=list)

    @property
    def slowest(self) -> list[dict[str, Any]]:
        """The steps of the rank whose median step is the longest: the others wait for it."""
        return max(
            (result["steps"] for result in self.results),
            key=lambda steps: Spread.of_values([step["total_ns"] for step in steps]).median,
        )


@dataclass(frozen=True)
class Network:
    """The all-reduce between these ranks, measured alone.

    Attributes:
        call_ns: of one however small: o.
        bytes_per_s: S/t of a large one: w.
    """

    call_ns: float
    bytes_per_s: float

    @classmethod
    def from_times(cls, small_ns: float, large_ns: float, large_bytes: int) -> Network | None:
        """Return what a small and a large all-reduce say, by their medians; nothing if too busy.

        >>> Network.from_times(1e6, 11e6, 10**7)
        Network(call_ns=1000000.0, bytes_per_s=1000000000.0)
        """
        if large_ns <= small_ns:
            return None
        return cls(small_ns, large_bytes / (large_ns - small_ns) * 1e9)


def computed_costs(rows: Sequence[StrategyRow], settings: Settings, count: int) -> list[Account]:
    """Return what each strategy is computed to cost a rank."""
    import torch

    from model import TransformerLM
    from model.parallel.accounting import account
    from profiling.training.parallel_training import compute_dtype

    dtype = compute_dtype(settings)
    with torch.device("meta"):
        model = TransformerLM(settings.config)
    found = []
    for row in rows:
        sharded = row.strategy.name == FULLY_SHARDED
        found.append(
            account(
                model.float() if sharded else model.to(dtype or torch.float32),
                row.strategy.name,
                count,
                bucket_size_mb=row.strategy.bucket_mb or BUCKET_SIZE_MB,
                compute_dtype=dtype,
            )
        )
    return found


def table(
    rows: Sequence[StrategyRow],
    settings: Settings,
    count: int,
    backend: str,
    network: Network | None,
) -> Table:
    """Return a row per strategy."""
    import torch

    figures: list[dict[str, Any]] = [
        {"strategy": row.strategy.name, "bucket_mb": row.strategy.bucket_mb or NAN}
        | _times(row)
        | _memory(row)
        | _computed(row, cost, network)
        | {"status": row.status}
        for row, cost in zip(rows, computed_costs(rows, settings, count), strict=True)
    ]
    columns: dict[str, Column] = {}
    for name, first in figures[0].items():
        values = [each[name] for each in figures]
        columns[name] = values if isinstance(first, str) else np.array(values)
    where = device_name("cuda" if backend == "nccl" else "cpu")
    heading = f"{count} ranks ({backend}), each: {settings.describe()}\n{where}"
    return Table(
        name=KIND,
        columns=columns,
        heading=f"{heading}, torch {torch.__version__}",
        notes=tuple(_notes(rows, settings, count, network)),
        droppable=SPARE,
    )


SPARE: Final = (
    "steps",
    "step_mean_ns",
    "step_min_ns",
    "step_max_ns",
    "calls",
    "forward_ns",
    "optimizer_ns",
    "initial_peak_bytes",
    "parameter_bytes",
    "gradient_bytes",
    "optimizer_bytes",
    "backward_ns",
    "bucket_overhead_ns",
    "in_step_peak_bytes",
    "finish_ns",
    "step_std_ns",
    "before_step_peak_bytes",
    "communicated_bytes",
    "communication_ns",
)


def _times(row: StrategyRow) -> dict[str, float]:
    keys = ("communication_ns", "exposed_ns")
    if not row.results:
        named = ("step", "step_mean", "step_std", "step_min", "step_max", *PARTS)
        empty = dict.fromkeys((*(f"{name}_ns" for name in named), *keys, "hidden_share"), NAN)
        return {"steps": 0, **empty}
    steps = row.slowest
    whole = Spread.of_values([step["total_ns"] for step in steps])
    found: dict[str, float] = {
        "steps": len(steps),
        "step_ns": float(whole.median),
        "step_mean_ns": whole.mean,
        "step_std_ns": whole.std,
        "step_min_ns": float(whole.min),
        "step_max_ns": float(whole.max),
    }
    for part in PARTS:
        median = Spread.of_values([step["parts_ns"][part] for step in steps]).median
        found[f"{part}_ns"] = float(median)
    for key in keys:
        found[key] = float(Spread.of_values([step[key] for step in steps]).median)
    under_way, exposed = (found[key] for key in keys)
    return found | {"hidden_share": max(0.0, 1 - exposed / under_way) if under_way else NAN}


def _memory(row: StrategyRow) -> dict[str, float]:
    return {
        name: float(max((result[name] for result in row.results), default=NAN)) for name in PEAKS
    }


def _computed(row: StrategyRow, cost: Account, network: Network | None) -> dict[str, float]:
    overhead_ns = NAN
    if network and row.strategy.name in IN_BUCKETS:
        overhead_ns = 1e9 * costs.bucket_overhead_s(
            cost.gradient_bytes, network.bytes_per_s, network.call_ns / 1e9, cost.calls
        )
    return {
        "parameter_bytes": cost.parameter_bytes,
        "gradient_bytes": cost.gradient_bytes,
        "optimizer_bytes": cost.optimizer_bytes,
        "communicated_bytes": cost.communicated_bytes,
        "calls": cost.calls,
        "bucket_overhead_ns": overhead_ns,
    }


def _notes(
    rows: Sequence[StrategyRow], settings: Settings, count: int, network: Network | None
) -> list[str]:
    notes = [f"{row.strategy}: {row.status}" for row in rows if row.status != DONE]
    sources = {result["memory_source"] for row in rows for result in row.results}
    notes += [_SOURCES[source] for source in sorted(sources)]
    if settings.device == "cpu":
        notes += ranks.crowding([count])
    if network:
        gradients = account_of_gradients(settings)
        best = costs.best_bucket_bytes(gradients, network.bytes_per_s, network.call_ns / 1e9)
        notes.append(
            f"an all-reduce over {count} ranks takes {duration(network.call_ns)} a call and moves "
            f"{scaled(network.bytes_per_s, 'B/s')}: with {binary(gradients)} of gradients the "
            f"model s/(n_b w) + n_b o is least at buckets of {scaled(best, 'B')}"
        )
    return notes


_SOURCES: Final = {
    "tensors": "peaks are of the tensors on a rank's GPU",
    "resident": "peaks are of a rank's resident memory, less what it had before the model; what "
    "the C library keeps for later counts too",
    "resident, never reset": "peaks are of a rank's resident memory since it began, for this "
    "system does not let them be reset: only the first to exceed the others says anything",
}


def account_of_gradients(settings: Settings) -> int:
    """Return the bytes of all gradients in the dtype of the settings."""
    return settings.config.parameter_count * ITEMSIZE[settings.dtype]
