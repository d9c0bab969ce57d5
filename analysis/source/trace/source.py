"""A trace file, read in one pass: decompressed and parsed as it comes, one event in memory.

The events of a trace are an array inside the top-level object, with metadata before and after it.
The standard library's decoder takes them one by one out of a window of text: faster than an
event-driven parser (82 against 49 MB/s), and it forgives what PyTorch writes that is not JSON
(control characters in names, NaN).
"""

import codecs
import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, NoReturn, cast

from analysis.show.errors import CommandError

Progress = Callable[[int, int], None]
"""Told the bytes of the file read so far, and those there are."""

GZIP_MAGIC: Final = b"\x1f\x8b"
WINDOW_BYTES: Final = 1 << 20
LONGEST_STRING: Final = 16 << 20
LONGEST_LITERAL: Final = len("-Infinity")

METADATA: Final = frozenset(
    {
        "baseTimeNanoseconds",
        "deviceProperties",
        "distributedInfo",
        "schemaVersion",
        "toolkit_costs",
        "toolkit_payloads",
        "trace_id",
        "traceName",
    }
)
"""The top-level values that are kept; the others are read over."""

SPACE: Final = re.compile(r"[ \t\r\n]*")
NAME: Final = re.compile(r'("name": ")(.*?)(",\s*"pid": )')

# Fractions stay text: as a float, microseconds after the boot of the machine are off by 1 ns.
DECODER: Final = json.JSONDecoder(parse_float=str, strict=False)


class TraceError(CommandError):
    """A trace cannot be converted; the message is one line: what is wrong, and what to do."""


class TraceSource:
    """The events of one trace file, and its metadata once the events have been read."""

    def __init__(self, path: Path, progress: Progress | None = None) -> None:
        self.metadata: dict[str, object] = {}
        self._path = path
        self._progress = progress
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
        self._text = ""
        self._at = 0
        self._dropped = 0

    def events(self) -> Iterator[object]:
        """Yield each event of the trace, and fill ``metadata`` on the way.

        Raises:
            TraceError: the file cannot be read, is not JSON, is cut short, or is no trace.
        """
        try:
            with self._path.open("rb") as raw:
                self._open(raw)
                yield from self._document()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise TraceError(
                f"{self._path}: damaged or cut short ({error}); copy or record it again"
            ) from error
        except IsADirectoryError as error:
            raise TraceError(f"{self._path}: a directory; give the trace file in it") from error
        except FileNotFoundError as error:
            raise TraceError(f"{self._path}: no such file; check the path") from error
        except OSError as error:
            raise TraceError(f"{self._path}: cannot be read ({error.strerror})") from error

    def _open(self, raw: io.BufferedReader) -> None:
        self._raw = raw
        self._size = os.fstat(raw.fileno()).st_size
        compressed = raw.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC)
        self._bytes = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if compressed else raw

    def _document(self) -> Iterator[object]:
        first = self._peek()
        if not first:
            raise TraceError(f"{self._path}: empty; record the trace again")
        if first == "[":
            yield from self._array()
        elif first == "{":
            yield from self._object()
        else:
            self._malformed("no JSON object", self._at)
        if self._peek():
            self._malformed("more text after the end", self._at)

    def _object(self) -> Iterator[object]:
        found = False
        for _ in self._members("}"):
            if self._peek() != '"':
                self._malformed("a name in quotes expected", self._at)
            key = self._value()
            if self._peek() != ":":
                self._malformed("':' expected", self._at)
            self._at += 1
            if self._peek() == "[" and key == "traceEvents":
                found = True
                yield from self._array()
            elif key in METADATA:
                self.metadata[str(key)] = self._value()
            else:
                self._value()
        if not found:
            raise TraceError(
                f"{self._path}: JSON, but no trace: it has no traceEvents; "
                "give what torch.profiler's export_chrome_trace wrote"
            )

    def _array(self) -> Iterator[object]:
        for _ in self._members("]"):
            yield self._value()

    def _members(self, closing: str) -> Iterator[None]:
        """Step over brackets and commas; the caller takes each member in between."""
        self._at += 1
        following = self._peek()
        while following != closing:
            yield
            following = self._peek()
            if following == ",":
                self._at += 1
                following = self._peek()
            elif following != closing:
                self._malformed(f"',' or '{closing}' expected", self._at)
        self._at += 1

    def _peek(self) -> str:
        """Return the next character that is no space, or nothing at the end of the file."""
        while True:
            match = SPACE.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read(WINDOW_BYTES):
                return ""

    def _value(self) -> object:
        """Decode the value that starts here, reading on for as long as it is incomplete."""
        wanted = WINDOW_BYTES
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._incomplete(error):
                    if not self._read(wanted):
                        self._malformed("cut short", error.pos)
                    wanted *= 2
                elif not self._mend():
                    self._malformed(error.msg, error.pos)
            except (ValueError, RecursionError) as error:
                self._malformed(str(error), self._at)
            else:
                # A number at the edge of the window may have more digits behind it.
                if end < len(self._text) or not self._read(wanted):
                    self._at = end
                    return cast(object, value)

    def _incomplete(self, error: json.JSONDecodeError) -> bool:
        """Tell a value that the window cuts from one that no further text can complete."""
        missing = len(self._text) - error.pos
        if error.msg.startswith("Unterminated string"):
            return missing < LONGEST_STRING
        return missing < LONGEST_LITERAL

    def _mend(self) -> bool:
        """Escape the quotes in this event's name, which PyTorch writes as they are."""
        match = NAME.search(self._text, self._at)
        if match is None or '"' not in match[2] or "\\" in match[2]:
            return False
        name = match[2].replace('"', '\\"')
        self._text = self._text[: match.start(2)] + name + self._text[match.end(2) :]
        return True

    def _read(self, count: int) -> bool:
        """Add about ``count`` bytes to the window and drop what was parsed; False at the end."""
        chunk = self._bytes.read(count)
        text = self._decode(chunk, final=not chunk)
        if self._progress and self._raw.seekable():
            self._progress(self._raw.tell(), self._size)
        self._dropped += self._at
        self._text = self._text[self._at :] + text
        self._at = 0
        return bool(chunk)

    def _malformed(self, what: str, position: int) -> NoReturn:
        raise TraceError(
            f"{self._path}: not JSON, or cut short ({what}, at character "
            f"{self._dropped + position}); copy or record it again"
        )
