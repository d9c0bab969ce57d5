"""Answers about layer times: a table each, with a heading that says what stands out."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from analysis.layers.groups import OTHER, TOTAL, Group, groups
from analysis.layers.records import ATTN, FFN
from analysis.layers.tables import QUESTIONS, Files, by_part
from analysis.show.render import duration, percent
from analysis.show.table import Table
from profiling.names import ATTENTION_CORE

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
