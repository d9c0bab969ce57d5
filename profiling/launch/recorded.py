"""What runs in the recorded process: a workload, inside its recorder.

Our own `model` is imported only by the workload that needs it: a script may have a module of that
name beside it.
"""

import os
from pathlib import Path
from typing import Any

from profiling.common import host
from profiling.common.machine import facts
from profiling.common.named import named, path_of
from profiling.common.workload import Workload
from profiling.processes.notes import SendMessage, rank_folder
from profiling.recorders.cpu_peaks import measured_peaks
from profiling.recorders.recorded_steps import RecordedProcess
from profiling.recorders.recorder import Recorder


def plan(
    workload: Workload, recorder: Recorder, folder: Path, *, memory: bool, shapes: bool = False
) -> dict[str, Any]:
    """Return what the recorded process is told, as JSON holds it.

    Args:
        workload: to run.
        recorder: that records it; the process finds it by its class.
        folder: of the run, where ranks have one each.
        memory: whether what tensors hold is recorded too.
        shapes: whether operators' shapes are, by a recorder that does not always do so.
    """
    return {
        "workload": path_of(type(workload)),
        "settings": workload.fields(),
        "recorder": path_of(type(recorder)),
        "folder": str(folder.resolve()),
        "memory": memory,
        "shapes": shapes,
    }


def run(arguments: dict[str, Any], tell: SendMessage) -> dict[str, Any]:
    """Run the workload that a `plan` describes; return what it and its machine tell."""
    kind: type[Workload] = named(arguments["workload"])
    workload = kind.from_fields(arguments["settings"])
    at = host.commit(workload.folder)  # now: a script may change the folder
    folder = Path(arguments["folder"])
    process = RecordedProcess(
        recorder=named(arguments["recorder"]),
        device=workload.device,
        folder=rank_folder(folder, int(os.environ["RANK"])) if workload.ranks else folder,
        memory=arguments["memory"],
        shapes=arguments["shapes"],
        tell=tell,
    )
    result: dict[str, Any] = named(workload.run)(workload, process)
    known = result.get("facts") or facts(workload.device)
    if workload.device == "cpu" and not workload.ranks:  # beside other ranks it would be less
        known |= measured_peaks()
    return {**result, "facts": known | at}
