"""Notes in a folder, by which one of our processes tells another what to do and what came of it."""

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

PLAN_NAME: Final = "plan.json"


SETTINGS_NAME: Final = "settings.json"


RESULT_NAME: Final = "result.json"


FAILURE_NAME: Final = "failure.json"


MESSAGES_NAME: Final = "told.jsonl"


RankMessage = Mapping[str, Any]


SendMessage = Callable[[RankMessage], None]
"""Takes what is to be known of a rank before it ends: anything that JSON holds."""


def rank_folder(folder: Path, rank: int) -> Path:
    """Return the folder in which a rank leaves its notes."""
    return folder / f"rank-{rank}"


def write_note(path: Path, content: dict[str, Any]) -> None:
    """Write a note for the launcher, whole or not at all."""
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(content))
    os.replace(draft, path)


def note_uncaught_failure(folder: Path) -> None:
    """Make an uncaught exception leave a note for the launcher instead of a traceback."""

    def note(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        frames = traceback.extract_tb(trace)
        place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        text = str(error).strip().splitlines()
        message = text[0] if text else ""
        write_note(
            folder / FAILURE_NAME, {"kind": kind.__name__, "message": message, "place": place}
        )

    sys.excepthook = note
