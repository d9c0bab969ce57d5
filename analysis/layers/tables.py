"""Layer times as tables: by configuration, by layer, by part, and how they grow.

The heading of the configurations says what stands out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from analysis.arithmetic.statistics import deviation
from analysis.layers.groups import OTHER, TOTAL, Group, groups, ratio
from analysis.layers.records import ATTN, FFN, Run
from analysis.show.render import duration, percent
from analysis.show.table import Table, columns_of
from profiling.names import ATTENTION_CORE

Files = Mapping[str, Sequence[Run]]
"""Runs by the name of the file they are from."""


_GROWTH: Final = (
    *("file", "part", "along", "held", "from", "to", "points", "exponent", "from_ns", "to_ns"),
    "source",
)
_GROWS: Final = "Growth: time = c * size ** exponent, between the sizes named"
_ONE_SIZE: Final = "nothing grows: no two configurations differ in the batch or the length alone"


def summary(files: Files) -> Table:
    """Return each configuration: mean, spread, attention against FFN, slowest layer, bottleneck.

    Returns:
        ``file, batch_size, input_len, layers, runs, mean_ns, std_ns, min_ns, max_ns, attn_ns,
        ffn_ns, other_ns, attn_share, ffn_share, other_share, slowest_layer, slowest_ns, bottleneck,
        bottleneck_share, source``. Times are means over the runs; ``other`` is in no layer. A
        configuration of layers that were not all timed by the GPU has its times from the host.
    """
    rows = []
    for group in groups(files):
        totals = group.part_ns(TOTAL)
        layer, layer_ns = group.slowest()
        part = group.bottleneck()
        rows.append(
            {
                **_key(group),
                "layers": group.layers,
                "runs": len(group.runs),
                "mean_ns": group.mean_ns(TOTAL),
                "std_ns": deviation(totals),
                "min_ns": int(totals.min()),
                "max_ns": int(totals.max()),
                **{f"{name}_ns": group.mean_ns(name) for name in (ATTN, FFN, OTHER)},
                **{f"{name}_share": group.share(name) for name in (ATTN, FFN, OTHER)},
                "slowest_layer": layer,
                "slowest_ns": layer_ns,
                "bottleneck": part,
                "bottleneck_share": group.share(part),
                "source": group.source,
            }
        )
    hidden = ("min_ns", "max_ns", "attn_ns", "ffn_ns", "other_ns", "slowest_ns", "source")
    in_heading = ("bottleneck", "bottleneck_share")  # by sentences above the table
    heading = "\n".join(["Configurations", *_sentences(files)])
    droppable = ("layers", "runs")
    return _table("layers_configurations", heading, rows, files, droppable, (*hidden, *in_heading))


def by_layer(files: Files) -> Table:
    """Return the times of every layer of each configuration.

    Returns:
        ``file, batch_size, input_len, layer, runs, mean_ns, std_ns, attn_ns, attn_std_ns, ffn_ns,
        ffn_std_ns, share, source``; the share is of the whole run.
    """
    rows = [
        {
            **_key(group),
            "layer": layer,
            "runs": len(group.runs),
            "mean_ns": float(both.mean()),
            "std_ns": deviation(both),
            "attn_ns": float(attn.mean()),
            "attn_std_ns": deviation(attn),
            "ffn_ns": float(ffn.mean()),
            "ffn_std_ns": deviation(ffn),
            "share": ratio(float(both.mean()), group.mean_ns(TOTAL)),
            "source": group.source,
        }
        for group in groups(files)
        for layer, (both, attn, ffn) in enumerate(
            zip(*(group.by_layer_ns(part).T for part in (TOTAL, ATTN, FFN)), strict=True)
        )
    ]
    droppable = ("runs", "attn_std_ns", "ffn_std_ns")
    return _table("layers", "Layers", rows, files, droppable)


def by_part(files: Files) -> Table:
    """Return the times of the parts of each configuration, all layers together.

    Returns:
        ``file, batch_size, input_len, part, within, mean_ns, std_ns, share, cpu_ns, gpu_ns,
        source``. ``mean_ns`` is the source's; ``gpu_ns`` is NaN where no GPU was timed.
    """
    rows = [
        {
            **_key(group),
            "part": part,
            "within": within,
            "mean_ns": group.mean_ns(part),
            "std_ns": deviation(group.part_ns(part)),
            "share": group.share(part),
            "cpu_ns": group.mean_ns(part, "cpu"),
            "gpu_ns": group.mean_ns(part, "gpu") if group.source == "gpu" else float("nan"),
            "source": group.source,
        }
        for group in groups(files)
        for part, within, _ in group.tree()
    ]
    heading = "Parts, all layers together"
    return _table("layers_parts", heading, rows, files, ("std_ns", "gpu_ns", "cpu_ns"))


def growth(files: Files) -> Table:
    """Return how the time of each part grows with the batch and with the length.

    The exponent is the slope of a straight line through log time over log size, by least squares:
    1 doubles when the size doubles, 2 quadruples. It holds between the two sizes named, and
    between no others.

    Returns:
        ``file, part, along, held, from, to, points, exponent, from_ns, to_ns, source``; ``along``
        is what grew, ``held`` what did not.
    """
    rows = []
    for along, held in (("input_len", "batch_size"), ("batch_size", "input_len")):
        lines: dict[tuple[object, ...], list[Group]] = {}
        for group in groups(files):
            key = (group.file, group.layers, group.source, getattr(group, held))
            lines.setdefault(key, []).append(group)
        for line in lines.values():
            if len(line) > 1:
                fixed = f"{held} {getattr(line[0], held)}"
                rows += [_grown(line, part, along, fixed) for part in _common(line)]
    if not rows:
        return Table(
            "layers_growth", {column: [] for column in _GROWTH}, _GROWS, notes=(_ONE_SIZE,)
        )
    return _table("layers_growth", _GROWS, rows, files, ("points", "from_ns"))


def _common(line: Sequence[Group]) -> list[str]:
    """Return the parts that all of these have."""
    trees = [[part for part, _, _ in group.tree()] for group in line]
    return [TOTAL, *(part for part in trees[0] if all(part in tree for tree in trees))]


def _grown(line: Sequence[Group], part: str, along: str, fixed: str) -> dict[str, Any]:
    sizes = np.array([getattr(group, along) for group in line], np.float64)
    times = np.array([group.mean_ns(part) for group in line])
    return {
        "file": line[0].file,
        "part": part,
        "along": along,
        "held": fixed,
        "from": int(sizes.min()),
        "to": int(sizes.max()),
        "points": len(line),
        "exponent": exponent(sizes.tolist(), times.tolist()),
        "from_ns": float(times[sizes.argmin()]),
        "to_ns": float(times[sizes.argmax()]),
        "source": line[0].source,
    }


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Return k of the best time = c * size**k; NaN where a time is not positive.

    >>> round(exponent([128, 256, 512], [1, 4, 16]), 6)
    2.0
    """
    if min(times) <= 0:
        return float("nan")
    x, y = np.log(sizes), np.log(times)
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / (x * x).sum())


