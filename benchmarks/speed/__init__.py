"""The speed of the analysis beside NVIDIA's tools."""
