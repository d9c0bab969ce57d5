"""What runs in the recorded process: steps of our model, or a script of yours.

    python -m profiling.workload FOLDER            settings.json in FOLDER says what
    python -m profiling.workload FOLDER -- ARGS    the script that plan.json names

Started by `profiling.launch`; it leaves in FOLDER what only this process knows: step times, the
ranges it pushed and their costs, or how it failed. Our own `model` is imported only where it runs:
a script may have a module of that name beside it.
"""

import importlib
import json
import os
import runpy
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from analysis.show.interrupts import Interruptible
from profiling.backward import too_deep
from profiling.capture import capture
from profiling.machine import facts
from profiling.recorders import Recorder
from profiling.spans import costs

PLAN_NAME: Final = "plan.json"
SETTINGS_NAME: Final = "settings.json"
RESULT_NAME: Final = "result.json"
FAILURE_NAME: Final = "failure.json"


def run_script(plan: dict[str, Any], arguments: list[str], folder: Path) -> dict[str, Any]:
    """Run somebody's script as ``python SCRIPT ARGS`` would, recorded from start to end."""
    script = Path(plan["script"])
    sys.argv = [plan["typed"], *arguments]
    sys.path.insert(0, str(script.parent))
    with capture(plan["recorder"], plan["device"], folder, memory=plan["memory"]) as ranges:
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as stop:
            if stop.code not in {None, 0}:
                raise
    return told(ranges)


def told(ranges: Recorder) -> dict[str, Any]:
    """Return what the recorder and the spans know at the end."""
    return {"pushed": ranges.pushed(), "costs": costs(), "too_deep": too_deep()}


def leave(path: Path, content: dict[str, Any]) -> None:
    """Write a note for the launcher, whole or not at all."""
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(content))
    os.replace(draft, path)


def leave_failure(folder: Path) -> None:
    """Make an uncaught exception leave a note for the launcher instead of a traceback."""

    def note(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        frames = traceback.extract_tb(trace)
        place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        text = str(error).strip().splitlines()
        message = text[0] if text else ""
        leave(folder / FAILURE_NAME, {"kind": kind.__name__, "message": message, "place": place})

    sys.excepthook = note


def main(argv: list[str]) -> int:
    """Run what the folder's plan says, and leave the result there."""
    folder, arguments = Path(argv[0]), argv[2:]
    leave_failure(folder)
    plan = json.loads((folder / PLAN_NAME).read_text())
    if plan["script"]:
        result = run_script(plan, arguments, folder)
    else:
        from profiling.launch_workloads import MODULES

        module = importlib.import_module(MODULES[plan["workload"]])
        more = {"memory": True} if plan["memory"] else {}
        result = module.run(folder / SETTINGS_NAME, plan["recorder"], folder, **more)
    leave(folder / RESULT_NAME, {**result, "facts": facts(plan["device"])})
    return 0


if __name__ == "__main__":
    with Interruptible():
        sys.exit(main(sys.argv[1:]))
