"""Pictures of `profiling.flash_benchmark` and `profiling.attention_benchmark`, by length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from analysis.show.pictures import picture
from profiling.attention.rows import PRODUCTS, flops_per_s
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
    files = []
    for (dtype, width), timed in _grouped(
        [result for result in results if "both" in result], "dtype", "width"
    ).items():
        files.append(folder / f"flash-{dtype}-{width}.png")
        with picture(files[-1]) as figure:
            for axes, part in zip(figure.subplots(1, len(PRODUCTS)), PRODUCTS, strict=True):
                for (name,), line in _grouped(timed, "implementation").items():
                    rates = {each["length"]: flops_per_s(each, part) / TERA for each in line}
                    _plot(axes, rates, label=name)
                axes.set(xlabel="length", title=f"{part}, TFLOP/s", xscale="log")
                axes.set_ylim(bottom=0)
            axes.legend(fontsize="small")
    return files


def draw_attention_benchmark(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write ``attention-benchmark.png`` into a folder, where any row ended well.

    Raises:
        ReportError: it cannot be written.
    """
    done = [result for result in results if result["outcome"] == OK]
    if not done:
        return []
    styles, colours = (list(_grouped(done, name)) for name in ("implementation", "width"))
    path = folder / "attention-benchmark.png"
    with picture(path) as figure:
        for axes, (title, value) in zip(
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
            axes.set(xlabel="length", title=title, xscale="log", yscale="log")
        axes.legend(fontsize="small")
    return [path]


def _grouped(results: Sequence[Result], *names: str) -> dict[tuple[Any, ...], list[Result]]:
    """Return results by their values of some names, in order of appearance."""
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        groups.setdefault(tuple(result[name] for name in names), []).append(result)
    return groups


def _plot(axes: Axes, by_length: dict[int, float], **how: Any) -> None:
    lengths = sorted(by_length)
    axes.plot(lengths, [by_length[length] for length in lengths], marker="o", **how)
