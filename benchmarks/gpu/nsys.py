"""The nsys that recordings are made with on a bare GPU machine: what is there, or what was carried.

``NSYS_BUNDLE=nsys-target.tar.xz`` names a packed ``target-linux-x64``, the half of nsys that
records: 20 MB instead of 1 GB. It leaves ``.qdstrm`` files, which `profiling.complete` makes
reports of where the whole nsys is.
"""

import hashlib
import lzma
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from profiling.common.errors import LaunchError
from profiling.recorders.nsys import Nsys

BUNDLE: Final = "NSYS_BUNDLE"
NONE_HERE: Final = f"no nsys here; give {BUNDLE}="
_DAMAGE: Final = (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError)


def choose(environment: Mapping[str, str]) -> str | None:
    """Return the nsys that ``NSYS`` names, else that of the bundle, else the one on the PATH.

    Raises:
        LaunchError: what is named is no nsys.
    """
    asked, bundle = environment.get("NSYS"), environment.get(BUNDLE)
    if asked:
        if shutil.which(asked) is None:
            raise LaunchError(f"NSYS={asked} is no program; name the nsys program, or unset it")
        return asked
    return str(unpack(Path(bundle))) if bundle else shutil.which("nsys")


def unpack(bundle: Path) -> Path:
    """Unpack a bundle into the system's folder for temporary files, once; return its nsys.

    Raises:
        LaunchError: it is damaged, holds no nsys, or one that does not run here.
    """
    temporary = Path(tempfile.gettempdir())
    try:
        with bundle.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        folder = temporary / f"nsys-{os.getuid()}-{digest[:16]}"
        if not (folder.is_dir() and folder.stat().st_uid == os.getuid()):
            _extract(bundle, folder)
    except _DAMAGE as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise LaunchError(f"{BUNDLE}={bundle}: damaged ({said}); pack it again") from None
    except OSError as error:
        raise LaunchError(f"{BUNDLE}={bundle}: {error.strerror}; name the packed nsys") from None
    found = _program(folder)
    if found is None:
        raise LaunchError(f"{BUNDLE}={bundle}: holds no nsys; pack its target-linux-x64")
    if not Nsys(str(found)).version:
        raise LaunchError(f"{BUNDLE}={bundle}: its nsys does not run here; pack one that does")
    return found


def _extract(bundle: Path, folder: Path) -> None:
    draft = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    try:
        with tarfile.open(bundle) as archive:
            archive.extractall(draft, filter="data")
        os.rename(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _program(folder: Path) -> Path | None:
    found = (path for path in sorted(folder.rglob("nsys")) if path.is_file())
    return next((path for path in found if os.access(path, os.X_OK)), None)
