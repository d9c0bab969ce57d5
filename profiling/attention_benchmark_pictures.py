"""Pictures of `profiling.attention_benchmark`: times and memory by length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from analysis.show.pictures import picture
from profiling.memory_tables import DONE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Result = dict[str, Any]

_STYLES: Final = ("-", "--", ":", "-.")
"""One for each implementation; a width has the same colour in all of them."""

_PANELS: Final[dict[str, Callable[[Result], float]]] = {
    "forward, ms": lambda result: fmean(result["forward_ns"]) / 1e6,
    "backward, ms": lambda result: fmean(result["backward_ns"]) / 1e6,
    "memory before backward, MiB": lambda result: float(result["memory_bytes"]) / 2**20,
}


def draw(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write ``attention-benchmark.png`` into a folder, where any row ended well.

    Raises:
        ReportError: it cannot be written.
    """
    done = [result for result in results if result["outcome"] == DONE]
    if not done:
        return []
    path = folder / "attention-benchmark.png"
    with picture(path) as figure:
        for axes, (title, value) in zip(
            figure.subplots(1, len(_PANELS)), _PANELS.items(), strict=True
        ):
            _lines(axes, done, value)
            axes.set(xlabel="length", title=title, xscale="log", yscale="log")
        axes.legend(fontsize="small")
    return [path]


def _lines(axes: Axes, done: Sequence[Result], value: Callable[[Result], float]) -> None:
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
                    _STYLES[number % len(_STYLES)],
                    marker="o",
                    color=f"C{place}",
                    label=f"{implementation}, width {width}",
                )
