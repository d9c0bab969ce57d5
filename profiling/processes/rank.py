"""What runs in the process of one rank: a function of some module.

    python -m profiling.processes.rank FOLDER

Started by `profiling.processes.ranks`, with the variables that torchrun sets. It leaves in a folder
of its own the result of the function, what it told on the way, or how it failed.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import psutil

from analysis.show.interrupts import Interruptible
from profiling.processes.notes import (
    MESSAGES_NAME,
    PLAN_NAME,
    RESULT_NAME,
    RankMessage,
    SendMessage,
    note_uncaught_failure,
    rank_folder,
    write_note,
)

_WATCH_S: Final = 1.0


RankFunction = Callable[[dict[str, Any], SendMessage], dict[str, Any]]
"""What a rank runs: with arguments that all ranks share, to a result that JSON holds."""


def main(argv: list[str]) -> int:
    """Run what the folder's plan says, and leave the result there."""
    folder = Path(argv[0])
    own = rank_folder(folder, int(os.environ["RANK"]))
    note_uncaught_failure(own)
    plan = json.loads((folder / PLAN_NAME).read_text())
    watched = os.getppid(), plan["launcher"]
    threading.Thread(target=_end_with, args=watched, daemon=True).start()
    module, _, name = plan["function"].partition(":")
    function: RankFunction = getattr(import_module(module), name)
    with (own / MESSAGES_NAME).open("w") as stream:

        def tell(what: RankMessage) -> None:
            stream.write(json.dumps(what) + "\n")
            stream.flush()

        write_note(own / RESULT_NAME, function(plan["arguments"], tell))
    return 0


def _end_with(parent: int, launcher: int) -> None:
    """End this process when its launcher is gone, however that came: nobody would end it then.

    Args:
        parent: the launcher, or a recorder that it started around this process.
        launcher: its process.
    """
    while os.getppid() == parent and psutil.pid_exists(launcher):
        time.sleep(_WATCH_S)
    os._exit(1)


if __name__ == "__main__":
    with Interruptible():
        sys.exit(main(sys.argv[1:]))
