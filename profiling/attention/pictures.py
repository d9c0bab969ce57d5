"""Pictures of `profiling.flash_benchmark` and `profiling.attention_benchmark`, by length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from analysis.show.pictures import picture
from profiling.attention.rows import PRODUCTS, FlashRow
from profiling.processes.attempts import OK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Result = dict[str, Any]

TERA: Final = 1e12

_LINE_STYLES: Final = ("-", "--", ":", "-.")
"""One for each implementation; a width has the same colour in all of them."""

_PANELS: Final[dict[str, Callable[[Result], float]]] = {
    "forward, ms": lambda result: fmean(result["forward_ns"]) / 1e6,
    "backward, ms": lambda result: fmean(result["backward_ns"]) / 1e6,
    "memory before backward, MiB": lambda result: float(result["memory_bytes"]) / 2**20,
}


def draw_flash_benchmark(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write ``flash-<dtype>-<width>.png`` for each width and dtype that has a time.

    Raises:
        ReportError: a file cannot be written.
    """
    timed = [result for result in results if "both" in result]
    files = []
    for dtype, width in dict.fromkeys((result["dtype"], result["width"]) for result in timed):
        chosen = [one for one in timed if (one["dtype"], one["width"]) == (dtype, width)]
        path = folder / f"flash-{dtype}-{width}.png"
        with picture(path) as figure:
            for axes, part in zip(figure.subplots(1, len(PRODUCTS)), PRODUCTS, strict=True):
                _rate_lines(axes, chosen, part)
                axes.set(xlabel="length", title=f"{part}, TFLOP/s", xscale="log")
                axes.set_ylim(bottom=0)
            axes.legend(fontsize="small")
        files.append(path)
    return files


def _rate_lines(axes: Axes, chosen: Sequence[Result], part: str) -> None:
    for name in dict.fromkeys(result["implementation"] for result in chosen):
        points = sorted(
            (result["length"], _rate(result, part))
            for result in chosen
            if result["implementation"] == name
        )
        axes.plot(*zip(*points, strict=True), marker="o", label=name)


def _rate(result: Result, part: str) -> float:
    row = FlashRow(**{name: result[name] for name in FlashRow.__slots__})
    return PRODUCTS[part] * row.flops / (float(result[part][0]) / 1e9) / TERA


def draw_attention_benchmark(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write ``attention-benchmark.png`` into a folder, where any row ended well.

    Raises:
        ReportError: it cannot be written.
    """
    done = [result for result in results if result["outcome"] == OK]
    if not done:
        return []
    path = folder / "attention-benchmark.png"
    with picture(path) as figure:
        for axes, (title, value) in zip(
            figure.subplots(1, len(_PANELS)), _PANELS.items(), strict=True
        ):
            _attention_lines(axes, done, value)
            axes.set(xlabel="length", title=title, xscale="log", yscale="log")
        axes.legend(fontsize="small")
    return [path]


def _attention_lines(axes: Axes, done: Sequence[Result], value: Callable[[Result], float]) -> None:
    implementations = list(dict.fromkeys(result["implementation"] for result in done))
    widths = list(dict.fromkeys(result["width"] for result in done))
    for number, implementation in enumerate(implementations):
        for place, width in enumerate(widths):
            points = sorted(
                (result["length"], value(result))
                for result in done
                if (result["implementation"], result["width"]) == (implementation, width)
            )
            if points:
                axes.plot(
                    *zip(*points, strict=True),
                    _LINE_STYLES[number % len(_LINE_STYLES)],
                    marker="o",
                    color=f"C{place}",
                    label=f"{implementation}, width {width}",
                )
