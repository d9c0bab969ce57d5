"""NVIDIA's own reports, in NVIDIA's own columns."""
