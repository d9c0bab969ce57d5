"""Times of a step that were measured without a profiler, as a benchmark writes them."""

import json
from pathlib import Path

from analysis.measures.step_times import LONGEST_NS
from analysis.show.errors import ReportError

Benchmark = dict[str, list[float]]
"""``forward_ns`` and ``backward_ns``, or one of them: one time a step."""


def read_benchmark(path: str) -> Benchmark:
    """Return the step times of a benchmark's JSON.

    Raises:
        ReportError: it cannot be read, or has no such times.
    """
    remedy = "give the file that the benchmark's --json wrote"
    try:
        known = json.loads(Path(path).read_text())
    except OSError as error:
        raise ReportError(path, f"cannot be read ({error.strerror})", remedy) from None
    except (ValueError, RecursionError):
        raise ReportError(path, "no JSON", remedy) from None
    keys = ("forward_ns", "backward_ns")
    found = {key: known[key] for key in keys if isinstance(known, dict) and known.get(key)}
    for times_ns in found.values():
        if not isinstance(times_ns, list) or not all(
            isinstance(time, int | float) and 0 < time < LONGEST_NS for time in times_ns
        ):
            raise ReportError(path, f"{' and '.join(keys)} must be lists of times in ns", remedy)
    if not found:
        raise ReportError(path, f"has neither {' nor '.join(keys)}", remedy)
    return found
