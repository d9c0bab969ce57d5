"""Layer times as tables: by configuration, by layer, by part, and how they grow.

Each has a heading that says what stands out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from analysis.layers.groups import OTHER, TOTAL, Group, deviation, groups, ratio
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
_ONE_SIZE: Final = "nothing grows: no two configurations differ in the batch or the length alone"


def summary(files: Files) -> Table:
    """Return each configuration: mean, spread, attention against FFN, slowest layer, bottleneck.

    Returns:
        ``file, batch_size, input_len, layers, runs, mean_ns, std_ns, min_ns, max_ns, attn_ns,
        ffn_ns, other_ns, attn_share, ffn_share, other_share, slowest_layer, slowest_ns, bottleneck,
        bottleneck_share, source``. Times are means over the runs; ``other`` is in no layer. A
        configuration of layers that were not all timed by the GPU has its times from the host.
    """
    rows = [_configuration(group) for group in groups(files)]
    hidden = ("min_ns", "max_ns", "attn_ns", "ffn_ns", "other_ns", "slowest_ns", "source")
    in_heading = ("bottleneck", "bottleneck_share")  # by sentences above the table
    return _table("layer_configurations", rows, files, ("layers", "runs"), (*hidden, *in_heading))


def _configuration(group: Group) -> dict[str, Any]:
    totals = group.totals_ns
    mean = float(totals.mean())
    parts = {name: float(group.part_ns(name).mean()) for name in (ATTN, FFN, OTHER)}
    layer, layer_ns = group.slowest()
    part, share = group.bottleneck()
    return {
        **_key(group),
        "layers": group.layers,
        "runs": len(group.runs),
        "mean_ns": mean,
        "std_ns": deviation(totals),
        "min_ns": int(totals.min()),
        "max_ns": int(totals.max()),
        **{f"{name}_ns": value for name, value in parts.items()},
        **{f"{name}_share": ratio(value, mean) for name, value in parts.items()},
        "slowest_layer": layer,
        "slowest_ns": layer_ns,
        "bottleneck": part,
        "bottleneck_share": share,
        "source": group.source,
    }


def by_layer(files: Files) -> Table:
    """Return the times of every layer of each configuration.

    Returns:
        ``file, batch_size, input_len, layer, runs, mean_ns, std_ns, attn_ns, attn_std_ns, ffn_ns,
        ffn_std_ns, share, source``; the share is of the whole run.
    """
    rows = [row for group in groups(files) for row in _layers(group)]
    return _table("layers", rows, files, ("runs", "attn_std_ns", "ffn_std_ns"), ("source",))


def _layers(group: Group) -> list[dict[str, Any]]:
    whole = float(group.totals_ns.mean())
    both, attn, ffn = (group.by_layer_ns(part) for part in (TOTAL, ATTN, FFN))
    return [
        {
            **_key(group),
            "layer": layer,
            "runs": len(group.runs),
            "mean_ns": float(both[:, layer].mean()),
            "std_ns": deviation(both[:, layer]),
            "attn_ns": float(attn[:, layer].mean()),
            "attn_std_ns": deviation(attn[:, layer]),
            "ffn_ns": float(ffn[:, layer].mean()),
            "ffn_std_ns": deviation(ffn[:, layer]),
            "share": ratio(float(both[:, layer].mean()), whole),
            "source": group.source,
        }
        for layer in range(group.layers)
    ]


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
            "mean_ns": float(group.part_ns(part).mean()),
            "std_ns": deviation(group.part_ns(part)),
            "share": ratio(float(group.part_ns(part).mean()), float(group.totals_ns.mean())),
            "cpu_ns": float(group.part_ns(part, "cpu").mean()),
            "gpu_ns": float(group.part_ns(part, "gpu").mean())
            if group.source == "gpu"
            else float("nan"),
            "source": group.source,
        }
        for group in groups(files)
        for part, within, _ in group.tree()
    ]
    return _table("layer_parts", rows, files, ("std_ns", "gpu_ns", "cpu_ns"), ("source",))


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
        return Table("layer_growth", {column: [] for column in _GROWTH}, notes=(_ONE_SIZE,))
    return _table("layer_growth", rows, files, ("points", "from_ns"), ("source",))


def _common(line: Sequence[Group]) -> list[str]:
    """Return the parts that all of these have."""
    trees = [[part for part, _, _ in group.tree()] for group in line]
    return [TOTAL, *(part for part in trees[0] if all(part in tree for tree in trees))]


def _grown(line: Sequence[Group], part: str, along: str, fixed: str) -> dict[str, Any]:
    sizes = np.array([getattr(group, along) for group in line], np.float64)
    times = np.array([group.part_ns(part).mean() for group in line])
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

_HEADINGS: Final = {
    "configuration": "Configurations",
    "part": "Parts, all layers together",
    "growth": "Growth: time = c * size ** exponent, between the sizes named",
    "layer": "Layers",
}


def answer(question: str, files: Files) -> Table:
    """Return the answer to one question of `QUESTIONS`, with its heading."""
    heading = _HEADINGS[question]
    if question == "configuration":
        heading = "\n".join([heading, *_sentences(files)])
    return replace(QUESTIONS[question](files), heading=heading)


def _longest(files: Files) -> list[Group]:
    """Return the configuration of each file that takes longest."""
    known = groups(files)
    return [
        max(
            (group for group in known if group.file == file),
            key=lambda group: float(group.totals_ns.mean()),
        )
        for file in files
    ]


def _sentences(files: Files) -> list[str]:
    """Say which layer and which part to look at, of the longest configuration of each file."""
    lines = []
    for group in _longest(files):
        part, share = group.bottleneck()
        layer, layer_ns = group.slowest()
        where = f"{group.file}: " if len(files) > 1 else ""
        lines.append(
            f"{where}batch {group.batch_size}, length {group.input_len}: {part} takes "
            f"{percent(share)} of the run{_inside(group, part)}; layer {layer} is the slowest of "
            f"{group.layers} ({duration(layer_ns)}); times of the {group.source.upper()}"
        )
    return lines


def _inside(group: Group, part: str) -> str:
    """Say what of attention takes longest, where it is attention that does and it is divided."""
    longest = group.within_attention() if part == ATTN else None
    return f" ({longest[0]} {percent(longest[1])})" if longest else ""


def in_brief(files: Files) -> list[Table]:
    """Return what a person sees first: of the parts and of their growth what matters most."""
    parts, grown = answer("part", files), answer("growth", files)
    longest = {group.file: group.runs for group in _longest(files)}
    parts = replace(
        by_part(longest), heading=f"{parts.heading}, of the configuration that takes longest"
    )
    main = np.array([row["part"] in _MAIN for row in grown.rows()], np.bool_)
    return [answer("configuration", files), parts, grown.take(np.flatnonzero(main))]


def _key(group: Group) -> dict[str, Any]:
    return {
        "file": group.file,
        "batch_size": group.batch_size,
        "input_len": group.input_len,
    }


def _table(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    files: Files,
    droppable: tuple[str, ...],
    hidden: tuple[str, ...],
) -> Table:
    one_file = () if len(files) > 1 else ("file",)
    return Table(name, columns_of(rows), droppable=droppable, hidden=(*one_file, *hidden))
