"""Reading a page for a browser as the browser does: its blocks, its lanes, what a row says."""

import base64
import json
import zlib
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any, Final

BLOCKS: Final = ("tables", "head", "events")


class Blocks(HTMLParser):
    """The text of every element that has an id, and which elements there are."""

    def __init__(self) -> None:
        super().__init__()
        self.text: dict[str, list[str]] = {}
        self.tags: list[str] = []
        self.inside: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.inside = dict(attrs).get("id") if tag == "script" else None
        if self.inside is not None:
            self.text.setdefault(self.inside, [])

    def handle_endtag(self, tag: str) -> None:
        self.inside = None

    def handle_data(self, data: str) -> None:
        if self.inside is not None:
            self.text[self.inside].append(data)


@dataclass(frozen=True)
class Event:
    """A row of a lane, with all it says read out of the page."""

    name: str
    start: int
    duration: int
    more: dict[str, int]


@dataclass(frozen=True)
class ReadPage:
    """What a page holds.

    Attributes:
        tags: every element's.
        tables: the answers.
        head: what is told of the report.
        lanes: the rows of each lane of the head.
        packed_bytes: what the events take.
        names_bytes: what their names take.
    """

    tags: list[str]
    tables: dict[str, Any]
    head: dict[str, Any]
    lanes: list[list[Event]]
    packed_bytes: int
    names_bytes: int

    def events(self, kind: str) -> list[Event]:
        """Return the rows of all lanes of a kind."""
        kinds = (lane["kind"] for lane in self.head["lanes"])
        return [
            row for one, rows in zip(kinds, self.lanes, strict=True) if one == kind for row in rows
        ]

    def launching(self, event: Event) -> Event | None:
        """Return the call that started a piece of device work, None where that is not known."""
        lane = event.more["lane"]
        return self.lanes[lane - 1][event.more["call"]] if lane else None


def blocks_of(text: str) -> Blocks:
    """Return the elements of a page, built or filled."""
    parser = Blocks()
    parser.feed(text)
    return parser


def read_page(text: str) -> ReadPage:
    """Return what a page holds."""
    parser = blocks_of(text)
    tables, head, events = ("".join(parser.text[block]) for block in BLOCKS)
    payload, told = zlib.decompress(base64.b64decode(events)), json.loads(head)
    names_bytes = len(told["names"])
    told["names"] = json.loads(zlib.decompress(base64.b64decode(told["names"])))
    lanes = [rows_of(payload, told, lane) for lane in told["lanes"]]
    return ReadPage(parser.tags, json.loads(tables), told, lanes, len(events), names_bytes)


def rows_of(payload: bytes, head: dict[str, Any], lane: dict[str, Any]) -> list[Event]:
    """Return the rows of a lane: differences summed up, names looked up."""
    count = lane["count"]
    columns = {
        name: numbers(payload[offset : offset + width * count], width, count)
        for name, (offset, width) in lane["columns"].items()
    }
    rows = []
    start, call = int(head["origin_ns"]), -1
    for place in range(count):
        row = {name: column[place] for name, column in columns.items()}
        start += row.pop("start")
        if "call" in row:
            step = row["call"]
            call += 1 + (-(step + 1) // 2 if step % 2 else step // 2)
            row["call"] = call
        rows.append(Event(head["names"][row.pop("name")], start, row.pop("duration"), row))
    return rows


def numbers(part: bytes, width: int, count: int) -> list[int]:
    """Return the numbers of a column whose bytes stand in order of their weight."""
    return [
        sum(part[place + byte * count] << 8 * byte for byte in range(width))
        for place in range(count)
    ]
