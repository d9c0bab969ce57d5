"""What a user can put right, said in one line."""

from analysis.show.errors import CommandError


class LaunchError(CommandError):
    """The run cannot be made or kept: what is wrong, and what to do (exit status 1)."""


class UsageError(CommandError):
    """The command asks for something that does not exist (exit status 2)."""

    status = 2


class OutOfMemory(LaunchError):
    """The run wanted more memory than there is, on the device or in the machine."""
