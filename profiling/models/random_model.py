"""A language model of a known architecture with random weights: no download, no file but a shape.

    --random-init qwen3-0.6b | qwen3-4b | qwen3-tiny | CONFIG.json

Timings do not depend on what the weights are, only on their shapes, as long as they stay finite.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from profiling.common.errors import LaunchError, UsageError
from profiling.models.request import PRESETS, ModelRequest, shape

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

END: Final = "<|endoftext|>"
"""The token after the 256 bytes: end of sequence, and padding."""

SMALLEST: Final = 257
"""Tokens of the smallest vocabulary: every byte, and the end."""

_PATTERN: Final = (1 << 20) + 7
"""Random numbers drawn once and laid over all weights again and again.

Odd, so that no two rows of a matrix whose width is even begin at the same place.
"""


def config_of(random_init: str) -> "PretrainedConfig":
    """Return the configuration a ``--random-init`` asks for.

    Raises:
        UsageError: it is neither a known name nor a file.
        LaunchError: a model of that shape would fail in its forward pass.
        Exception: what transformers has to say of the file.
    """
    from transformers import AutoConfig

    if (known := shape(random_init)) in PRESETS:
        preset: PretrainedConfig = AutoConfig.for_model(**PRESETS[known])
        return preset
    path = Path(random_init).expanduser()
    if not path.exists():
        known = ", ".join(PRESETS)
        raise UsageError(
            f"no architecture and no file is called {random_init!r}; "
            f"--random-init takes {known} or a transformers config.json"
        )
    config: PretrainedConfig = AutoConfig.from_pretrained(
        path, local_files_only=True, trust_remote_code=False
    )
    for size in ("num_hidden_layers", "hidden_size", "intermediate_size", "head_dim"):
        if (value := getattr(config, size, None)) is not None and value < 1:
            raise LaunchError(f"{path}: {size} is {value}; it must be positive")
    heads, shared = (getattr(config, f"num_{of}_heads", 0) for of in ("attention", "key_value"))
    if heads and shared and heads % shared:
        raise LaunchError(
            f"{path}: {heads} attention heads cannot share {shared} key-value heads; "
            "num_key_value_heads must divide num_attention_heads"
        )
    if (vocabulary := getattr(config, "vocab_size", 0)) < SMALLEST:
        raise LaunchError(
            f"{path}: vocab_size is {vocabulary}; the byte-level tokenizer wants {SMALLEST}"
        )
    return config


def weight_count(config: "PretrainedConfig") -> int:
    """Return how many numbers a model's weights are, without making them."""
    shape_only = ModelRequest(device="meta", dtype="float32", attention="eager")
    return sum(weight.numel() for weight in _build(config, shape_only).parameters())


def random_model(config: "PretrainedConfig", request: ModelRequest) -> "PreTrainedModel":
    """Build a model and fill its weights, the same ones on every device.

    Matrices get normal numbers of the configuration's ``initializer_range``, biases 0; norms stay
    1. Filling takes as long as writing the memory.
    """
    model = _build(config, request)
    scale = getattr(config, "initializer_range", None) or 0.02
    generator = torch.Generator().manual_seed(request.seed)
    pattern = torch.randn(_PATTERN, generator=generator).mul_(scale)
    pattern = pattern.to(device=request.device, dtype=getattr(torch, request.dtype))
    with torch.no_grad():
        _fill(model.named_parameters(), pattern)
    return model


def _fill(weights: Iterable[tuple[str, Tensor]], pattern: Tensor) -> None:
    for number, (name, weight) in enumerate(weights):
        if name.endswith("bias"):
            weight.zero_()
        elif weight.dim() > 1:
            # Each begins elsewhere in the pattern, so that no two layers are the same.
            own = pattern.roll(-(number * 7919) % len(pattern))
            flat = weight.data.view(-1)
            whole = flat.numel() // len(own)
            flat[: whole * len(own)].view(whole, len(own)).copy_(own)
            flat[whole * len(own) :].copy_(own[: flat.numel() - whole * len(own)])


class _WithoutRandomFills(TorchFunctionMode):
    """Leave out the filling that constructors do: a minute for 4 billion weights."""

    # By name: while transformers builds, torch.nn.init holds functions of its own.
    _FILLS: Final = frozenset(
        {
            "kaiming_normal_",
            "kaiming_uniform_",
            "normal_",
            "trunc_normal_",
            "uniform_",
            "xavier_normal_",
            "xavier_uniform_",
        }
    )

    def __torch_function__(  # type: ignore[no-untyped-def]  # as torch has it
        self, func, types, args=(), kwargs=None
    ):
        given = kwargs or {}
        if getattr(func, "__name__", "") in self._FILLS:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def _build(config: "PretrainedConfig", request: ModelRequest) -> "PreTrainedModel":
    from transformers import AutoModelForCausalLM

    dtype = getattr(torch, request.dtype)
    with torch.device(request.device), _WithoutRandomFills():
        model: PreTrainedModel = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            config, dtype=dtype, attn_implementation=request.attention
        )
    return model


def byte_tokenizer(vocab_size: int = SMALLEST) -> "PreTrainedTokenizerBase":
    """Return a tokenizer that knows every text, and names every id below ``vocab_size``.

    It has one token a byte, and needs no file and no training. The ids above the bytes, which a
    model with random weights is as likely to say as any other, have a visible name (``<300>``), so
    that no token vanishes when it is decoded.

    Args:
        vocab_size: `SMALLEST` or more.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    # The alphabet of GPT-2 writes a byte that shows as itself. The others (blanks, controls) follow
    # after the 256, in their own order.
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    shown = [ord(letter) for letter in letters if ord(letter) < 256]
    hidden = [byte for byte in range(256) if byte not in shown]
    vocabulary = dict(zip(letters, [*shown, *hidden], strict=True))
    vocabulary[END] = 256
    vocabulary.update({f"<{number}>": number for number in range(SMALLEST, vocab_size)})
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # as transformers has it
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=END,
        clean_up_tokenization_spaces=False,
    )
