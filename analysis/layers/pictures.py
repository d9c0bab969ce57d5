"""Pictures of layer times: by layer, by part, and how they grow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.layers.groups import TOTAL, Group
from analysis.layers.records import ATTN, FFN
from analysis.show.pictures import (
    MILLI,
    doubling,
    draw_each,
    engineering_units,
    leave_room,
    plain,
    title,
    whole_numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW_LABELS: Final = 6
MOST: Final = 12
"""Configurations in the picture of parts; more would not be told apart."""


def draw(groups: Sequence[Group], folder: Path, about: str = "") -> list[Path]:
    """Write the pictures of layer times into a folder, which is made where it is missing.

    Args:
        groups: what is drawn.
        folder: where.
        about: which model it is of, in which number format, on what.

    Returns:
        The files: ``layers.png``, ``layer_parts.png``, ``layer_growth.png``.

    Raises:
        ReportError: matplotlib is not installed, or the folder cannot be written to.
    """
    return draw_each(folder, PICTURES, groups, about)


def _label(group: Group) -> str:
    return plain(f"{group.batch_size} x {group.input_len} {group.file}".strip())


def _layers(axes: Axes, groups: Sequence[Group], about: str = "") -> None:
    """Each layer: both halves, of the configuration that takes longest."""
    group = max(groups, key=lambda each: each.mean_ns(TOTAL))
    places = np.arange(group.layers)
    attn, ffn = (group.by_layer_ns(half).mean(axis=0) / 1e6 for half in (ATTN, FFN))
    error = group.by_layer_ns(TOTAL).std(axis=0) / 1e6
    axes.bar(places, attn, label="attention: norm, self-attention, residual")
    axes.bar(places, ffn, bottom=attn, yerr=error, label="FFN: norm, MLP, residual")
    axes.set(xlabel="layer", ylabel="mean time")
    axes.set_title(title("Layers", about, f"batch x length {_label(group)}"))
    whole_numbers(axes.xaxis)
    leave_room(axes, group.layers)
    engineering_units(axes.yaxis, "s", MILLI)


def _parts(axes: Axes, groups: Sequence[Group], about: str = "") -> None:
    """Each configuration, the smallest first: the undivided parts, stacked."""
    groups = groups[:MOST]
    undivided = [[part for part, _, whole in group.tree() if whole] for group in groups]
    bottom = np.zeros(len(groups))
    for name in dict.fromkeys(chain.from_iterable(undivided)):
        known = zip(groups, undivided, strict=True)
        times = np.array(
            [group.mean_ns(name) / 1e6 if name in has else 0.0 for group, has in known]
        )
        axes.bar(range(len(groups)), times, bottom=bottom, label=name)
        bottom = bottom + times
    slanted = 30 if len(groups) > FEW_LABELS else 0
    axes.set_xticks(range(len(groups)), [_label(group) for group in groups], rotation=slanted)
    axes.set(xlabel="batch x length", ylabel="mean time", title=title("Parts of a run", about))
    leave_room(axes, len(groups))
    engineering_units(axes.yaxis, "s", MILLI)


def _growth(axes: Axes, groups: Sequence[Group], about: str = "") -> None:
    """Time against tokens, both halves, on logarithmic axes."""
    for half, mark in ((ATTN, "o"), (FFN, "s"), (TOTAL, "^")):
        points = sorted(
            (group.batch_size * group.input_len, group.mean_ns(half) / 1e6) for group in groups
        )
        axes.plot(*zip(*points, strict=True), mark, label=half)
    doubling(axes, (group.batch_size * group.input_len for group in groups))
    axes.set(yscale="log", xlabel="tokens (batch times length)", ylabel="mean time")
    axes.set_title(title("Growth", about))
    engineering_units(axes.yaxis, "s", MILLI)


PICTURES: Final[dict[str, Callable[..., None]]] = {
    "layers.png": _layers,
    "layer_parts.png": _parts,
    "layer_growth.png": _growth,
}
