"""What runs in the recorded process: steps of our model, or a script of yours.

    python -m profiling.launch.recorded FOLDER            settings.json in FOLDER says what
    python -m profiling.launch.recorded FOLDER -- ARGS    the script that plan.json names

Started by `profiling.launch`; it leaves in FOLDER what only this process knows: step times, the
ranges it pushed and their costs, or how it failed. Our own `model` is imported only where it runs:
a script may have a module of that name beside it.
"""

import importlib
import json
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from analysis.show.interrupts import Interruptible
from profiling.common.machine import facts
from profiling.processes.notes import (
    PLAN_NAME,
    RESULT_NAME,
    SETTINGS_NAME,
    note_uncaught_failure,
    write_note,
)
from profiling.recorders.capture import capture, range_facts


def run_script(plan: dict[str, Any], arguments: list[str], folder: Path) -> dict[str, Any]:
    """Run somebody's script as ``python SCRIPT ARGS`` would, recorded from start to end."""
    script = Path(plan["script"])
    sys.argv = [plan["typed"], *arguments]
    sys.path.insert(0, str(script.parent))
    recorder, device = plan["recorder"], plan["device"]
    with capture(recorder, device, folder, memory=plan["memory"]) as ranges, forgotten("analysis"):
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as stop:
            if stop.code not in {None, 0}:
                raise
    return range_facts(ranges)


@contextmanager
def forgotten(package: str) -> Iterator[None]:
    """Let a script import a package of this name of its own, though we have imported ours."""
    ours = {name: sys.modules[name] for name in sys.modules if name.partition(".")[0] == package}
    for name in ours:
        del sys.modules[name]
    try:
        yield
    finally:
        sys.modules.update(ours)


def main(argv: list[str]) -> int:
    """Run what the folder's plan says, and leave the result there."""
    folder, arguments = Path(argv[0]), argv[2:]
    note_uncaught_failure(folder)
    plan = json.loads((folder / PLAN_NAME).read_text())
    if plan["script"]:
        result = run_script(plan, arguments, folder)
    else:
        module = importlib.import_module(plan["module"])
        more = {"memory": True} if plan["memory"] else {}
        result = module.run(folder / SETTINGS_NAME, plan["recorder"], folder, **more)
    write_note(folder / RESULT_NAME, {**result, "facts": facts(plan["device"])})
    return 0


if __name__ == "__main__":
    with Interruptible():
        sys.exit(main(sys.argv[1:]))
