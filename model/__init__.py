"""What is profiled: a decoder-only transformer whose every part is a named range."""

from typing import TYPE_CHECKING

from model.config import SIZES, ModelConfig

if TYPE_CHECKING:
    from model.transformer import TransformerLM as TransformerLM
else:

    def __getattr__(name: str) -> object:
        """Import the model only when it is asked for: sizes and FLOPs are known without torch."""
        if name == "TransformerLM":
            from model.transformer import TransformerLM

            return TransformerLM
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["SIZES", "ModelConfig", "TransformerLM"]
