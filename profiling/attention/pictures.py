"""Pictures of `profiling.flash_benchmark` and `profiling.attention_benchmark`, by length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from analysis.show.pictures import (
    MILLI,
    binary_units,
    doubling,
    engineering_units,
    picture,
    title,
)
from profiling.attention.rows import PRODUCTS, flops_per_s
from profiling.common.spread import Spread
from profiling.processes.attempts import OK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Result = dict[str, Any]

TERA: Final = 1e12

_LINE_STYLES: Final = ("-", "--", ":", "-.")
"""One for each implementation; a width has the same colour in all of them."""

Figures = tuple[float, float, float]
"""A median, and the ends of its spread; all three the same where there is none."""


def _milliseconds(times_ns: Sequence[float]) -> Figures:
    middle, low, high = (time / 1e6 for time in Spread.quantiles(times_ns))
    return middle, low, high


def _mebibytes(size: int) -> Figures:
    return size / 2**20, size / 2**20, size / 2**20


MEMORY: Final = "memory before backward"
_PANELS: Final[dict[str, Callable[[Result], Figures]]] = {
    "forward": lambda result: _milliseconds(result["forward_ns"]),
    "backward": lambda result: _milliseconds(result["backward_ns"]),
    MEMORY: lambda result: _mebibytes(result["memory_bytes"]),
}


def draw_flash_benchmark(results: Sequence[Result], folder: Path, device: str) -> list[Path]:
    """Write ``flash-<dtype>-<width>.png`` for each width and dtype that has a time.

    Args:
        results: rows as they are measured.
        folder: it is there.
        device: the name of what they were measured on.

    Raises:
        ReportError: a file cannot be written.
    """
    files = []
    for (dtype, width), timed in _grouped(
        [result for result in results if "both" in result], "dtype", "width"
    ).items():
        files.append(folder / f"flash-{dtype}-{width}.png")
        with picture(files[-1]) as figure:
            for axes, part in zip(figure.subplots(1, len(PRODUCTS)), PRODUCTS, strict=True):
                for (name,), line in _grouped(timed, "implementation").items():
                    rates = {each["length"]: _rates(each, part) for each in line}
                    _plot(axes, rates, label=name)
                doubling(axes, (each["length"] for each in timed))
                axes.set(xlabel="length", title=part, ylim=(0, None))
                axes.tick_params("x", rotation=45)
                engineering_units(axes.yaxis, "FLOP/s", TERA)
            figure.suptitle(title("Attention", f"width {width}", dtype, device=device))
    return files


def draw_attention_benchmark(results: Sequence[Result], folder: Path, device: str) -> list[Path]:
    """Write ``attention-benchmark.png`` into a folder, where any row ended well.

    Args:
        results: rows as they are measured.
        folder: it is there.
        device: the name of what they were measured on.

    Raises:
        ReportError: it cannot be written.
    """
    done = [result for result in results if result["outcome"] == OK]
    if not done:
        return []
    styles, colours = (list(_grouped(done, name)) for name in ("implementation", "width"))
    path = folder / "attention-benchmark.png"
    with picture(path) as figure:
        for axes, (what, value) in zip(
            figure.subplots(1, len(_PANELS)), _PANELS.items(), strict=True
        ):
            for (name, width), line in _grouped(done, "implementation", "width").items():
                _plot(
                    axes,
                    {each["length"]: value(each) for each in line},
                    linestyle=_LINE_STYLES[styles.index((name,)) % len(_LINE_STYLES)],
                    color=f"C{colours.index((width,))}",
                    label=f"{name}, width {width}",
                )
            doubling(axes, (each["length"] for each in done))
            axes.set(xlabel="length", title=what, yscale="log")
            axes.tick_params("x", rotation=45)
            if what == MEMORY:
                binary_units(axes.yaxis)
            else:
                engineering_units(axes.yaxis, "s", MILLI)
        figure.suptitle(title("Attention", _formats(done), device=device))
    return [path]


def _formats(results: Sequence[Result]) -> str:
    """Return the number formats of results."""
    return ", ".join(dict.fromkeys(str(result["dtype"]) for result in results))


def _grouped(results: Sequence[Result], *names: str) -> dict[tuple[Any, ...], list[Result]]:
    """Return results by their values of some names, in order of appearance."""
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        groups.setdefault(tuple(result[name] for name in names), []).append(result)
    return groups


def _rates(result: Result, part: str) -> Figures:
    """Return the rate of a part at its median time, and at the times four fifths lie between."""
    middle, low, high = (
        flops_per_s({**result, part: [time]}, part) / TERA for time in result[part]
    )
    return middle, high, low  # the longer it took, the lower the rate


def _plot(axes: Axes, by_length: dict[int, Figures], **how: Any) -> None:
    """Draw medians by length with bars from the 10th to the 90th percentile."""
    lengths = sorted(by_length)
    figures = [by_length[length] for length in lengths]
    middles = [middle for middle, _, _ in figures]
    below = [middle - low for middle, low, _ in figures]
    above = [high - middle for middle, _, high in figures]
    axes.errorbar(lengths, middles, yerr=(below, above), marker="o", capsize=2, **how)
