"""Every command, and files that none of them can read."""

import gzip
import importlib.util
import os
import pkgutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

import analysis
from analysis.compare import __main__ as compare
from analysis.show.output import NSYS_MAGIC
from tests.made.reports.build_report import Kernel, Range, make_report

OF_RECORDS = ("generation", "layers", "cache")
"""Commands that read no report but records of times, or nothing; their own tests ask them."""

THAT_WRITE = ("trim", "export")
"""Commands whose answer is a file; their own tests give them one to write."""


def commands() -> list[ModuleType]:
    """Return every module of `analysis` that is a command and reads reports."""
    modules = [
        command_module(f"analysis.{found.name}")
        for found in pkgutil.iter_modules(analysis.__path__)
        if found.name not in (*OF_RECORDS, *THAT_WRITE)
    ]
    return [module for module in modules if hasattr(module, "main")]


def command_module(name: str) -> ModuleType:
    """Return the module that ``python -m NAME`` runs: that of the name, or a folder's __main__."""
    inside = f"{name}.__main__"
    is_folder = importlib.util.find_spec(name).submodule_search_locations is not None  # type: ignore[union-attr]
    return importlib.import_module(
        inside if is_folder and importlib.util.find_spec(inside) else name
    )


COMMANDS = pytest.mark.parametrize("command", commands(), ids=lambda module: module.__name__)

PLACES = [
    pytest.param(command, place, id=f"{command.__name__} {place}")
    for command in commands()
    for place in range(2 if command is compare else 1)
]
"""Every command with each place where it takes a report."""


def given(command: ModuleType, path: Path, good: Path, place: int) -> list[str]:
    """Return the arguments that give a command a report, beside a good one where it takes two."""
    reports = [good, good] if command is compare else [good]
    reports[place] = path
    return [str(each) for each in reports]


def a_report(path: Path) -> Path:
    """Write a report that every command can read."""
    return make_report(
        path,
        kernels=[
            Kernel("sgemm", 10, 30, launch=2),
            Kernel("softmax", 30, 40, launch=4),
            Kernel("ncclDevKernel_AllReduce", 40, 50, launch=6),
        ],
        ranges=[Range("forward", 0, 9)],
    )


def text_of(content: bytes) -> Callable[[Path], Path]:
    """Return what writes these bytes to a file."""

    def write(folder: Path) -> Path:
        path = folder / "given.sqlite"
        path.write_bytes(content)
        return path

    return write


def cut_to(size: int) -> Callable[[Path], Path]:
    """Return what writes a report of which only so many bytes are left."""

    def write(folder: Path) -> Path:
        path = a_report(folder / "given.sqlite")
        content = path.read_bytes()
        path.write_bytes(content[:size])
        return path

    return write


def with_damaged_pages(folder: Path) -> Path:
    """Write a report whose schema can be read and whose tables cannot."""
    path = a_report(folder / "given.sqlite")
    content = bytearray(path.read_bytes())
    for page in range(4096, len(content), 4096):
        content[page : page + 64] = b"\xff" * 64
    path.write_bytes(content)
    return path


def other_database(folder: Path) -> Path:
    """Write a SQLite file that is no report."""
    path = folder / "given.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE users (id INTEGER, name TEXT)")
        connection.commit()
    return path


def unreadable(folder: Path) -> Path:
    """Write a report that its reader may not read."""
    path = a_report(folder / "given.sqlite")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    return path


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
CANNOT_BE_READ: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda folder: folder / "typo.sqlite", "no such file"),
    "missing folder": (lambda folder: folder / "no" / "typo.sqlite", "no such file"),
    "inside a file": (lambda folder: text_of(b"x")(folder) / "x", "no such file"),
    "directory": (lambda folder: folder, "a directory, not a report"),
    "unreadable": (unreadable, "cannot be read (permission denied)"),
    "empty": (text_of(b""), "the file is empty"),
    "text": (text_of(b"name,calls\n"), "a text file, not a report"),
    "binary": (text_of(b"\x7fELF\x02\x01\x00"), "not a report"),
    "git-lfs pointer": (text_of(LFS), "git lfs pull"),
    "other database": (other_database, "a SQLite file, but not an nsys report"),
    "cut in the magic": (cut_to(7), "truncated"),
    "cut in the header": (cut_to(80), "truncated"),
    "cut after a page": (cut_to(4096), "truncated"),
    "cut in a page": (cut_to(9000), "truncated"),
    "cut by a byte": (cut_to(-1), "truncated"),
    "damaged pages": (with_damaged_pages, "damaged"),
    "nsys report": (text_of(NSYS_MAGIC + b" 2026@1" + bytes(64)), "nsys export --type=sqlite"),
    "json, no trace": (text_of(b'{"a": 1}'), "given.sqlite"),
    "json, cut": (text_of(b'{"traceEvents": [{"ph": "X",'), "given.sqlite"),
    "gzip, no trace": (text_of(gzip.compress(b"hello")), "given.sqlite"),
    "gzip, cut": (text_of(gzip.compress(b'{"traceEvents": []}')[:12]), "given.sqlite"),
    "not utf-8": (text_of("отчёт".encode("cp1251")), "not a report"),
}


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return the bytes and the time of every file in a folder."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and os.access(path, os.R_OK)
    }
