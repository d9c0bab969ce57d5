"""Tiny Qwen3 models with random weights, and tokenizers trained on the spot, saved to disk.

They load as published ones do: `AutoModelForCausalLM.from_pretrained(folder)`.
"""

from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

END: Final = "<|end|>"
"""The end-of-sequence token."""

CORPUS: Final = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many in May.",
    "How many clips did Natalia sell altogether in April and May? The answer is 72.",
    "A cache holds the keys and values of every token that came before the next one.",
    "Explain why the sky is blue and why the sea is blue too, in two sentences.",
)

CHAT_TEMPLATE: Final = (
    "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


def train_tokenizer(vocab: int = 320, corpus: tuple[str, ...] = CORPUS) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE of at most ``vocab`` tokens (257 hold every byte and the end)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # as transformers has it
        tokenizer_object=tokenizer, eos_token=END, pad_token=END
    )


def tiny_config(
    layers: int = 4,
    hidden: int = 32,
    heads: int = 4,
    kv_heads: int = 2,
    head_dim: int = 16,
    vocab: int = 320,
    **changes: Any,
) -> Qwen3Config:
    """Return the configuration of a tiny Qwen3."""
    return Qwen3Config(
        num_hidden_layers=layers,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        vocab_size=vocab,
        tie_word_embeddings=True,
        eos_token_id=0,
        bos_token_id=None,
        max_position_embeddings=4096,
        # Large, so that random weights do not give the same token for ever.
        **{"initializer_range": 0.4, **changes},
    )


def save_tiny(
    folder: Path,
    layers: int = 4,
    hidden: int = 32,
    heads: int = 4,
    kv_heads: int = 2,
    head_dim: int = 16,
    vocab: int = 320,
    *,
    seed: int = 0,
    corpus: tuple[str, ...] = CORPUS,
    chat_template: str | None = None,
    tokenizer: PreTrainedTokenizerFast | None = None,
    **changes: Any,
) -> Path:
    """Save a tiny Qwen3 and its tokenizer.

    Args:
        folder: where to; made if it is not there.
        layers: and the other shapes, of the model.
        vocab: of the model, and at most of the tokenizer.
        seed: of the weights.
        corpus: what the tokenizer is trained on; another one gives another tokenizer.
        chat_template: of the tokenizer; it has none unless this is given.
        tokenizer: to save instead of one trained here.
        changes: to the configuration.

    Returns:
        The folder.
    """
    config = tiny_config(layers, hidden, heads, kv_heads, head_dim, vocab, **changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
    model.generation_config.do_sample = False
    model.save_pretrained(folder)
    chosen = tokenizer or train_tokenizer(vocab, corpus)
    chosen.chat_template = chat_template
    chosen.save_pretrained(folder)
    return folder


def built(config: Any, attention: str = "sdpa") -> PreTrainedModel:
    """Return a model of a configuration, in eval mode, with random weights."""
    model: PreTrainedModel = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
        config, attn_implementation=attention
    )
    model.train(False)
    return model
