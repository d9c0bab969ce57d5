"""The errors that a user can put right: one line that says what is wrong and what to do."""

import os
from typing import ClassVar, Final


class CommandError(Exception):
    """A command cannot do what it is asked for: what is wrong, and what to do, in one line.

    Attributes:
        status: the exit status of the command.
    """

    status: ClassVar[int] = 1


class ReportError(CommandError):
    """A report cannot be read or cannot answer a question; the command ends with exit status 1.

    The text is ``<path>: <what is wrong>; <what to do>``, on one line, lower case, no full stop.
    """

    def __init__(self, path: str | os.PathLike[str], problem: str, remedy: str = "") -> None:
        self.path = os.fspath(path)
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{self.path}: {problem}" + (f"; {remedy}" if remedy else ""))


class NotInstalled(CommandError):
    """A package is wanted that only some commands need; the text names the extra that has it.

    >>> str(NotInstalled("torch"))
    "torch is not installed; pip install 'spanlight[model]'"
    """

    EXTRAS: Final = {
        "dask": "fleet",
        "datasets": "datasets",
        "distributed": "fleet",
        "huggingface_hub": "inference",
        "matplotlib": "pictures",
        "nvtx": "model",
        "perfetto": "perfetto",
        "psutil": "model",
        "safetensors": "inference",
        "tokenizers": "inference",
        "torch": "model",
        "transformers": "inference",
        "triton": "model",
    }
    """The extra of this project's packaging that each package belongs to."""

    def __init__(self, package: str) -> None:
        super().__init__(
            f"{package} is not installed; pip install 'spanlight[{self.EXTRAS[package]}]'"
        )


def one_line(text: str) -> str:
    r"""Return text that neither breaks a line nor steers a terminal, whatever a path holds.

    >>> one_line("a\nb\x1b[31m")
    'a\\nb\\x1b[31m'
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def reason(error: OSError) -> str:
    """Return what the system says of a file, in lower case."""
    return (error.strerror or str(error)).lower()


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says; nothing where it says nothing."""
    return next(iter(str(error).strip().splitlines()), "")
