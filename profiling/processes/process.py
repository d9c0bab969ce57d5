"""What runs in a process of ours: the function that its plan names.

    python -m profiling.processes.process FOLDER

Started by `profiling.processes.running`. It leaves in the folder the result of the function, what
it told on the way, or how it failed, and it ends when its launcher is gone, however that came:
nobody would end it then.
"""

import json
import os
import shutil
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from analysis.show.interrupts import Interruptible
from profiling.common.named import named
from profiling.processes.failures import failure_note
from profiling.processes.notes import (
    FAILURE_NAME,
    MESSAGES_NAME,
    PLAN_NAME,
    RESULT_NAME,
    UNWRITTEN_NAME,
    Function,
    Message,
    write_note,
)
from profiling.processes.strays import end_strays

_WATCH_S: Final = 0.5


def main(argv: list[str]) -> int:
    """Run what the folder's plan says, and leave the result there, or a note of the failure."""
    folder = Path(argv[0])
    plan = json.loads((folder / PLAN_NAME).read_text())
    watched = os.getppid(), plan["launcher"], plan["scratch"]
    threading.Thread(target=_end_with, args=watched, daemon=True).start()
    try:
        function: Function = named(plan["function"])
        with (folder / MESSAGES_NAME).open("w") as stream:

            def tell(what: Message) -> None:
                stream.write(json.dumps(what) + "\n")
                stream.flush()

            result = function(plan["arguments"], tell)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        note = folder / FAILURE_NAME
        # One that the function has left already is of what came first, and tells when that was.
        return 1 if note.exists() else _leave(note, failure_note(error)) or 1
    return _leave(folder / RESULT_NAME, result)


def _leave(path: Path, note: dict[str, Any]) -> int:
    """Leave a note, or a sign that there is no room for it; return an exit status."""
    try:
        write_note(path, note)
    except OSError:
        with suppress(OSError):
            path.with_name(UNWRITTEN_NAME).touch()
        return 1
    return 0


def _end_with(parent: int, launcher: int, scratch: str) -> None:
    """End this process when its launcher is gone, and remove what it had no time to remove.

    Args:
        parent: the launcher, or a recorder that it started around this process.
        launcher: its process.
        scratch: the folder of everything that the run leaves.
    """
    while os.getppid() == parent and _is_there(launcher):
        time.sleep(_WATCH_S)
    if not _is_there(launcher):  # else it is only the recorder that is gone
        end_strays(scratch)
        shutil.rmtree(scratch, ignore_errors=True)
    os._exit(1)


def _is_there(process: int) -> bool:
    """Return whether a process runs: a killed one may stay in the table until somebody asks."""
    import psutil

    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    with Interruptible():
        sys.exit(main(sys.argv[1:]))
