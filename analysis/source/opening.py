"""Opening a file by its kind: an nsys export as it is, everything else after its conversion to one.

A file is known by its content and not by its name, a folder by the files in it. What is not yet an
export (an ``.nsys-rep``, a PyTorch trace) is converted into a temporary file; what was given is
never touched.
"""

import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, Self

from analysis.show import nsys_program
from analysis.show.errors import ReportError, reason
from analysis.show.output import NSYS_MAGIC, SQLITE_MAGIC
from analysis.show.progress import Bar
from analysis.show.render import plural
from analysis.source.column_cache import ColumnCache
from analysis.source.readers.sqlite_reader import SqliteReader
from analysis.source.readers.table_files import MAGIC, table_files
from analysis.source.readers.table_reader import TableReader

SQLITE_HEADER_BYTES: Final = 100
GZIP_MAGIC: Final = b"\x1f\x8b"
LFS_MAGIC: Final = b"version https://git-lfs"

WHILE_READ: Final = "ask again once whoever writes it has finished"
EXPORT_HINT: Final = "nsys export --type=sqlite --output=report.sqlite"
NOT_A_REPORT: Final = f"give an nsys export ({EXPORT_HINT} REPORT.nsys-rep) or a PyTorch trace"


class FileState(NamedTuple):
    """What tells one content of a file from another: which file it is, its size and its times."""

    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return the state of a file now.

        Raises:
            OSError: it is gone.
        """
        found = path.stat()
        return cls(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class ReportState(NamedTuple):
    """The state of the file that a report is, or of every file with a table in its folder."""

    files: tuple[tuple[str, FileState], ...]

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return the state of a report now.

        Raises:
            ReportError: it is gone.
        """
        try:
            files = [path]
            if path.is_dir():
                files = sorted(each for each in path.iterdir() if each.suffix in MAGIC)
            return cls(tuple((each.name, FileState.of(each)) for each in files))
        except OSError:
            raise ReportError(path, "went away while it was read", WHILE_READ) from None

    def kept_columns(self, path: Path) -> ColumnCache | None:
        """Return where the columns of the report are kept in this state; None where nowhere."""
        files = [file for _, file in self.files]
        changed_ns = max(max(file.modified_ns, file.changed_ns) for file in files)
        return ColumnCache.of(path, self.files, self.size, changed_ns)

    @property
    def size(self) -> int:
        """How large the report is, in bytes."""
        return sum(file.size for _, file in self.files)

    def check(self, path: Path) -> None:
        """Refuse a report that is not what it was: half of an answer would be of each.

        Raises:
            ReportError: it changed, or is gone.
        """
        if self.of(path) != self:
            raise ReportError(path, "changed while it was read", WHILE_READ)


class Opened(NamedTuple):
    """A report as it can be read.

    Attributes:
        state: of what the user gave, before anything was read.
        uri: SQLite URI; "" of a folder.
        files: where each table of a folder lies, by its name.
        scratch: an empty folder for what reading these takes, None where there is no such need.
        cache: where its columns are kept; None where nowhere.
    """

    state: ReportState
    uri: str = ""
    files: Mapping[str, Path] = {}
    scratch: Path | None = None
    cache: ColumnCache | None = None

    def reader(self, before_connecting: Callable[[], None]) -> TableReader:
        """Return what reads it; see `TableReader`.

        Args:
            before_connecting: called before every connection but the first; it raises where what
                is read is no longer what it was.
        """
        if self.scratch is None:
            return SqliteReader(self.uri, before_connecting)
        # Here, because most reports are SQLite: the import takes as long as reading a small one.
        from analysis.source.readers.folder_reader import FolderReader

        return FolderReader(self.files, self.scratch, before_connecting)


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """Yield what can be read of ``path``: a folder of tables, or a SQLite file.

    Temporary files go when it ends.

    The file itself is read with ``immutable=1``: SQLite then makes no ``-wal`` or ``-shm`` beside
    it and takes no lock. That mode does not see a write-ahead log, so where there is one, a
    temporary copy of both is read instead.

    Args:
        path: what the user gave.

    Raises:
        ReportError: it is no report and cannot be made one.
    """
    kind = recognise(path)
    state = ReportState.of(path)
    if kind == "sqlite" and not has_journal(path):
        check_size(path)
        uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        yield Opened(state, uri, cache=state.kept_columns(path))
        return
    with tempfile.TemporaryDirectory(prefix="report-") as folder:
        copy = Path(folder) / "report.sqlite"
        if kind == "folder":
            kept = state.kept_columns(path)
            yield Opened(state, files=table_files(path), scratch=Path(folder), cache=kept)
            return
        if kind == "sqlite":
            copy_with_journal(path, copy)
        elif kind == "nsys":
            export(path, copy)
        else:
            convert(path, copy)
        yield Opened(state, f"{copy.as_uri()}?mode=rw")


