"""Who records a run, nsys or the PyTorch profiler, and what a report gets besides.

`record` is for jobs that others start: it records some of their steps from inside.
"""

from profiling.recorders.job_recording import record

__all__ = ["record"]
