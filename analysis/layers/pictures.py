"""Pictures of layer times: by layer, by part, and how they grow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.layers.groups import TOTAL, Group
from analysis.layers.records import ATTN, FFN
from analysis.show.pictures import draw_each

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST: Final = 12
"""Configurations in the picture of parts; more would not be told apart."""


def draw(groups: Sequence[Group], folder: Path) -> list[Path]:
    """Write the pictures of layer times into a folder, which is made where it is missing.

    Returns:
        The files: ``layers.png``, ``layer_parts.png``, ``layer_growth.png``.

    Raises:
        ReportError: matplotlib is not installed, or the folder cannot be written to.
    """
    return draw_each(folder, PICTURES, groups)


def _label(group: Group) -> str:
    # A dollar sign in a name would begin a formula.
    return f"{group.batch_size} x {group.input_len} {group.file}".strip().replace("$", r"\$")


def _layers(axes: Axes, groups: Sequence[Group]) -> None:
    """Each layer: both halves, of the configuration that takes longest."""
    group = max(groups, key=lambda each: each.mean_ns(TOTAL))
    places = np.arange(group.layers)
    attn, ffn = (group.by_layer_ns(half).mean(axis=0) / 1e6 for half in (ATTN, FFN))
    error = group.by_layer_ns(TOTAL).std(axis=0) / 1e6
    axes.bar(places, attn, label="attention: norm, self-attention, residual")
    axes.bar(places, ffn, bottom=attn, yerr=error, label="FFN: norm, MLP, residual")
    axes.set(xlabel="layer", ylabel="ms", title=f"Layers, batch x length {_label(group)}")


def _parts(axes: Axes, groups: Sequence[Group]) -> None:
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
    axes.set_xticks(range(len(groups)), [_label(group) for group in groups], rotation=30)
    axes.set(xlabel="batch x length", ylabel="ms", title="Parts of a run")


def _growth(axes: Axes, groups: Sequence[Group]) -> None:
    """Time against tokens, both halves, on logarithmic axes."""
    for half, mark in ((ATTN, "o"), (FFN, "s"), (TOTAL, "^")):
        points = sorted(
            (group.batch_size * group.input_len, group.mean_ns(half) / 1e6) for group in groups
        )
        axes.plot(*zip(*points, strict=True), mark, label=half)
    axes.set(xscale="log", yscale="log")
    axes.set(xlabel="tokens (batch times length)", ylabel="ms", title="Growth")


PICTURES: Final[dict[str, Callable[..., None]]] = {
    "layers.png": _layers,
    "layer_parts.png": _parts,
    "layer_growth.png": _growth,
}
