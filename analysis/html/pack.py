"""The page for a browser as one file: the built page, with what it shows put into it.

`page.html` is built from `web/`. It holds three blocks of data, which are filled in here:

* ``tables``, JSON: the answers (see `analysis.html.tables`);
* ``head``, JSON: what is told of the report, and what its lanes are; its names, of which a report
  with a number in each may have hundreds of thousands, are JSON deflated as the events are;
* ``events``, base64: the columns of all lanes, deflated (see `stored`).

JSON has every character that HTML could take for its own as an escape, and all that is not ASCII
too: so no name ends a block, and none is lost, be it half of a pair of surrogates.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from analysis.arithmetic.arrays import Int64
    from analysis.html.events import Events

VERSION: Final = 1
"""Of the form of the data; the page refuses another."""

BLOCKS: Final = ("TABLES", "HEAD", "EVENTS")
"""What stands in the built page, in double braces, where data goes."""

WIDTHS: Final = (1, 2, 4, 8)
"""The bytes that a number of a column may take."""

LEVEL: Final = 6
"""Of deflate: the next saves 1 % and takes twice the time."""

UNSAFE: Final = {ord(each): f"\\u{ord(each):04x}" for each in "<>&"}


def packed(head: Mapping[str, Any], events: Events, tables: Mapping[str, Any]) -> str:
    """Return the page, ASCII alone.

    Args:
        head: what is told of the report, in values that JSON has.
        events: what happened.
        tables: the answers by name, as `analysis.html.tables.as_records` makes them.
    """
    payload, lanes = payload_of([lane.columns for lane in events.lanes])
    described = [
        lane.described | {"columns": columns}
        for lane, columns in zip(events.lanes, lanes, strict=True)
    ]
    names = encoded(json.dumps(events.names).encode("ascii"))
    told = {**events.described, "names": names, "lanes": described}
    whole = {"version": VERSION, **head, **told}
    filled = dict(zip(BLOCKS, (as_json(tables), as_json(whole), encoded(payload)), strict=True))
    # One pass, so that nothing is read into what a name says.
    return re.sub("{{([A-Z]+)}}", lambda found: filled.get(found[1], found[0]), built_page())


@cache
def built_page() -> str:
    """Return the page as it was built, without data."""
    return resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")


def as_json(value: object) -> str:
    r"""Return JSON that can stand in HTML: ASCII, without a character that HTML takes for its own.

    >>> print(as_json({"name": "</script>é"}))
    {"name":"\u003c/script\u003e\u00e9"}
    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False).translate(UNSAFE)


def encoded(payload: bytes) -> str:
    """Return bytes deflated (with zlib's head, as ``DecompressionStream('deflate')`` reads)."""
    return base64.b64encode(zlib.compress(payload, LEVEL)).decode("ascii")


def payload_of(
    lanes: Sequence[Mapping[str, Int64]],
) -> tuple[bytes, list[dict[str, tuple[int, int]]]]:
    """Return the columns of lanes one after another, and where each stands.

    Args:
        lanes: the columns of each, whole numbers from 0.

    Returns:
        The bytes, and for each lane by column the offset of its first byte and the width of a
        number.
    """
    parts: list[bytes] = []
    places: list[dict[str, tuple[int, int]]] = []
    offset = 0
    for columns in lanes:
        place = {}
        for name, values in columns.items():
            width, part = stored(values)
            place[name] = (offset, width)
            offset += len(part)
            parts.append(part)
        places.append(place)
    return b"".join(parts), places


def stored(values: Int64) -> tuple[int, bytes]:
    r"""Return the width of a column's numbers, and its bytes: all lowest first, then the next.

    So ordered, bytes that are alike stand together, and deflate to little.

    >>> stored(np.array([1, 2, 259]))
    (2, b'\x01\x02\x03\x00\x00\x01')
    """
    most = int(values.max(initial=0))
    width = next(each for each in WIDTHS if most < 1 << 8 * each)
    numbers = np.ascontiguousarray(values, f"<u{width}").view(np.uint8)
    return width, numbers.reshape(-1, width).T.tobytes()
