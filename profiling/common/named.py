"""What ``module:name`` names: how one process of ours tells another what to run, or a class."""

from importlib import import_module
from typing import Any


def named(path: str) -> Any:
    """Return what ``module:name`` names, importing the module.

    >>> named("math:gcd")(12, 18)
    6
    """
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def path_of(kind: type) -> str:
    """Return ``module:name`` of a class, by which another process finds it.

    >>> from pathlib import PurePath
    >>> named(path_of(PurePath)) is PurePath
    True
    """
    return f"{kind.__module__}:{kind.__qualname__}"
