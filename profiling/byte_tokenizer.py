"""A tokenizer made on the spot, for a model with random weights: one token a byte.

It needs no file and no training. The ids above the bytes, which such a model is as likely to say
as any other, have a visible name (``<300>``), so that no token vanishes when it is decoded.
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

END: Final = "<|endoftext|>"
"""The token after the 256 bytes: end of sequence, and padding."""

SMALLEST: Final = 257
"""Tokens: every byte, and the end."""


def byte_tokenizer(vocab_size: int = SMALLEST) -> "PreTrainedTokenizerBase":
    """Return a tokenizer that knows every text, and names every id below ``vocab_size``.

    Raises:
        ValueError: the vocabulary has no room for every byte and the end.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    if vocab_size < SMALLEST:
        raise ValueError(f"a byte-level tokenizer has at least {SMALLEST} tokens, not {vocab_size}")
    vocabulary = {_letter(byte): byte for byte in range(256)}
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


def _letter(byte: int) -> str:
    """Return how the byte-level alphabet of GPT-2 writes a byte: as itself if that shows.

    The bytes that show nothing (blanks, controls) follow after the 256, in their own order.
    """
    return chr(byte if _shows(byte) else 256 + sum(not _shows(each) for each in range(byte)))


def _shows(byte: int) -> bool:
    return 33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte <= 255
