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
from pathlib import Path
from typing import Final

from analysis.show.interrupts import Interruptible
from profiling.common.named import named
from profiling.processes.failures import failure_note
from profiling.processes.notes import (
    FAILURE_NAME,
    MESSAGES_NAME,
    PLAN_NAME,
    RESULT_NAME,
    Function,
    Message,
    write_note,
)

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
        write_note(folder / FAILURE_NAME, failure_note(error))
        return 1
    write_note(folder / RESULT_NAME, result)
    return 0


def _end_with(parent: int, launcher: int, scratch: str) -> None:
    """End this process when its launcher is gone, and remove what it had no time to remove.

    Args:
        parent: the launcher, or a recorder that it started around this process.
        launcher: its process.
        scratch: the folder of everything that the run leaves.
    """
    import psutil

    while os.getppid() == parent and psutil.pid_exists(launcher):
        time.sleep(_WATCH_S)
    if not psutil.pid_exists(launcher):  # else it is only the recorder that is gone
        shutil.rmtree(scratch, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    with Interruptible():
        sys.exit(main(sys.argv[1:]))
