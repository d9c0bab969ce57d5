"""What `profiling.benchmark` prints: the configuration before the run, the figures after it."""

import sys
from collections.abc import Sequence

from analysis.show import cli as analysis_cli
from analysis.show.render import digits, duration, percent, scaled
from analysis.show.sheet import say
from analysis.show.table import Table, columns_of
from profiling import names
from profiling.benchmark.device_memory import Memory
from profiling.benchmark.figures import TOTAL, Figures
from profiling.common.machine import device_name
from profiling.common.settings import Settings, runs
from profiling.common.spread import Spread

WIDTH = 12
"""Of the labels in front."""


def line(label: str, text: str) -> str:
    """Return a line of the printout."""
    return f"{label:{WIDTH}} {text}"


def say_lines(lines: Sequence[str]) -> None:
    """Print lines of the printout; in a terminal what goes on in the next stands beside labels."""
    for each in lines:
        say(each, " " * (WIDTH + 1), stream=sys.stdout)


def parameters(count: int) -> str:
    """Return a number of parameters: exact, in millions, in billions.

    >>> parameters(128_625_408)
    '128,625,408 (128.63M, 0.128625B)'
    """
    return f"{count:,} ({count / 1e6:.2f}M, {count / 1e9:.6f}B)"


def configuration(settings: Settings) -> list[str]:
    """Return the lines on the run's configuration."""
    config = settings.config
    shape = (
        f"{settings.size}: d_model {config.d_model}, d_ff {config.d_ff}, layers "
        f"{config.num_layers}, heads {config.num_heads}, vocabulary {config.vocab_size}, "
        f"rope theta {config.rope_theta:g}"
    )
    how = [f"{settings.attention} attention", *settings.variants]
    return [
        line("model", shape),
        line("parameters", parameters(config.parameter_count)),
        line("input", f"batch {settings.batch}, context {settings.context}, random tokens"),
        line("step", f"{settings.mode}, {settings.precision}, {', '.join(how)}"),
        line("runs", f"{runs(settings.warmup, settings.steps)}, seed {settings.seed}"),
        line("device", f"{settings.device}, {device_name(settings.device)}"),
    ]


def initializing(settings: Settings, learning_rate: float) -> str:
    """Return the line printed before AdamW is made."""
    said = f"Initializing AdamW … (learning rate {learning_rate:g})"
    if settings.mode == "train":
        return said
    return f"{said}: its zero_grad runs in every step, but it takes no step in {settings.mode}"


def results(settings: Settings, found: Figures, memory: Memory) -> list[str]:
    """Return the figures of the step as a whole."""
    total = found.spreads[TOTAL]
    rate = f" ({1 / found.mean_s:.3f} steps/s)" if found.mean_s else ""
    lines = [
        line("total time", duration(total.total)),
        line("steps", str(total.count)),
        line("mean", duration(total.mean) + rate),
        line("median", duration(total.median)),
        line("std", deviation(total)),
        line("min", duration(total.min)),
        line("max", duration(total.max)),
        line("tokens", tokens(found)),
        line("FLOP/s", achieved(found)),
        line("MFU", utilization(settings, found)),
    ]
    return [*lines, *held(memory)]


def deviation(total: Spread) -> str:
    """Return the standard deviation of the steps."""
    if total.count == 1:
        return "not known from one step"
    return f"{duration(total.std)} ({percent(total.relative_std)} of the mean)"


def tokens(found: Figures) -> str:
    """Return the tokens of a step and of a second."""
    each = f"{found.tokens:,} per step"
    return f"{each}, {digits(found.tokens / found.mean_s)} per second" if found.mean_s else each


def achieved(found: Figures) -> str:
    """Return the model's FLOPs a second."""
    need = f"{scaled(found.flops, 'FLOP')} that the model needs a step"
    rate = found.flops_per_s
    return need if rate is None else f"{scaled(rate, 'FLOP/s')} ({need})"


def utilization(settings: Settings, found: Figures) -> str:
    """Return the MFU, or why there is none."""
    if found.mfu is None or found.peak is None:
        return f"no peak known for {device_name(settings.device)} in {found.number_format}"
    peak = scaled(found.peak_flops_per_s or 0.0, "FLOP/s")
    return (
        f"{percent(found.mfu)} of {peak}, the {found.number_format} peak of {found.peak.name} "
        f"({found.peak.cited})"
    )


def held(memory: Memory) -> list[str]:
    """Return the lines on the memory that was held."""
    resident = f"{byte_size(memory.rss_bytes)} resident, peak {byte_size(memory.peak_rss_bytes)}"
    if memory.allocated_bytes is None:
        what = "of the whole process; a CPU's allocator keeps no account"
        return [line("memory", f"{resident} ({what})")]
    return [
        line(
            "memory",
            f"{byte_size(memory.allocated_bytes)} allocated, "
            f"{byte_size(memory.reserved_bytes)} reserved, "
            f"peak {byte_size(memory.peak_bytes)} allocated during the timed steps",
        ),
        line("on the host", resident),
    ]


def byte_size(count: int | None) -> str:
    """Return bytes in the unit that suits them.

    >>> byte_size(3 * 2**20), byte_size(int(5.5 * 2**30))
    ('3.0 MiB', '5.50 GiB')
    """
    if count is None:
        return "-"
    return f"{count / 2**30:,.2f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"


def parts(found: Figures) -> Table:
    """Return the table of parts; they add up to the step."""
    whole = found.spreads[TOTAL].total
    rows = [
        {"part": part, **spread.cells("mean", "median", "std", "min", "max")}
        | {"share": spread.total / whole if whole else None}
        for part, spread in found.spreads.items()
    ]
    return Table("parts", columns_of(rows, names=list(rows[0])))


def estimate(found: Figures) -> str | None:
    """Return the older estimate of the backward beside the measured one, where both are known."""
    backward = found.spreads.get(names.BACKWARD)
    older, alone = found.backward_estimate_ns, found.forward_only
    if backward is None or older is None or alone is None:
        return None
    off = older / backward.mean - 1 if backward.mean else 0.0
    beside = f", {percent(abs(off))} {'more' if off > 0 else 'less'}" if off else ""
    return (
        f"backward     {duration(backward.mean)} measured; the older estimate, (forward + "
        f"backward) - forward alone, is {duration(found.passes_ns)} - {duration(alone.mean)} = "
        f"{duration(older)}{beside}: it counts the loss, and what forward keeps for autograd, as "
        f"backward (passes alone: {alone.count})"
    )


def show(settings: Settings, found: Figures, memory: Memory) -> None:
    """Print all figures of a run."""
    print()
    say_lines(results(settings, found, memory))
    print()
    analysis_cli.write_table(parts(found), "table", sys.stdout)
    if older := estimate(found):
        print()
        say_lines([older])
    sys.stdout.flush()
