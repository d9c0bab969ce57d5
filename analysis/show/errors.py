"""The error that a report causes: one line that says what is wrong and what to do."""

import os


class ReportError(Exception):
    """A report cannot be read or cannot answer a question; the command ends with exit status 1.

    The text is ``<path>: <what is wrong>; <what to do>``, on one line, lower case, no full stop.
    """

    def __init__(self, path: str | os.PathLike[str], problem: str, remedy: str = "") -> None:
        self.path = os.fspath(path)
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{self.path}: {problem}" + (f"; {remedy}" if remedy else ""))


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
