"""What a user can put right, said in one line."""


class LaunchError(Exception):
    """The run cannot be made or kept: what is wrong, and what to do (exit status 1)."""


class UsageError(Exception):
    """The command asks for something that does not exist (exit status 2)."""


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


class OutOfMemory(LaunchError):
    """The run wanted more memory than there is, on the device or in the machine."""
