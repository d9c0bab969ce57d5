"""What is asked for of a language model: which one, random or not, and how it is to compute."""

from dataclasses import dataclass
from typing import Any, Final

from profiling.common.cli import seed
from profiling.common.options import option

ATTENTIONS: Final = ("eager", "sdpa", "flash_attention_2")
DTYPES: Final = ("float32", "float16", "bfloat16")


def _qwen3(
    layers: int, hidden: int, intermediate: int, heads: int, **changes: object
) -> dict[str, Any]:
    return {
        "model_type": "qwen3",
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151_936,
        "max_position_embeddings": 40_960,
        "rope_theta": 1_000_000.0,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        **changes,
    }


PRESETS: Final = {
    "qwen3-tiny": _qwen3(4, 64, 192, 4, num_key_value_heads=2, head_dim=16, vocab_size=512),
    "qwen3-0.6b": _qwen3(28, 1024, 3072, 16),
    "qwen3-4b": _qwen3(36, 2560, 9728, 32),
}
"""The architectures known by name, as their published ``config.json`` has them; but for the tiny
one, which is for trying things out."""

OF_ONE_FAMILY: Final = "qwen3-"
"""How all of their names begin; it need not be typed."""

SHAPES: Final = f"{', '.join(PRESETS)} or a transformers config.json"
"""What may be built with random weights."""


def shape(named: str) -> str:
    """Return the name of an architecture that is known, which may be typed short; else a file's.

    >>> shape("tiny"), shape("Qwen3-4B"), shape("my/config.json")
    ('qwen3-tiny', 'qwen3-4b', 'my/config.json')
    """
    known = OF_ONE_FAMILY + named.lower().removeprefix(OF_ONE_FAMILY)
    return known if known in PRESETS else named


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """The model that a command asks for, and how it is to compute.

    Attributes:
        name: a folder that ``save_pretrained`` wrote, or a name on the model hub, sought in the
            local cache first; not looked at where ``random_init`` is given.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
    """

    name: str | None = option(
        None, "a folder, or a name on the model hub", metavar="NAME", flag="--model-name"
    )
    random_init: str | None = option(
        None, f"random weights instead: {SHAPES}", read=shape, metavar="SHAPE"
    )
    device: str
    dtype: str = option("bfloat16", "of the weights", choices=DTYPES)
    attention: str = option("sdpa", "which implementation", choices=ATTENTIONS)
    seed: int = option(0, "of random weights and tokens", read=seed)

    @property
    def label(self) -> str:
        """What results call the model."""
        return model_label(self.name, self.random_init)


def model_label(name: str | None, random_init: str | None) -> str:
    """Return what a model is called in results.

    >>> model_label("Qwen/Qwen3-0.6B", None), model_label(None, "qwen3-0.6b")
    ('Qwen/Qwen3-0.6B', 'qwen3-0.6b (random weights)')
    """
    return f"{random_init} (random weights)" if random_init else str(name)