QUESTIONS: Final[dict[str, Callable[[Files], Table]]] = {
    "configuration": summary,
    "part": by_part,
    "growth": growth,
    "layer": by_layer,
}
"""What can be asked, by the word of ``--by``."""

_MAIN: Final = (TOTAL, ATTN, ATTENTION_CORE, FFN, OTHER)
"""The parts whose growth is worth a look before all others."""


def _longest(files: Files) -> list[Group]:
    """Return the configuration of each file that takes longest."""
    known = groups(files)
    of_files = ((group for group in known if group.file == file) for file in files)
    return [max(those, key=lambda group: group.mean_ns(TOTAL)) for those in of_files]


def _sentences(files: Files) -> list[str]:
    """Say which layer and which part to look at, of the longest configuration of each file."""
    lines = []
    for group in _longest(files):
        part = group.bottleneck()
        inside = group.within_attention() if part == ATTN else None
        of_it = f" ({inside} {percent(group.share(inside))})" if inside else ""
        layer, layer_ns = group.slowest()
        where = f"{group.file}: " if len(files) > 1 else ""
        lines.append(
            f"{where}batch {group.batch_size}, length {group.input_len}: {part} takes "
            f"{percent(group.share(part))} of the run{of_it}; layer {layer} is the slowest of "
            f"{group.layers} ({duration(layer_ns)}); times of the {group.source.upper()}"
        )
    return lines


def in_brief(files: Files) -> list[Table]:
    """Return what a person sees first: of the parts and of their growth what matters most."""
    parts = by_part({group.file: group.runs for group in _longest(files)})
    heading = f"{parts.heading}, of the configuration that takes longest"
    grown = growth(files)
    main = np.array([row["part"] in _MAIN for row in grown.rows()], np.bool_)
    return [summary(files), replace(parts, heading=heading), grown.take(np.flatnonzero(main))]


def _key(group: Group) -> dict[str, Any]:
    return {name: getattr(group, name) for name in ("file", "batch_size", "input_len")}


def _table(
    name: str,
    heading: str,
    rows: Sequence[Mapping[str, Any]],
    files: Files,
    droppable: tuple[str, ...],
    hidden: tuple[str, ...] = ("source",),
) -> Table:
    one_file = () if len(files) > 1 else ("file",)
    return Table(name, columns_of(rows), heading, droppable=droppable, hidden=(*one_file, *hidden))
