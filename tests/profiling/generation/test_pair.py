"""Loading the two models of C2C, and the pairs that are refused."""

from pathlib import Path

import pytest
import torch

from profiling.common.errors import LaunchError
from profiling.generation import pair
from profiling.generation.pipeline import generate
from profiling.generation.run import encode
from profiling.generation.selection import ModelSelection
from profiling.models.pretrained import LoadedModel
from tests.made.models.c2c_pair import PROMPT, fused, loaded, saved_pair
from tests.made.models.tiny_qwen import save_tiny, train_tokenizer


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelSelection:
    return saved_pair(tmp_path_factory.mktemp("pair"))


def test_where_to_stop_is_the_models_word_else_the_tokenizers(models: ModelSelection) -> None:
    ready = loaded(models)
    assert ready.pair.stop == {0}
    config = ready.pair.base.generation_config
    config.eos_token_id = [3, 5]
    held = LoadedModel(ready.pair.base, ready.tokenizer, "base")
    assert pair.stop_tokens(held) == {3, 5}
    config.eos_token_id = None
    assert pair.stop_tokens(held) == {0}


def test_random_shapes_need_no_file_and_are_two_models(tmp_path: Path) -> None:
    base = save_tiny(tmp_path / "shape", layers=2)
    shape = str(base / "config.json")
    ready = loaded(
        ModelSelection(
            random_init=shape, teacher_random_init=shape, dtype="float32", projector_hidden=8
        ),
        open_gates=True,
    )
    assert ready.pair.teacher is not None
    tables = [each.get_input_embeddings().weight for each in (ready.pair.base, ready.pair.teacher)]
    assert not torch.equal(*tables)
    ids = encode(ready.tokenizer, PROMPT)
    assert len(ids) == len(PROMPT)  # a token a byte
    assert generate(ready.pair, ids, 8).tokens == fused(ready, ids, ids, 8)


def test_tokenizers_that_differ_are_refused_where_that_is_asked_for(tmp_path: Path) -> None:
    models = saved_pair(tmp_path, vocab=270)
    with pytest.raises(LaunchError, match="have different tokenizers; use --alignment first or"):
        loaded(models, alignment="refuse")


def test_a_tokenizer_that_goes_beyond_its_model_is_refused(tmp_path: Path) -> None:
    models = saved_pair(tmp_path, vocab=270, tokenizer=train_tokenizer(320))
    with pytest.raises(LaunchError, match="its tokenizer goes to token 319 and its model to 269"):
        loaded(models)


def test_a_model_that_forgets_old_positions_is_refused(tmp_path: Path) -> None:
    models = saved_pair(tmp_path, use_sliding_window=True, sliding_window=4, max_window_layers=0)
    ready = loaded(models)
    with pytest.raises(ValueError, match="no sliding window"):
        generate(ready.pair, encode(ready.tokenizer, PROMPT), 2)


def test_a_model_without_keys_and_values_is_refused(models: ModelSelection, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        '{"model_type": "mamba", "hidden_size": 16, "num_hidden_layers": 2, "vocab_size": 300, '
        '"state_size": 4, "intermediate_size": 32, "time_step_rank": 2}'
    )
    changes = {"teacher_random_init": str(tmp_path / "config.json"), "attention": "eager"}
    with pytest.raises(LaunchError, match="does not keep keys and values of one shape in every"):
        loaded(models, **changes)
    alone = loaded(
        ModelSelection(
            random_init=changes["teacher_random_init"], teacher="none", attention="eager"
        )
    )
    with pytest.raises(ValueError, match="keeps no keys and values to go on from"):
        generate(alone.pair, [1, 2, 3], 2)
