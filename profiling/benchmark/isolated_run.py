"""One benchmark of `profiling.benchmark`, measured in a process of its own."""

from typing import Any

from profiling.benchmark import run_file
from profiling.benchmark.run import Measurements, run
from profiling.common import memory_fit
from profiling.common.errors import LaunchError
from profiling.common.settings import LEARNING_RATE, Settings
from profiling.training import training


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """Run one benchmark, and return what its ``--json`` file holds.

    Args:
        spec: ``settings`` as `asdict` gives them, and ``learning_rate`` (may be left out).

    Raises:
        LaunchError: it cannot be run here.
        MemoryError: it does not fit.
    """
    settings = Settings.from_fields(spec["settings"])
    training.check(settings)
    try:
        memory_fit.check(settings)
    except LaunchError as error:
        raise MemoryError(str(error).partition(";")[0]) from None
    workload = training.Training(settings, optimizer=False)
    rate = None
    if settings.mode != "forward":
        rate = spec.get("learning_rate") or LEARNING_RATE
        workload.make_optimizer(rate)
    measured = run(workload, Measurements(), lambda *_: None)
    return run_file.content(settings, measured, rate, spec.get("command", ""))
