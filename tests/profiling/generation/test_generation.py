"""The C2C pipeline: what it says, and what it runs when."""

from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
import torch

from model.c2c.weights import save_fuser
from profiling import names
from profiling.generation.pair import ReadyModels
from profiling.generation.pipeline import generate, sampling
from profiling.generation.record import Prompt, timing
from profiling.generation.run import Generator, encode
from profiling.generation.selection import Decoding, ModelSelection
from tests.made.models.c2c_pair import BASE_LAYERS, PROMPT, fused, loaded, plain, saved_pair
from tests.made.models.tiny_qwen import CHAT_TEMPLATE, train_tokenizer

MOST = 24
PROMPTS = (PROMPT, "A cache", "The sea is blue because the sky is. " * 4, "?!")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelSelection:
    return saved_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def pair(models: ModelSelection) -> ReadyModels:
    return loaded(models)


@pytest.fixture(scope="module")
def acting(models: ModelSelection) -> ReadyModels:
    return loaded(models, open_gates=True)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_fresh_projectors_say_what_transformers_says_without_them(
    models: ModelSelection, attention: str, prompt: str
) -> None:
    ready = loaded(models, attention=attention)
    ids = encode(ready.tokenizer, prompt)
    assert generate(ready.pair, ids, MOST).tokens == plain(ready.pair.base, ids, MOST)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_open_gates_say_what_transformers_says_after_a_cache_fused_by_hand(
    pair: ReadyModels, acting: ReadyModels, prompt: str
) -> None:
    ids = encode(acting.tokenizer, prompt)
    said = generate(acting.pair, ids, MOST).tokens
    assert said == fused(acting, ids, ids, MOST)
    if len(ids) > 2:
        assert said != generate(pair.pair, ids, MOST).tokens


def test_generation_ends_with_the_end_of_sequence_or_the_limit(pair: ReadyModels) -> None:
    ends = []
    for prompt in PROMPTS:
        tokens = generate(pair.pair, encode(pair.tokenizer, prompt), 200).tokens
        ends.append(tokens[-1])
        assert 0 not in tokens[:-1]
    assert 0 in ends
    assert len(generate(pair.pair, encode(pair.tokenizer, PROMPT), 3).tokens) == 3


def test_trained_projectors_act_as_their_own_gates_say(
    models: ModelSelection, acting: ReadyModels, tmp_path: Path
) -> None:
    assert acting.pair.fuser
    save_fuser(acting.pair.fuser, tmp_path)
    trained = loaded(models, projector=str(tmp_path))
    ids = encode(trained.tokenizer, PROMPT)
    assert not trained.notes
    assert generate(trained.pair, ids, MOST).tokens == generate(acting.pair, ids, MOST).tokens


def test_a_teacher_with_another_tokenizer_reads_aligned_tokens(tmp_path: Path) -> None:
    corpus = ("clips clips clips", "the sea and the sky")
    ready = loaded(saved_pair(tmp_path, corpus=corpus, vocab=280), open_gates=True)
    aligner = ready.pair.aligner
    assert aligner
    assert not aligner.same
    ids = encode(ready.tokenizer, PROMPT)
    said = generate(ready.pair, ids, MOST).tokens
    assert said == fused(ready, ids, aligner.align(ids), MOST)
    assert "the first of its own for each" in ready.notes[-1]


def test_one_model_alone_is_plain_generation(models: ModelSelection) -> None:
    ready = loaded(models, teacher="none")
    ids = encode(ready.tokenizer, PROMPT)
    made = generate(ready.pair, ids, MOST)
    assert made.tokens == plain(ready.pair.base, ids, MOST)
    assert {part for part, _ in made.parts_ns} == {
        names.BASE_EMBEDDING,
        names.BASE_PREFILL,
        names.DECODE_STEP,
    }


class Calls:
    """Which of the models ran, in order, as their modules' own hooks tell."""

    def __init__(self, ready: ReadyModels) -> None:
        self.order: list[str] = []
        pair = ready.pair
        assert pair.fuser
        assert pair.teacher is not None
        watched = {
            "base": pair.base.model.layers[0],
            "head": pair.base.lm_head,
            "teacher": pair.teacher.model.layers[0],
            "teacher head": pair.teacher.lm_head,
        }
        self.hooks = [
            module.register_forward_hook(self._note(name)) for name, module in watched.items()
        ]
        self.hooks += [
            each.register_forward_hook(self._note("projector")) for each in pair.fuser.projectors
        ]

    def _note(self, name: str) -> Any:
        return lambda *_: self.order.append(name)

    def __enter__(self) -> "Calls":
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()


def test_teacher_and_projectors_never_run_once_decoding_begins(acting: ReadyModels) -> None:
    ids = encode(acting.tokenizer, PROMPT)
    with Calls(acting) as calls:
        made = generate(acting.pair, ids, MOST)
    steps = ["base", "head"] * len(made.tokens)
    assert len(made.tokens) > 5
    assert calls.order == ["base", "teacher", *["projector"] * BASE_LAYERS, *steps]


def test_a_prompt_without_tokens_is_refused(pair: ReadyModels) -> None:
    with pytest.raises(ValueError, match="the prompt has no tokens"):
        generate(pair.pair, [], MOST)


def test_draws_depend_on_seed_and_prompt_alone(models: ModelSelection, pair: ReadyModels) -> None:
    ids = encode(pair.tokenizer, PROMPT)

    def drawn(seed: int) -> list[int]:
        choose = sampling(2.0, torch.Generator().manual_seed(seed))
        return generate(pair.pair, ids, 12, choose=choose).tokens

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    made = Generator(pair, models, Decoding(max_new_tokens=12, temperature=2.0, seed=1))
    assert made.generate(Prompt(0, PROMPT)).tokens == drawn(1)
    assert made.generate(Prompt(1, PROMPT)).tokens == drawn(2)


def test_a_chat_template_is_applied_where_there_is_one() -> None:
    tokenizer = train_tokenizer()
    assert tokenizer.decode(encode(tokenizer, "the sky")) == "the sky"
    tokenizer.chat_template = CHAT_TEMPLATE
    assert tokenizer.decode(encode(tokenizer, "the sky")) == "[user] the sky\n[assistant] "


def test_a_prompt_of_one_token_has_nothing_to_prefill(acting: ReadyModels) -> None:
    ids = encode(acting.tokenizer, PROMPT)[:1]
    with Calls(acting) as calls:
        made = generate(acting.pair, ids, 4)
    assert "teacher" not in calls.order
    assert "projector" not in calls.order
    assert made.tokens == plain(acting.pair.base, ids, 4)
    times = timing(made, has_teacher=True)
    assert astuple(times)[:7] == (0,) * 7
