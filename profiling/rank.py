"""What runs in the process of one rank: a function of some module.

    python -m profiling.rank FOLDER

Started by `profiling.ranks`, with the variables that torchrun sets. It leaves in a folder of its
own the result of the function, what it told on the way, or how it failed.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import psutil

from analysis.show.interrupts import Interruptible
from profiling.workload import PLAN_NAME, RESULT_NAME, leave, leave_failure

TOLD_NAME: Final = "told.jsonl"
_WATCH_S: Final = 1.0

Told = Mapping[str, Any]
Tell = Callable[[Told], None]
"""Takes what is to be known of a rank before it ends: anything that JSON holds."""

RankFunction = Callable[[dict[str, Any], Tell], dict[str, Any]]
"""What a rank runs: with arguments that all ranks share, to a result that JSON holds."""


def folder_of(folder: Path, rank: int) -> Path:
    """Return where a rank leaves its notes."""
    return folder / f"rank-{rank}"


def main(argv: list[str]) -> int:
    """Run what the folder's plan says, and leave the result there."""
    folder = Path(argv[0])
    own = folder_of(folder, int(os.environ["RANK"]))
    leave_failure(own)
    plan = json.loads((folder / PLAN_NAME).read_text())
    watched = os.getppid(), plan["launcher"]
    threading.Thread(target=_end_with, args=watched, daemon=True).start()
    module, _, name = plan["function"].partition(":")
    function: RankFunction = getattr(import_module(module), name)
    with (own / TOLD_NAME).open("w") as stream:

        def tell(what: Told) -> None:
            stream.write(json.dumps(what) + "\n")
            stream.flush()

        leave(own / RESULT_NAME, function(plan["arguments"], tell))
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
