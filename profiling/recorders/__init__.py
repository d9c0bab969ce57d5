"""Who records a run, nsys or the PyTorch profiler, and what a report gets besides."""
