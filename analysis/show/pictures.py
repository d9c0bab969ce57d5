"""Pictures: drawn by matplotlib where it is installed, and written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from analysis.show.errors import NotInstalled, ReportError, reason
from analysis.show.output import replacing

if TYPE_CHECKING:
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

    What is labelled gets a legend.

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
            axes = figure.subplots()
            fill(axes, *what)
            if axes.get_legend() is None and axes.get_legend_handles_labels()[0]:
                # Named: of its own default matplotlib warns where the search takes a second.
                axes.legend(loc="best")
    return [folder / name for name in fills]


@contextmanager
def picture(path: Path) -> Iterator[Figure]:
    """Yield an empty figure, and write what was drawn on it as a PNG.

    Raises:
        ReportError: the file cannot be written.
    """
    # Without pyplot: nothing looks for a screen, and nothing is left behind.
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, layout="constrained")
    yield figure
    with replacing(path) as draft:
        figure.savefig(draft, format="png", dpi=_DOTS_PER_INCH)
