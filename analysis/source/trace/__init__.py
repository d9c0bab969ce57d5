"""Traces of the PyTorch profiler, converted into reports."""
