"""Pictures: drawn by matplotlib where it is installed, and written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Final

from analysis.show.errors import NotInstalled, ReportError, reason
from analysis.show.output import replacing
from analysis.show.sheet import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INCHES: Final = (10.0, 5.5)
_DOTS_PER_INCH: Final = 110


def make_folder(path: Path) -> None:
    """Make the folder that pictures go to, before the work that they will show is done.

    Raises:
        NotInstalled: matplotlib is not.
        ReportError: the folder cannot be made.
    """
    if find_spec("matplotlib") is None:
        raise NotInstalled("matplotlib")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"cannot be made ({reason(error)})"
        raise ReportError(path, problem, "name another folder") from None


def draw_each(folder: Path, fills: Mapping[str, Callable[..., None]], *what: object) -> list[Path]:
    """Write pictures into a folder, which is made where it is missing, and return the files.

    Args:
        folder: where.
        fills: by the name of each file, what draws on its axes.
        what: all of them draw, given to them after the axes.

    Raises:
        NotInstalled: matplotlib is not.
        ReportError: the folder cannot be written to.
    """
    make_folder(folder)
    for name, fill in fills.items():
        with picture(folder / name) as figure:
            fill(figure.subplots(), *what)
    return [folder / name for name in fills]


@contextmanager
def picture(path: Path) -> Iterator[Figure]:
    """Yield an empty figure, and write what was drawn on it as a PNG, with a legend below.

    Raises:
        ReportError: the file cannot be written.
    """
    # Without pyplot: nothing looks for a screen, and nothing is left behind.
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, layout="constrained")
    yield figure
    legend_below(figure)
    with replacing(path) as draft:
        figure.savefig(draft, format="png", dpi=_DOTS_PER_INCH)


MILLI: Final = 1e-3
MIB: Final = 2**20
LEGEND_COLUMNS: Final = 5
LEAST_BARS: Final = 4
LETTERS_OF_A_TITLE: Final = 100
FEW: Final = 30
"""Of values: fewer are points of their own, and no distribution."""

MOST_TICKS: Final = 10
_TICKS_OF_A_DECADE: Final = (1.0, 2.0, 5.0)


def legend_below(figure: Figure) -> None:
    """Give a figure one legend of all its axes, below them, where it hides nothing."""
    found = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if found:
        figure.legend(
            list(found.values()),
            list(found),
            loc="outside lower center",
            ncols=min(len(found), LEGEND_COLUMNS),
            fontsize="small",
            frameon=False,
            handlelength=3.5,  # or dashes do not show
        )


def title(what: str, *parts: str | None, device: str = "") -> str:
    """Return the title of a picture: what it shows, and of which model, number format and device.

    Args:
        what: it shows.
        parts: what it is of; those that are not known are "" or None.
        device: what that ran on; "" where that is not known.

    >>> title("Layers", "qwen3-0.6b", "", "bfloat16", device="NVIDIA H100")
    'Layers: qwen3-0.6b, bfloat16 on NVIDIA H100'
    """
    known = ", ".join(part for part in parts if part)
    of = " on ".join(part for part in (known, device) if part)
    text = plain(f"{what}: {of}" if of else what)
    return "\n".join(wrap(text, LETTERS_OF_A_TITLE))


def plain(name: str) -> str:
    """Return a name that matplotlib shows as it is.

    A dollar sign would begin a formula, an underscore at the start hide it from the legend, and a
    letter that the font has not be a box.
    """
    shown = name.encode("ascii", "backslashreplace").decode().replace("$", r"\$")
    return visible(f" {shown}" if shown.startswith("_") else shown)


def engineering_units(axis: Axis, unit: str, scale: float = 1.0) -> None:
    """Let the ticks of an axis have a unit with the prefix that suits them: 5.07 ms, 30 GFLOP/s.

    Args:
        axis: linear or logarithmic.
        unit: without a prefix.
        scale: what one is, in that unit; 1e-3 for milliseconds as ``s``.
    """
    from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

    shown = EngFormatter(unit)
    # Ten digits: what is a tenth of a tick off is the arithmetic's.
    axis.set_major_formatter(FuncFormatter(lambda value, _: shown(float(f"{value * scale:.10g}"))))
    if axis.get_scale() == "log":
        axis.set_major_locator(LogLocator(subs=_TICKS_OF_A_DECADE))
        axis.set_minor_formatter(NullFormatter())


def binary_units(axis: Axis) -> None:
    """Let an axis of MiB have ticks in the unit that suits the largest value."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    def shown(value: float, _: int | None) -> str:
        most = max(map(abs, axis.get_view_interval()))
        unit, size = next(
            (each for each in (("GiB", 1024.0), ("MiB", 1.0)) if most >= each[1]), ("KiB", 1 / 1024)
        )
        return f"{value / size:.4g} {unit}"

    axis.set_major_formatter(FuncFormatter(shown))
    if axis.get_scale() == "log":
        axis.set_major_locator(LogLocator(base=2))
        axis.set_minor_formatter(NullFormatter())


def whole_numbers(axis: Axis) -> None:
    """Let an axis of things that are counted have ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def doubling(axes: Axes, values: Iterable[int]) -> None:
    """Let the horizontal axis be logarithmic, with ticks at values that are measured, in full."""
    known = sorted(set(values))
    axes.set_xscale("log", base=2)
    ticks = known[:: -(-len(known) // MOST_TICKS)]
    axes.set_xticks(ticks, [f"{value:,}" for value in ticks])
    axes.set_xticks([], minor=True)


def leave_room(axes: Axes, bars: int) -> None:
    """Let few bars be no wider than many."""
    axes.set_xlim(-0.7, max(bars, LEAST_BARS) - 0.3)
