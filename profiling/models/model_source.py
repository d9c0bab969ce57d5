"""Where a model is: a folder, the local cache of the model hub, or the hub; and what was wrong.

The hub is asked once whether it is there at all. Left alone, transformers would try for half a
minute and then speak of something else.
"""

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from profiling.common.cli import is_out_of_memory
from profiling.common.errors import LaunchError

T = TypeVar("T")

_GET_IT: Final = "give the folder it is in, or --random-init qwen3-0.6b for its shape alone"
_REACH_SECONDS: Final = 5.0
"""How long the hub may take to answer at all."""

_LONGEST: Final = 200
"""Characters of somebody else's error message."""


def from_disk_or_hub(name: str, read: Callable[[str, bool], T]) -> T:
    """Read a model from a folder, or from the local cache, or what is missing from the hub.

    Args:
        name: a folder, or a name on the hub.
        read: what to do, given the folder or name, and whether to stay on this machine.

    Raises:
        LaunchError: neither on disk nor reachable, or damaged.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return _explained(name, lambda: read(str(path), True))
    if path.exists():
        raise LaunchError(f"{name}: a file; give the folder of a model, or --random-init {name}")
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name):
        raise LaunchError(f"{name}: no such folder; {_GET_IT}")
    try:
        return read(name, True)
    except OSError:  # not there, or not all of it
        _check_reachable(name)
    except _damage() as error:
        raise _refused(name, error) from None
    return _explained(name, lambda: read(name, False))


def _check_reachable(name: str) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        HfApi().model_info(name, timeout=_REACH_SECONDS)
    except GatedRepoError:
        raise LaunchError(
            f"{name}: its owner gives it to some people only; log in with hf auth login, "
            "or give the folder it is in"
        ) from None
    except RepositoryNotFoundError:
        raise LaunchError(f"{name}: neither on disk nor on the model hub; {_GET_IT}") from None
    except _no_answer() as error:
        raise LaunchError(
            f"{name}: not on disk, and the model hub does not answer ({first_error_line(error)}); "
            f"{_GET_IT}"
        ) from None


def _no_answer() -> tuple[type[Exception], ...]:
    """Return what asking the hub raises: its errors derive from its HTTP library's."""
    from huggingface_hub.errors import HfHubHTTPError

    return tuple(kind for kind in HfHubHTTPError.__bases__ if issubclass(kind, Exception))


def _explained(name: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except _damage() as error:
        raise _refused(name, error) from None


def _refused(name: str, error: Exception) -> Exception:
    if is_out_of_memory(error):
        return error
    return LaunchError(
        f"{name}: cannot be loaded ({first_error_line(error)}); "
        "give a folder that save_pretrained wrote, with config.json, weights and tokenizer"
    )


def _damage() -> tuple[type[Exception], ...]:
    """Return what reading a damaged model raises."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    return (
        OSError,
        ValueError,
        RuntimeError,
        TypeError,
        KeyError,
        AttributeError,
        ArithmeticError,
        ImportError,
        pickle.UnpicklingError,
        StrictDataclassError,
        SafetensorError,
    )


def first_error_line(error: BaseException) -> str:
    r"""Return the first line of an error, cut.

    >>> first_error_line(ValueError("first\nsecond"))
    'first'
    """
    said = str(error).strip().splitlines()
    line = said[0].strip(" .;:") if said else type(error).__name__
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
