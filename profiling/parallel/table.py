"""The table of `profiling.parallel_benchmark`: what was measured, beside what was computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from analysis.show.render import binary, duration, plural, scaled
from analysis.show.table import Table, columns_of
from model.parallel import costs
from model.parallel.strategies import BUCKET_SIZE_MB, FINISH, FULLY_SHARDED, Strategy
from profiling import names
from profiling.common.machine import device_name
from profiling.common.memory_fit import ITEMSIZE
from profiling.common.settings import Settings
from profiling.common.spread import Spread
from profiling.parallel.rows import DONE, NOT_MEASURED
from profiling.processes import ranks

if TYPE_CHECKING:
    from model.parallel.accounting import Account

KIND: Final = "parallel_benchmark"
NAN: Final = float("nan")
PARTS: Final = (names.FORWARD, names.BACKWARD, FINISH, names.OPTIMIZER)
PEAKS: Final = ("initial_peak_bytes", "before_step_peak_bytes", "in_step_peak_bytes")
COMPUTED: Final = (
    *("parameter_bytes", "gradient_bytes", "optimizer_bytes", "communicated_bytes", "calls"),
)
IN_BUCKETS: Final = ("flat", "overlapped", "bucketed")
"""What the model of the bucket overhead is of: all that launch without waiting in between."""


@dataclass
class StrategyRow:
    """One strategy, and what was measured of it.

    Attributes:
        results: of each rank; empty where it was not measured.
    """

    strategy: Strategy
    status: str = NOT_MEASURED
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

    figures = [
        _measured(row)
        | _computed(row, cost, network)
        | {"strategy": row.strategy.name, "bucket_mb": row.strategy.bucket_mb}
        | {"status": row.status}
        for row, cost in zip(rows, computed_costs(rows, settings, count), strict=True)
    ]
    where = device_name("cuda" if backend == "nccl" else "cpu")
    heading = f"{plural(count, 'rank')} ({backend}), each: {settings.describe()}\n{where}"
    return Table(
        name=KIND,
        columns=columns_of(figures, names=COLUMNS),
        heading=f"{heading}, torch {torch.__version__}",
        notes=tuple(_notes(rows, settings, count, network)),
        droppable=SPARE,
    )


SPARE: Final = (
    *("steps", "step_mean_ns", "step_min_ns", "step_max_ns", "calls", "forward_ns"),
    *("optimizer_ns", "initial_peak_bytes", "parameter_bytes", "gradient_bytes", "optimizer_bytes"),
    *("backward_ns", "bucket_overhead_ns", "in_step_peak_bytes", "finish_ns", "step_std_ns"),
    *("before_step_peak_bytes", "communicated_bytes", "communication_ns"),
)

COLUMNS: Final = (
    *("strategy", "bucket_mb", "steps", "step_ns", "step_mean_ns", "step_std_ns", "step_min_ns"),
    *("step_max_ns", *(f"{part}_ns" for part in PARTS), "communication_ns", "exposed_ns"),
    *("hidden_share", *PEAKS, *COMPUTED, "bucket_overhead_ns", "status"),
)


def _measured(row: StrategyRow) -> dict[str, Any]:
    """Return the figures of the slowest rank's steps, and the peaks of any rank's memory."""
    if not row.results:
        return {"steps": 0}
    steps = row.slowest
    whole = Spread.of_values([step["total_ns"] for step in steps])
    times = {f"{part}_ns": [step["parts_ns"][part] for step in steps] for part in PARTS}
    times |= {key: [step[key] for step in steps] for key in ("communication_ns", "exposed_ns")}
    medians = {name: float(Spread.of_values(values).median) for name, values in times.items()}
    under_way, exposed = medians["communication_ns"], medians["exposed_ns"]
    return {
        "steps": len(steps),
        "step_ns": float(whole.median),
        **whole.cells("mean", "std", "min", "max", of="step"),
        **medians,
        "hidden_share": max(0.0, 1 - exposed / under_way) if under_way else NAN,
        **{name: float(max(result[name] for result in row.results)) for name in PEAKS},
    }


def _computed(row: StrategyRow, cost: Account, network: Network | None) -> dict[str, Any]:
    found = {name: getattr(cost, name) for name in COMPUTED}
    if network and row.strategy.name in IN_BUCKETS:
        found["bucket_overhead_ns"] = 1e9 * costs.bucket_overhead_s(
            cost.gradient_bytes, network.bytes_per_s, network.call_ns / 1e9, cost.calls
        )
    return found


def _notes(
    rows: Sequence[StrategyRow], settings: Settings, count: int, network: Network | None
) -> list[str]:
    notes = [f"{row.strategy}: {row.status}" for row in rows if row.status != DONE]
    sources = {result["memory_source"] for row in rows for result in row.results}
    notes += [_SOURCES[source] for source in sorted(sources)]
    if settings.device == "cpu":
        notes += ranks.crowding([count])
    if network:
        gradients = settings.config.parameter_count * ITEMSIZE[settings.dtype]
        best = costs.best_bucket_bytes(gradients, network.bytes_per_s, network.call_ns / 1e9)
        notes.append(
            f"an all-reduce over {plural(count, 'rank')} takes {duration(network.call_ns)} a call "
            f"and moves {scaled(network.bytes_per_s, 'B/s')}: with {binary(gradients)} of "
            f"gradients the model s/(n_b w) + n_b o is least at buckets of {scaled(best, 'B')}"
        )
    return notes


_SOURCES: Final = {
    "tensors": "peaks are of the tensors on a rank's GPU",
    "resident": "peaks are of a rank's resident memory, less what it had before the model; what "
    "the C library keeps for later counts too",
    "resident, never reset": "peaks are of a rank's resident memory since it began, for this "
    "system does not let them be reset: only the first to exceed the others says anything",
}
