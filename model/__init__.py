"""What is profiled: a decoder-only transformer whose every part is a named range."""

from model.config import SIZES, ModelConfig
from model.transformer import TransformerLM

__all__ = ["SIZES", "ModelConfig", "TransformerLM"]
