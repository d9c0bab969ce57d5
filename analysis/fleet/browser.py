"""The answer on many ranks for a browser: a heat map of ranks by steps, and all tables.

One file that needs no other, no network and no script: map and bars are SVG, names are text.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Float64, Int64
from analysis.fleet.tables import EXPOSED, heat
from analysis.measures.step_budget import PARTS
from analysis.show.render import column_title, duration, value_text

if TYPE_CHECKING:
    from analysis.fleet.fleet import Fleet
    from analysis.fleet.groups import Group
    from analysis.show.table import Table

LEVELS: Final = 10
LEVEL: Final = 0.05
"""Of the median rank's time: how much more each colour of the map stands for."""

MOST_CELLS: Final = 20_000
"""Where there are more, those of one colour that follow on one another are drawn as one."""

MAP_WIDTH: Final = 1100
WIDEST: Final = 56
"""Of the map, and of a cell at most, in pixels."""

LABEL_WIDTH: Final = 64
"""What the number of a step takes below the map."""

FEW_RANKS: Final = 40
"""Up to so many have room for higher rows."""

STYLE: Final = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c1c1c; --faint: #666; --line: #ddd; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181c; --ink: #e6e6e6; --faint: #999; --line: #333; }
}
body { background: var(--paper); color: var(--ink); font: 14px/1.5 system-ui, sans-serif;
  margin: 2rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
p, figcaption { color: var(--faint); } figure { margin: 0; overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.15rem 0.7rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
th.text, td.text { text-align: left; } div { overflow-x: auto; }
text { fill: var(--ink); font: 11px system-ui, sans-serif; }
rect { fill: #b8c4d6; } rect.none { fill: none; }
.l1 { fill: #e9d8a6; } .l2 { fill: #eccd86; } .l3 { fill: #efc066; } .l4 { fill: #f0b04c; }
.l5 { fill: #ee9b3a; } .l6 { fill: #e8842c; } .l7 { fill: #de6b22; } .l8 { fill: #cf501d; }
.l9 { fill: #bb361b; } .l10 { fill: #9b1d1d; }
.compute { fill: #3b7a57; } .communication { fill: #8a63b8; } .copies { fill: #3f78b5; }
.idle { fill: #c9a227; }
"""


def as_html(made: Fleet) -> str:
    """Return the answer as a page for a browser."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    title, *lines = made.heading.split("\n")
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta http-equiv="Content-Security-Policy" '
        f"content=\"default-src 'none'; style-src 'sha256-{digest}'\">",
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        *(f"<p>{escape(line)}</p>" for line in (*lines, *made.notes)),
        *(f"<p>left out: {escape(each.path)}: {escape(each.why)}</p>" for each in made.unread),
        *(part for group in made.groups for part in _of_group(group, len(made.groups))),
        *(part for table in made.tables for part in _table(table)),
        "</body></html>\n",
    ]
    # What is no ASCII, and half letters of file names, stand as references.
    return "\n".join(parts).encode("ascii", "xmlcharrefreplace").decode("ascii")


def _of_group(group: Group, groups: int) -> Iterator[str]:
    """Yield the heat map of a group, and the straggler's step beside the median's."""
    of = f", group {group.number}" if groups > 1 else ""
    yield f"<h2>What each rank did in each step, without communication{of}</h2>"
    yield from _heat_map(group)
    if not group.places or not group.cost_ns.any():
        return
    rank, column = (int(at) for at in np.unravel_index(group.cost_ns.argmax(), group.cost_ns.shape))
    name, step = group.ranks[rank].rank, int(group.steps[column])
    cost = duration(int(group.cost_ns[rank, column]))
    yield f"<h2>Step {step} of rank {escape(name)}, which cost the others {cost}{of}</h2>"
    yield from _bars(group, rank, column)


def _heat_map(group: Group) -> Iterator[str]:
    times = heat(group)
    levels = levels_of(times)
    wide = max(1, min(WIDEST, MAP_WIDTH // max(len(group.steps), 1)))
    high = 22 if len(group.ranks) <= FEW_RANKS else 14
    merged = levels.size > MOST_CELLS
    left, below = 90, len(group.ranks) * high
    size = (max(len(group.steps) * wide, 2 * WIDEST) + 100, below + 18)
    yield f'<figure><svg width="{size[0]}" height="{size[1]}" role="img">'
    for row, rank in enumerate(group.ranks):
        yield f'<text x="0" y="{row * high + high - 6}">rank {escape(rank.rank)}</text>'
        for first, last in _runs(levels[row], merged):
            level = int(levels[row, first])
            kind = "none" if level < 0 else f"l{level}"
            steps = f"step {group.steps[first]}"
            if last > first:
                steps += f" to {group.steps[last]}"
            told = "not there" if level < 0 else duration(float(times[row, first : last + 1].max()))
            yield (
                f'<rect class="{kind}" x="{left + first * wide}" y="{row * high}" '
                f'width="{(last - first + 1) * wide}" height="{high - 1}">'
                f"<title>rank {escape(rank.rank)}, {steps}: {told}</title></rect>"
            )
    apart = max(1, -(-LABEL_WIDTH // wide))
    for column in range(0, len(group.steps), apart):
        x = left + column * wide
        yield f'<text x="{x}" y="{below + 13}">step {group.steps[column]}</text>'
    yield (
        "</svg><figcaption>each colour from blue to red: 5 % more than the median rank took for "
        "the step</figcaption></figure>"
    )


def levels_of(times: Float64) -> Int64:
    """Return ``(R, S)`` the colour of each cell, from 0; -1 where a rank has no such step.

    >>> levels_of(np.array([[100.0, 1], [100, 1], [120, np.nan]])).tolist()
    [[0, 0], [0, 0], [4, -1]]
    """
    known = ~np.isnan(times)
    middle = np.array([np.median(column[column == column]) for column in times.T])
    more = np.where(known, times, 0) / np.maximum(middle, 1) - 1
    levels = np.floor(more / LEVEL + 1e-9).clip(0, LEVELS).astype(np.int64)
    return np.where(known, levels, -1)


def _runs(levels: Int64, merged: bool) -> Iterator[tuple[int, int]]:
    """Yield the first and the last of cells that are drawn as one."""
    starts = np.flatnonzero(np.append(True, levels[1:] != levels[:-1])[: len(levels)])
    if not merged:
        starts = np.arange(len(levels))
    yield from zip(starts.tolist(), [*(starts[1:] - 1).tolist(), len(levels) - 1], strict=True)


def _bars(group: Group, rank: int, column: int) -> Iterator[str]:
    """Yield a step of a rank and of the median rank, as bars of what it went into."""
    walls = group.wall_ns[:, column]
    order = np.argsort(np.where(np.isnan(walls), np.inf, walls), kind="stable")
    others = [at for at in order.tolist() if at != rank and not np.isnan(walls[at])]
    rows = [rank, *others[(len(others) - 1) // 2 :][:1]]
    longest = max(float(walls[at]) for at in rows)
    yield f'<figure><svg width="1000" height="{len(rows) * 26}" role="img">'
    for number, at in enumerate(rows):
        yield f'<text x="0" y="{number * 26 + 15}">rank {escape(group.ranks[at].rank)}</text>'
        x = 90.0
        for name, parts in EXPOSED.items():
            time = sum(float(group.parts_ns(PARTS.index(part))[at, column]) for part in parts)
            width, word = 900 * time / max(longest, 1), column_title(name)
            yield (
                f'<rect class="{word}" x="{x:.1f}" y="{number * 26}" width="{width:.1f}" '
                f'height="20"><title>{word}: {duration(time)}</title></rect>'
            )
            x += width
    yield "</svg><figcaption>"
    for word in map(column_title, EXPOSED):
        swatch = f'<rect class="{word}" width="10" height="10"></rect>'
        yield f'<svg width="10" height="10">{swatch}</svg> {word} &nbsp; '
    yield "below it the median of the other ranks</figcaption></figure>"


def _table(table: Table) -> Iterator[str]:
    """Yield a table, whole."""
    shown = [name for name in table.columns if name not in table.hidden]
    kinds = {name: is_text(table.columns[name]) for name in shown}
    yield f"<h2>{escape(table.name)}</h2><div><table><thead><tr>"
    yield "".join(f"<th{kinds[name]}>{escape(column_title(name))}</th>" for name in shown)
    yield "</tr></thead><tbody>"
    for row in table.rows():
        cells = (f"<td{kinds[name]}>{escape(value_text(name, row[name]))}</td>" for name in shown)
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table></div>"
    yield from (f"<p>note: {escape(note)}</p>" for note in table.notes)


def is_text(column: Sequence[str] | object) -> str:
    """Return the class of a column's cells."""
    return ' class="text"' if isinstance(column, list) else ""
