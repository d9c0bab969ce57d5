"""Pictures of `profiling.flash_benchmark`: rate and time by length, a file for each width."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from analysis.show.pictures import picture
from profiling.flash_benchmark_run import PRODUCTS, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Result = dict[str, Any]

TERA: Final = 1e12


def draw(results: Sequence[Result], folder: Path) -> list[Path]:
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
                _lines(axes, chosen, part)
                axes.set(xlabel="length", title=f"{part}, TFLOP/s", xscale="log")
                axes.set_ylim(bottom=0)
            axes.legend(fontsize="small")
        files.append(path)
    return files


def _lines(axes: Axes, chosen: Sequence[Result], part: str) -> None:
    for name in dict.fromkeys(result["implementation"] for result in chosen):
        points = sorted(
            (result["length"], _rate(result, part))
            for result in chosen
            if result["implementation"] == name
        )
        axes.plot(*zip(*points, strict=True), marker="o", label=name)


def _rate(result: Result, part: str) -> float:
    row = Row(**{name: result[name] for name in Row.__slots__})
    return PRODUCTS[part] * row.flops / (float(result[part][0]) / 1e9) / TERA
