"""What a process of ours died of, in one line: the same words whichever command started it."""

import re
import signal
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from analysis.show.errors import CommandError, first_line
from profiling.common.cli import OUT_OF_MEMORY, is_out_of_memory
from profiling.common.errors import LaunchError, OutOfMemory, UsageError

_SIGNS_OF_MEMORY: Final = re.compile(
    rf"MemoryError|bad_alloc|can't start new thread|Thread creation failed|{OUT_OF_MEMORY.pattern}",
    re.IGNORECASE,
)
"""How a process says that memory was wanting when it can no longer leave a note."""

LOST_A_PEER: Final = re.compile(
    r"connection (?:was )?(?:closed|reset)|closed by peer|broken pipe|remote process exited",
    re.IGNORECASE,
)
"""What a rank says that fails because another one is gone."""

_PARALLEL_ERROR: Final = ("model.parallel.group", "ParallelError")
"""Its message too says what is wrong and what to do; by name, for its module needs torch."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Whose death is told of.

    Attributes:
        name: as in ``the run``, ``rank 1``.
        remedy: what to do where memory was wanting.
        follows: what its death means, after any other failure; empty where that is plain.
    """

    name: str
    remedy: str = "use a smaller model, batch or context"
    follows: str = ""

    def died(
        self, note: dict[str, Any] | None, status: int, said: str, *, between: bool = False
    ) -> Exception:
        """Return the error of a process that failed.

        Args:
            note: what `failure_note` made of an exception; None where it left none.
            status: of its exit; below 0 it is that of a signal.
            said: what it wrote, where that was kept.
            between: whether a recorder stands between, which tells a signal by 128 and its number.

        Returns:
            `OutOfMemory`, `UsageError` or `LaunchError`; a `LaunchError` of the process, written
            for the user, as it is.
        """
        if note is not None:
            return self._raised(note)
        number = -status if status < 0 else (status - 128) * between
        if number == signal.SIGKILL:
            return OutOfMemory(f"{self.name} was killed, most likely out of memory; {self.remedy}")
        if status and _SIGNS_OF_MEMORY.search(said):
            return OutOfMemory(f"{self.name} is out of memory; {self.remedy}")
        last = "".join(f" and said: {line}" for line in said.strip().splitlines()[-1:])
        if number in {each.value for each in signal.Signals}:
            how = f"died of {signal.Signals(number).name}"
        elif status:
            how = f"ended with exit status {status}"
        else:
            return LaunchError(
                f"{self.name} ended without leaving its result: let it end by itself "
                "(no os._exit), and see that its disk is not full"
            )
        return LaunchError(f"{self.name} {how}{last}{self.follows}")

    def _raised(self, note: dict[str, Any]) -> Exception:
        kind, message = note["kind"], note["message"]
        what = ": ".join(part for part in (kind, message) if part)
        if note["out_of_memory"]:
            detail = message if note["ours"] else what
            return OutOfMemory(f"{self.name} is out of memory ({detail}); {self.remedy}")
        if note["ours"]:
            return UsageError(message) if kind == UsageError.__name__ else LaunchError(message)
        place = f" ({note['place']})" if note["place"] else ""
        return LaunchError(f"{self.name} failed with {what}{place}{self.follows}")


def failure_note(error: BaseException) -> dict[str, Any]:
    """Return what a process notes of the exception that ends it."""
    frames = traceback.extract_tb(error.__traceback__)
    kind = type(error)
    return {
        "kind": kind.__name__,
        "ours": isinstance(error, CommandError)
        or (kind.__module__, kind.__name__) == _PARALLEL_ERROR,
        "message": first_line(error),
        "place": _place(frames[-1]) if frames else "",
        "out_of_memory": is_out_of_memory(error) or isinstance(error, OutOfMemory),
    }


def _place(frame: traceback.FrameSummary) -> str:
    """Return file and line; nothing of what is no file, such as Python's own reader of scripts."""
    return "" if frame.filename.startswith("<") else f"{Path(frame.filename).name}:{frame.lineno}"
