"""All results of an output folder in files small enough to be carried: evidence.tar.xz.00, .01, ….

Each result is a stream of its own in them, compressed once and kept, so packing again after every
step costs little. Joined they are one archive, which ``cat evidence.tar.xz.* | tar -xJ`` unpacks
too. What there is no room for is left out, the largest first, and told.
"""

import hashlib
import json
import lzma
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Final

PACKED: Final = "evidence.tar.xz"
MANIFEST: Final = "evidence-manifest.json"
"""The last file of the archive: the names, sizes and SHA-256 of all, and what was left out."""

MIB: Final = 2**20
PART_MIB: Final = 15.0
PARTS: Final = 8
_PRESET: Final = 6
_RESERVED_BYTES: Final = MIB
"""Room for the state and the manifest, which are packed last."""

_CACHE: Final = ".packed"
_THREADS: Final = 8


@dataclass(frozen=True)
class Packed:
    """One result, as a stream of the archive.

    Attributes:
        name: in the output folder.
        bytes: as it lies there.
        sha256: of that.
        stream: the file that holds it compressed.
    """

    name: str
    bytes: int
    sha256: str
    stream: Path


@dataclass(frozen=True)
class Room:
    """Where the parts go, how large each may be, and how many there may be."""

    folder: Path
    part_bytes: int = int(PART_MIB * MIB)
    parts: int = PARTS

    @property
    def bytes(self) -> int:
        """What there is room for in all."""
        return self.part_bytes * self.parts


def results(out: Path) -> list[Path]:
    """Return the results in an output folder: every file but hidden ones and packed ones."""
    found = []
    for path in sorted(out.rglob("*")):
        inside = path.relative_to(out)
        hidden = any(part.startswith(".") for part in inside.parts)
        draft = path.name.startswith(PACKED) or path.name.endswith(".part")
        if path.is_file() and not path.is_symlink() and not hidden and not draft:
            found.append(path)
    return found


def pack(out: Path, room: Room, last: Path, told: Callable[[list[str]], None]) -> list[Path]:
    """Pack all results, and return the parts.

    Args:
        out: holds the results.
        room: for the parts.
        last: a result that tells what was left out; it is always packed.
        told: called with what is left out, before ``last`` is packed.
    """
    cache = out / _CACHE
    cache.mkdir(exist_ok=True)
    paths = [path for path in results(out) if path != last]
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        packed = list(pool.map(lambda path: _compressed(path, out, cache), paths))
    free = room.bytes - min(_RESERVED_BYTES, room.bytes // 4)
    chosen, left_out = _fitting(packed, free)
    told(left_out)
    chosen.append(_compressed(last, out, cache))
    kept = {each.stream for each in (*packed, *chosen)}
    for stale in set(cache.iterdir()) - kept:
        stale.unlink()
    return _write(chosen, left_out, room)


def _fitting(packed: Sequence[Packed], free: int) -> tuple[list[Packed], list[str]]:
    """Return what there is room for, the smallest first, and the names of the rest."""
    chosen: list[Packed] = []
    left_out: list[str] = []
    for each in sorted(packed, key=lambda each: each.stream.stat().st_size):
        free -= each.stream.stat().st_size
        if free >= 0:
            chosen.append(each)
        else:
            left_out.append(f"{each.name} ({each.bytes:,} bytes)")
    return chosen, left_out


def _compressed(path: Path, out: Path, cache: Path) -> Packed:
    """Compress one result, unless that was done before and it is unchanged."""
    name, status = path.relative_to(out).as_posix(), path.stat()
    key = hashlib.sha256(name.encode()).hexdigest()[:20]
    stem = f"{key}-{status.st_size}-{status.st_mtime_ns}-"
    for found in cache.glob(f"{stem}*.xz"):
        return Packed(name, status.st_size, found.stem.removeprefix(stem), found)
    draft, digest = cache / f"{key}.part", hashlib.sha256()
    with path.open("rb") as file, lzma.open(draft, "wb", preset=_PRESET) as stream:
        # Not more of it than its header says, should somebody still be writing.
        stream.write(_header(name, status.st_size, int(status.st_mtime)))
        for piece in _pieces(file, status.st_size):
            digest.update(piece)
            stream.write(piece)
        stream.write(bytes(-status.st_size % tarfile.BLOCKSIZE))
    made = cache / f"{stem}{digest.hexdigest()}.xz"
    os.replace(draft, made)
    return Packed(name, status.st_size, digest.hexdigest(), made)


def _header(name: str, size: int, time_s: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mtime = size, time_s
    return info.tobuf(tarfile.PAX_FORMAT)


def _pieces(file: IO[bytes], size: int) -> Iterator[bytes]:
    while size > 0:
        piece = file.read(min(size, MIB)) or bytes(min(size, MIB))
        size -= len(piece)
        yield piece


def _write(chosen: Sequence[Packed], left_out: list[str], room: Room) -> list[Path]:
    room.folder.mkdir(parents=True, exist_ok=True)
    parts = _Parts(room)
    for each in chosen:
        with each.stream.open("rb") as stream:
            shutil.copyfileobj(stream, parts, MIB)
    files = {each.name: {"bytes": each.bytes, "sha256": each.sha256} for each in chosen}
    text = json.dumps({"files": files, "left_out": left_out}, indent=1).encode()
    end = _header(MANIFEST, len(text), 0) + text + bytes(-len(text) % tarfile.BLOCKSIZE)
    parts.write(lzma.compress(end + bytes(2 * tarfile.BLOCKSIZE), preset=_PRESET))
    return parts.publish()


class _Parts:
    """Files of a limited size, written one after the other, that get their names at the end."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._files: list[Path] = []
        self._left = 0

    def write(self, data: bytes) -> int:
        """Append to the last part, and open another where that is full."""
        source = BytesIO(data)
        while piece := source.read(self._left or self._room.part_bytes):
            if not self._left:
                number = len(self._files)
                self._files.append(self._room.folder / f"{PACKED}.{number:02}.part")
                self._files[-1].write_bytes(b"")
                self._left = self._room.part_bytes
            with self._files[-1].open("ab") as file:
                file.write(piece)
            self._left -= len(piece)
        return len(data)

    def publish(self) -> list[Path]:
        made = []
        for draft in self._files:
            made.append(draft.with_suffix(""))
            os.replace(draft, made[-1])
        for path in self._room.folder.glob(f"{PACKED}.*"):  # of an earlier pack, which had more
            if path not in made:
                with suppress(FileNotFoundError):
                    path.unlink()
        return made
