"""Facts about kernels, GPUs and names that no report holds."""
