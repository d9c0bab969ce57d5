"""Two models generate together, and every part of it is timed: the C2C pipeline of one prompt.

    base and teacher prefill all tokens but the last → one projector a base layer fuses the caches →
    the base decodes, from the last prompt token on, over the fused cache

The teacher and the projectors never run again once decoding begins. Without a teacher this is plain
generation; with one, and projectors whose gates are closed, the same tokens come out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from timeit import default_timer
from typing import Any

import torch
from torch import Tensor

from model.c2c import Fuser, clone_cache, put_layer
from model.c2c.alignment import TokenAligner
from model.c2c.projector import KeyValue
from model.flops import Cost, embedding
from profiling import names
from profiling.common.timing import Clock, PartTimer
from profiling.spans import span

Choose = Callable[[Tensor], Tensor]
"""Picks the next token: ``(1, V)`` logits to ``(1, 1)`` token ids."""


@dataclass(frozen=True, slots=True)
class ModelPair:
    """The models that generate: a base, and a teacher with its projectors unless it is alone.

    Attributes:
        base: causal language model of transformers, in eval mode; it decodes.
        stop: the base's end-of-sequence tokens.
        teacher: likewise; None times plain generation.
        fuser: the projectors, there where a teacher is.
        aligner: translates the base's tokens for the teacher, likewise.
        device: of all of them.
    """

    base: Any
    stop: frozenset[int]
    device: str
    teacher: Any | None = None
    fuser: Fuser | None = None
    aligner: TokenAligner | None = None


@dataclass(frozen=True, slots=True)
class Generated:
    """The tokens generated from one prompt, and the times of its parts.

    Attributes:
        tokens: generated, the end of sequence included where it was reached.
        parts_ns: name and time of each part, in order: embedding and prefill of the base,
            then of the teacher, the projector once a layer, and a decode step a token.
        wall_ns: from token ids on the device to the last token, on the host's clock.
    """

    tokens: list[int]
    parts_ns: list[tuple[str, int]]
    wall_ns: int

    def total_ns(self, part: str) -> int:
        """Return the time of all parts of a name."""
        return sum(time for name, time in self.parts_ns if name == part)

    def each_ns(self, part: str) -> list[int]:
        """Return the times of the parts of a name, in order."""
        return [time for name, time in self.parts_ns if name == part]


def greedy(logits: Tensor) -> Tensor:
    """Choose the most likely token."""
    return logits.argmax(dim=-1, keepdim=True)


def sampling(temperature: float, generator: torch.Generator) -> Choose:
    """Return a function that draws tokens by their probability at a temperature."""

    def choose(logits: Tensor) -> Tensor:
        weights = torch.softmax(logits.float() / temperature, dim=-1)
        return torch.multinomial(weights, 1, generator=generator)

    return choose


def generate(
    pair: ModelPair,
    ids: Sequence[int],
    max_new_tokens: int,
    *,
    choose: Choose = greedy,
    clock: Clock = default_timer,
) -> Generated:
    """Generate from one prompt.

    Args:
        ids: the prompt's tokens, the base's; of a single one nothing is prefilled or fused.
        max_new_tokens: where to stop if no end of sequence comes.
        choose: picks each token.
        clock: of the host, in seconds.

    Raises:
        ValueError: the prompt has no token, or the caches cannot be fused.
    """
    if not ids:
        raise ValueError("the prompt has no tokens")
    theirs = pair.aligner.align(ids) if pair.aligner else ids
    prompt = torch.tensor([list(ids)], device=pair.device)  # (1, n)
    teachers = torch.tensor([list(theirs)], device=pair.device)
    watch = PartTimer(pair.device, clock)
    watch.start()
    with torch.inference_mode(), span(names.GENERATION):
        cache = None
        if len(ids) > 1:
            with span(names.PREFILL):
                cache = _prefill(pair, prompt[:, :-1], teachers[:, :-1], watch)
        with span(names.DECODE):
            tokens = _decode(pair, prompt[:, -1:], cache, max_new_tokens, choose, watch)
    watch.stop()
    return Generated(tokens, watch.parts_ns(), watch.wall_ns)


def _prefill(pair: ModelPair, prompt: Tensor, teachers: Tensor, watch: PartTimer) -> Any:
    """Return the base's cache of the prompt but for its last token, fused where there is a teacher.

    The token ids are ``(1, n - 1)``, those of the base and those of the teacher.
    """
    parts = (names.BASE_EMBEDDING, names.BASE_PREFILL)
    if pair.teacher is None or pair.fuser is None:
        return _read(pair.base, prompt, parts, False, watch)[0]
    cache, own = _read(pair.base, prompt, parts, True, watch)
    parts = (names.TEACHER_EMBEDDING, names.TEACHER_PREFILL)
    _, shared = _read(pair.teacher, teachers, parts, True, watch)
    for layer in range(len(pair.fuser)):
        put_layer(cache, layer, pair.fuser.fuse_layer(layer, shared, own))
        watch.done(names.PROJECTOR)
    return cache


def _read(
    model: Any, ids: Tensor, parts: tuple[str, str], copied: bool, watch: PartTimer
) -> tuple[Any, list[KeyValue]]:
    """Let a model read; return its cache, and a copy of it where one is wanted."""
    table = model.get_input_embeddings()
    with span(parts[0], cost=lambda: _embedding_cost(table, ids)):
        embedded = table(ids)  # (1, n, d)
    watch.done(parts[0])
    with span(parts[1]):
        # Without the head: no logits of these positions are wanted.
        output = model.base_model(inputs_embeds=embedded, use_cache=True)
        cache = getattr(output, "past_key_values", None)
        if cache is None:
            raise ValueError("the model keeps no keys and values to go on from")
        copy = clone_cache(cache) if copied else []
    watch.done(parts[1])
    return cache, copy


def _embedding_cost(table: Any, ids: Tensor) -> Cost:
    return embedding(ids.numel(), table.weight.shape[-1], table.weight.element_size())


def _decode(
    pair: ModelPair, last: Tensor, cache: Any, max_new_tokens: int, choose: Choose, watch: PartTimer
) -> list[int]:
    """Return the tokens generated after the last one of the prompt, ``(1, 1)``."""
    tokens: list[int] = []
    while len(tokens) < max_new_tokens and not (tokens and tokens[-1] in pair.stop):
        with span(names.DECODE_STEP):
            output = pair.base(input_ids=last, past_key_values=cache, use_cache=True)
            last = choose(output.logits[:, -1])  # (1, 1)
            # The host must know the token to go on, so each step ends with the device idle.
            tokens.append(int(last))
        watch.done(names.DECODE_STEP)
        cache = output.past_key_values
    return tokens
