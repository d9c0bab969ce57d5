"""What runs in the recorded process: a workload, inside its recorder.

Our own `model` is imported only by the workload that needs it: a script may have a module of that
name beside it.
"""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from profiling.common.machine import facts
from profiling.common.workload import Workload, workload_type
from profiling.processes.notes import SendMessage, rank_folder
from profiling.recorders.recorded_steps import RecordedProcess
from profiling.recorders.recorder import Recorder, recorder_type, type_path


def plan(workload: Workload, recorder: Recorder, folder: Path, *, memory: bool) -> dict[str, Any]:
    """Return what the recorded process is told, as JSON holds it.

    Args:
        workload: to run.
        recorder: that records it; the process finds it by its class.
        folder: of the run, where ranks have one each.
        memory: whether what tensors hold is recorded too.
    """
    kind = type(workload)
    return {
        "workload": f"{kind.__module__}:{kind.__qualname__}",
        "settings": workload.fields(),
        "recorder": type_path(recorder),
        "folder": str(folder.resolve()),
        "memory": memory,
    }


def run(arguments: dict[str, Any], tell: SendMessage) -> dict[str, Any]:
    """Run the workload that a `plan` describes; return what it and its machine tell."""
    workload = workload_type(arguments["workload"]).from_fields(arguments["settings"])
    folder = Path(arguments["folder"])
    process = RecordedProcess(
        recorder=recorder_type(arguments["recorder"]),
        device=workload.device,
        folder=rank_folder(folder, int(os.environ["RANK"])) if workload.ranks else folder,
        memory=arguments["memory"],
        tell=tell,
    )
    module, _, name = workload.run.partition(":")
    result: dict[str, Any] = getattr(import_module(module), name)(workload, process)
    return {"facts": facts(workload.device), **result}
