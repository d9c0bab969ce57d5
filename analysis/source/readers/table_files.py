"""The files of a folder that nsys exported to, a table each, and what tells them from others."""

from pathlib import Path
from typing import Final

from analysis.show.errors import ReportError, reason
from analysis.show.output import TABLE_FILES

PARQUET, ARROW = TABLE_FILES

PARQUET_MAGIC: Final = b"PAR1"
ARROW_FILE_MAGIC: Final = b"ARROW1"
ARROW_STREAM_MAGIC: Final = b"\xff\xff\xff\xff"
"""What a file of each kind begins with; Arrow has a format for files, and one for streams."""

MAGIC: Final = {
    PARQUET: ("Parquet", (PARQUET_MAGIC,)),
    ARROW: ("Arrow", (ARROW_FILE_MAGIC, ARROW_STREAM_MAGIC)),
}
EXPORT_AGAIN: Final = "export the folder again: nsys export --type=parquetdir REPORT.nsys-rep"


def table_files(folder: Path) -> dict[str, Path]:
    """Return where each table of a folder lies, by its name; none where it holds no such file.

    Raises:
        ReportError: the folder or a file cannot be read, is not what its name says, or a table is
            there twice.
    """
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix in MAGIC)
    except OSError as error:
        problem = f"cannot be read ({reason(error)})"
        raise ReportError(folder, problem, "check its permissions") from None
    found: dict[str, Path] = {}
    for path in files:
        if path.stem in found:
            problem = f"holds {path.stem} twice, as {PARQUET} and as {ARROW}"
            raise ReportError(folder, problem, "keep the files of one export in it")
        found[path.stem] = path
    for path in files:
        check_kind(path)
    return found


def check_kind(path: Path) -> None:
    """Refuse a file that does not begin as its kind does.

    Raises:
        ReportError: it does not, or cannot be read.
    """
    name, known = MAGIC[path.suffix]
    try:
        if not path.is_file():
            raise ReportError(path, "not a file", EXPORT_AGAIN)
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        problem = f"cannot be read ({reason(error)})"
        raise ReportError(path, problem, "check its permissions") from None
    if not head.startswith(known):
        raise ReportError(path, f"not a file of {name}" if head else "an empty file", EXPORT_AGAIN)
