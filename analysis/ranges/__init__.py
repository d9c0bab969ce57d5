"""GPU time per NVTX range."""
