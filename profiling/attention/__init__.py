"""Attention alone, by length and width: PyTorch's implementations and FlashAttention-2."""