def recognise(path: Path) -> str:
    """Return ``sqlite``, ``nsys`` or ``trace`` by the first bytes of the file, else ``folder``.

    Raises:
        ReportError: it is missing, unreadable or none of these.
    """
    if path.is_dir() and table_files(path):
        return "folder"
    head = first_bytes(path)
    if head.startswith(SQLITE_MAGIC):
        return "sqlite"
    if head.startswith(NSYS_MAGIC):
        return "nsys"
    if head.startswith(GZIP_MAGIC):
        return "trace"
    if not head:
        raise ReportError(path, "the file is empty", "export or copy it again")
    if SQLITE_MAGIC.startswith(head):
        raise ReportError(
            path, f"truncated to {plural(len(head), 'byte')}", "export or copy it again"
        )
    if head.startswith(LFS_MAGIC):
        raise ReportError(path, "a git-lfs pointer, not the report", "fetch it with: git lfs pull")
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["):
        return "trace"
    what = "a text file, not a report" if is_text(head) else "not a report"
    raise ReportError(path, what, NOT_A_REPORT)


def first_bytes(path: Path) -> bytes:
    """Return up to 512 bytes from the start of the file."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ReportError(
                path,
                "a directory, not a report",
                "give the .sqlite file in it, or a folder that nsys exported to",
            )
        if not stat.S_ISREG(mode):  # reading a pipe may wait for ever, and takes it from others
            what = "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"
            hint = "write it to a file first and give that: a report is not read in one go"
            raise ReportError(path, f"{what}, not a file", hint)
        with path.open("rb") as file:
            return file.read(512)
    except (FileNotFoundError, NotADirectoryError):
        hint = "check the path, or record one first: make profile SIZE=small"
        raise ReportError(path, "no such file", hint) from None
    except OSError as error:
        problem = f"cannot be read ({reason(error)})"
        raise ReportError(path, problem, "check its permissions") from None
    except ValueError as error:  # a NUL byte in the name
        raise ReportError(ascii(str(path)), str(error), "check the path") from None


def is_text(head: bytes) -> bool:
    r"""Return whether these bytes look like text (no control bytes but white space).

    >>> is_text(b"hello\n"), is_text(b"\x7fELF\x02\x00")
    (True, False)
    """
    return not any(byte < 32 and byte not in b"\t\n\r\f" for byte in head)


def has_journal(path: Path) -> bool:
    """Return whether SQLite left a write-ahead log or a rollback journal that holds something."""
    return any(part.is_file() and part.stat().st_size > 0 for part in journals(path))


def journals(path: Path) -> tuple[Path, ...]:
    """Return the names that SQLite gives to the journals of ``path``."""
    return tuple(path.with_name(path.name + suffix) for suffix in ("-wal", "-journal"))


def copy_with_journal(path: Path, copy: Path) -> None:
    """Copy a database and its journals, so that SQLite can apply them there."""
    try:
        shutil.copyfile(path, copy)
        for source, target in zip(journals(path), journals(copy), strict=True):
            if source.is_file():
                shutil.copyfile(source, target)
    except OSError as error:
        hint = "free some space in the temporary folder, or set TMPDIR"
        raise ReportError(path, f"cannot be copied ({error.strerror})", hint) from None


def check_size(path: Path) -> None:
    """Raise where the file is shorter than its SQLite header says: it was copied in part.

    The header's page count (bytes 28-31) holds only where its change counter (24-27) equals the
    one it was written with (92-95); see "The Database Header" of SQLite's file format.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(SQLITE_HEADER_BYTES)
    page = int.from_bytes(header[16:18], "big")
    expected = (65536 if page == 1 else page) * int.from_bytes(header[28:32], "big")
    if len(header) < SQLITE_HEADER_BYTES or (header[24:28] == header[92:96] and size < expected):
        known = f" of {expected:,}" if len(header) == SQLITE_HEADER_BYTES else ""
        problem = f"truncated: {size:,}{known} bytes are there"
        raise ReportError(path, problem, "export or copy it again")


def export(source: Path, destination: Path) -> None:
    """Export an ``.nsys-rep`` (or an older ``.qdrep``) to SQLite with the installed nsys.

    Raises:
        ReportError: no nsys is found, or it cannot read this file.
    """
    hint = f"{EXPORT_HINT} {source}"
    nsys = nsys_program.found()
    if nsys is None:
        problem = "an nsys report, not yet exported, and no nsys is found here"
        raise ReportError(source, problem, f"name one {nsys_program.BY}, or where nsys is: {hint}")
    chosen = ["--type=sqlite", f"--output={destination}"]
    try:
        told = _run(nsys, "export", "--help")
        if nsys_program.INCLUDE_BLOBS in nsys_program.long_options(told.stdout + told.stderr):
            chosen.append(f"{nsys_program.INCLUDE_BLOBS}=true")
        done = _run(nsys, "export", *chosen, str(source.resolve()))
    except OSError as error:
        raise ReportError(source, f"{nsys} does not run ({error.strerror})", hint) from None
    if done.returncode != 0 or not destination.is_file():
        problem = f"nsys could not export it ({last_line(done.stderr or done.stdout)})"
        raise ReportError(source, problem, f"try an nsys at least as new as the recorder's: {hint}")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, errors="replace")


def last_line(text: str) -> str:
    r"""Return the last line of a program's output that says something; a progress bar says nothing.

    >>> last_line("[1%\r[100%\r\nExportation error: bad magic.\n\n")
    'Exportation error: bad magic'
    """
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines()]
    spoken = [line for line in lines if line and not line.endswith(("%", "]"))]
    return spoken[-1].rstrip(".") if spoken else "it says nothing"


def convert(source: Path, destination: Path) -> None:
    """Convert a PyTorch profiler trace into the tables of an nsys export.

    Raises:
        ReportError: it is JSON or gzip, but not such a trace.
    """
    # Here, because a command that is given a SQLite file should not wait for this import.
    from analysis.source.trace import convert as torch_trace

    try:
        with Bar(f"converting {source.name}") as bar:
            torch_trace.convert(source, destination, progress=bar)
    except torch_trace.TraceError as error:
        reason = str(error).removeprefix(f"{source}: ")
        remedy = "" if ";" in reason else NOT_A_REPORT
        raise ReportError(source, reason, remedy) from None
