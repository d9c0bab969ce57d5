"""A measurement that may fail: how it ended is a result, and the others go on."""

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

from profiling.common.errors import LaunchError, OutOfMemory

OK: Final = "ok"
OOM: Final = "OOM"
FAILED: Final = "failed"
Status = Literal["ok", "OOM", "failed"]


class Attempt(NamedTuple):
    """How a measurement ended.

    Attributes:
        status: `OK`, `OOM` or `FAILED`.
        why: what went wrong, in one line; else "".
        found: what was measured; None unless `OK`.
    """

    status: Status
    why: str = ""
    found: dict[str, Any] | None = None

    def result(self, about: dict[str, Any], what: str) -> dict[str, Any]:
        """Return what was found, or else what it was to be found of, with the reason.

        Args:
            about: what tells it from the other results.
            what: the same in words.
        """
        if self.found is not None:
            return self.found
        return {**about, "outcome": self.status, "message": f"{what}: {self.why}"}


def attempt(measure: Callable[[], dict[str, Any]]) -> Attempt:
    """Measure; return how it ended.

    Raises:
        UsageError: it is asked for something that does not exist.
    """
    try:
        return Attempt(OK, found=measure())
    except OutOfMemory as error:
        return Attempt(OOM, str(error))
    except LaunchError as error:
        return Attempt(FAILED, str(error))
