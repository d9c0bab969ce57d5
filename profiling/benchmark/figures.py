"""What follows from the times of a run: statistics, rates, MFU, the older estimate."""

from dataclasses import dataclass
from typing import Final

from analysis.knowledge.number_formats import OF_DTYPE
from analysis.knowledge.peaks import Peak, lookup
from model.flops import training_flops_per_token
from profiling import names
from profiling.benchmark.run import Measurements
from profiling.common.machine import device_name
from profiling.common.settings import Settings
from profiling.common.spread import Spread
from profiling.common.timing import StepTime

TOTAL: Final = "total"
REST: Final = "rest"
"""What is in no part: on a GPU the launch of the first work and the wait for the last."""

Times = dict[str, list[int]]
"""Nanoseconds of each step: `TOTAL`, then every part in its order, then `REST`."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures that follow from the step times of a run.

    Attributes:
        spreads: by part, in ns, as in `Times`.
        tokens: that one step takes in.
        flops: that the model needs for a step, whatever is launched (`step_flops`).
        peak: of the GPU in the run's number format; None where none is known.
        forward_only: forward passes alone, in ns; None where none were timed.
    """

    spreads: dict[str, Spread]
    tokens: int
    flops: int
    peak: Peak | None
    number_format: str
    forward_only: Spread | None

    @property
    def mean_s(self) -> float:
        """The mean step, in seconds: all rates are of it."""
        return self.spreads[TOTAL].mean / 1e9

    @property
    def flops_per_s(self) -> float | None:
        """FLOPs that the model needs a second; None where a step took no time."""
        return self.flops / self.mean_s if self.mean_s else None

    @property
    def peak_flops_per_s(self) -> float | None:
        """The most FLOPs a second that the GPU could do in this number format."""
        return self.peak.flops_per_s(self.number_format) if self.peak else None

    @property
    def mfu(self) -> float | None:
        """Model FLOPs utilization: the share of the peak; None where no peak is known."""
        peak, rate = self.peak_flops_per_s, self.flops_per_s
        return rate / peak if peak and rate is not None else None

    @property
    def passes_ns(self) -> float:
        """The mean of forward and backward together: the step without the optimizer's part."""
        optimizer = self.spreads.get(names.OPTIMIZER)
        return self.spreads[TOTAL].mean - (optimizer.mean if optimizer else 0.0)

    @property
    def backward_estimate_ns(self) -> float | None:
        """The older way to a backward time: (forward + backward) less a forward timed alone.

        It takes the loss, and what a forward pass keeps for autograd, for backward.
        """
        return self.passes_ns - self.forward_only.mean if self.forward_only else None


def by_part(steps: list[StepTime]) -> Times:
    """Return the times of some steps by part; of no steps, the total alone."""
    parts = list(steps[0].parts_ns) if steps else []
    found: Times = {TOTAL: [step.total_ns for step in steps]}
    found |= {part: [step.parts_ns[part] for step in steps] for part in parts}
    return found | ({REST: [step.rest_ns for step in steps]} if steps else {})


def figures(settings: Settings, measured: Measurements) -> Figures:
    """Return the figures of a run of at least one timed step."""
    number_format = number_format_of(settings)
    on_gpu = settings.device.startswith("cuda")
    peak = lookup(device_name(settings.device)) if on_gpu else None
    alone = measured.forward_only_ns
    return Figures(
        spreads={
            part: Spread.of_values(values) for part, values in by_part(measured.steps).items()
        },
        tokens=settings.batch * settings.context,
        flops=step_flops(settings),
        peak=peak if peak and peak.flops_per_s(number_format) else None,
        number_format=number_format,
        forward_only=Spread.of_values(alone) if alone else None,
    )


def step_flops(settings: Settings) -> int:
    """Return the FLOPs that the model needs for a step: 6N + 12 L d T a token.

    A forward pass alone needs a third. The optimizer's are not counted, as in the papers that MFU
    is from; nor is what checkpointing computes again.
    """
    a_token = training_flops_per_token(settings.config, settings.context)
    whole = settings.batch * settings.context * a_token
    return whole // 3 if settings.mode == "forward" else whole


def number_format_of(settings: Settings) -> str:
    """Return the format that matrix products run in, as `analysis.knowledge.peaks` calls it."""
    if settings.autocast:
        return OF_DTYPE[settings.autocast]
    if settings.tf32 and settings.dtype == "float32":
        return "tf32"
    return OF_DTYPE[settings.dtype]
