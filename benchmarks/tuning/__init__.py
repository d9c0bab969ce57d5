"""The tilings of FlashAttention-2, timed."""
