"""Notes in a folder, by which one of our processes tells another what to do and what came of it."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from profiling.common.errors import LaunchError

PLAN_NAME: Final = "plan.json"
RESULT_NAME: Final = "result.json"
FAILURE_NAME: Final = "failure.json"
UNWRITTEN_NAME: Final = "unwritten"
"""An empty file in place of a note that could not be written: there is room for that."""

MESSAGES_NAME: Final = "told.jsonl"
LOG_NAME: Final = "log.txt"

Message = Mapping[str, Any]
"""What a process tells before it ends: anything that JSON holds."""

SendMessage = Callable[[Message], None]
"""Takes what is to be known of a process before it ends."""

Function = Callable[[dict[str, Any], SendMessage], dict[str, Any]]
"""What a process runs: from arguments to a result that JSON holds, with messages on the way."""


def rank_folder(folder: Path, rank: int) -> Path:
    """Return the folder in which a rank leaves its notes."""
    return folder / f"rank-{rank}"


def write_note(path: Path, content: dict[str, Any]) -> None:
    """Write a note, whole or not at all."""
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(content))
    os.replace(draft, path)


def read_note(path: Path) -> dict[str, Any] | None:
    """Return a note, or nothing where the process left none.

    Raises:
        LaunchError: it cannot be read.
    """
    try:
        note: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        raise LaunchError(
            f"{path.name} of the run is cut short; see that its disk is not full"
        ) from None
    return note
