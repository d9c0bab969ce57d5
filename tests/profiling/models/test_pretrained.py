"""Models are loaded by folder, by name or by shape; what cannot be had is one line, at once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from transformers import AutoModelForCausalLM

from profiling.common.errors import LaunchError, UsageError
from profiling.models import pretrained
from profiling.models.pretrained import LoadedModel
from profiling.models.request import ModelRequest
from tests.made.models.tiny_qwen import save_tiny


def load(name: Path | str | None = None, **changes: Any) -> LoadedModel:
    """Load on the CPU in float32, unless told otherwise."""
    how: dict[str, Any] = {"device": "cpu", "dtype": "float32", "attention": "sdpa"}
    named = None if name is None else str(name)
    return pretrained.load(ModelRequest(name=named, **{**how, **changes}))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny") / "model")


def logits(loaded: LoadedModel, text: str = "the sky is blue") -> torch.Tensor:
    with torch.inference_mode():
        tokens = loaded.tokenizer(text, return_tensors="pt").input_ids
        found: torch.Tensor = loaded.model(tokens).logits
    return found


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_folder_gives_the_model_that_was_saved(tiny: Path, attention: str) -> None:
    loaded = load(tiny, attention=attention)
    saved = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    assert loaded.name == str(tiny)
    assert loaded.model.config._attn_implementation == attention
    assert not loaded.model.training
    assert not any(weight.requires_grad for weight in loaded.model.parameters())
    mine = logits(loaded)
    tokens = loaded.tokenizer("the sky is blue", return_tensors="pt").input_ids
    torch.testing.assert_close(mine, saved(tokens).logits.detach())


def test_weights_come_in_the_number_format_asked_for(tiny: Path) -> None:
    weights = load(tiny, dtype="bfloat16").model.parameters()
    assert {weight.dtype for weight in weights} == {torch.bfloat16}


class Hub:
    """Stand in for the model hub: count the questions, and fail as told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
        self.asked = 0
        self._error = error
        monkeypatch.setattr(HfApi, "model_info", self._answer)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def _answer(self, *_: object, **__: object) -> None:
        self.asked += 1
        raise self._error


def failure(kind: type[Exception]) -> Exception:
    """Make an error of the hub as it comes without a response."""
    made = kind.__new__(kind)
    made.args = ("404, not found",)
    return made


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionError("no route\nto host"), "(no route to host)"),
        (failure(RepositoryNotFoundError), "(404, not found)"),
        (failure(GatedRepoError), "(404, not found)"),
    ],
)
def test_a_name_that_cannot_be_reached_is_asked_for_once(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    hub = Hub(monkeypatch, error)
    with pytest.raises(LaunchError) as refused:
        load("nobody/nothing")
    reason = f"not on disk, and not to be had from the model hub {message}; give the folder"
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)
    assert hub.asked == 1


def drop_weight(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def halve(name: str) -> Callable[[Path], object]:
    def cut(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return cut


def widen(folder: Path) -> None:
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**fields, "intermediate_size": 96}))


def write_config(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "config.json").write_text(text)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no config": lambda folder: (folder / "config.json").unlink(),
    "config cut": halve("config.json"),
    "config of nothing": write_config("{}"),
    "config of the future": write_config('{"model_type": "qwen99"}'),
    "config no object": write_config("[1]"),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "weights cut": halve("model.safetensors"),
    "weights empty": lambda folder: (folder / "model.safetensors").write_bytes(b""),
    "a weight missing": drop_weight,
    "weights of another shape": widen,
    "no tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
    "tokenizer cut": halve("tokenizer.json"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_one_line_that_names_it(damage: str, tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "model")
    DAMAGES[damage](folder)
    with pytest.raises(LaunchError) as refused:
        load(folder)
    assert str(refused.value).startswith(f"{folder}: ")
    assert "\n" not in str(refused.value)


def test_a_model_without_a_tokenizer_still_loads_alone(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "model")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    how: dict[str, Any] = {"device": "cpu", "dtype": "float32", "attention": "sdpa"}
    model = pretrained.load_model(ModelRequest(name=str(folder), **how))
    assert model.config.model_type == "qwen3"


def test_what_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="no such folder; give the folder that save_pretrained"):
        load(tmp_path / "nothing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(LaunchError, match="a file; give the folder that save_pretrained"):
        load(tmp_path / "file")
    with pytest.raises(UsageError, match="no model is named"):
        load()


def test_too_little_memory_is_said_before_the_system_ends_us(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "available_bytes", lambda _: 1000)
    with pytest.raises(LaunchError, match="GiB are free on cpu; use a smaller model"):
        load(tiny)


def test_out_of_memory_while_loading(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", full)
    with pytest.raises(LaunchError, match="out of memory while loading in float32 on cpu"):
        load(tiny)


def test_number_formats_that_the_device_has_not(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LaunchError, match="use --dtype bfloat16 or float32 with --device cpu"):
        load(tiny, dtype="float16")
    monkeypatch.setattr(pretrained, "choose_device", lambda asked: asked)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: (7, 0))
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "Tesla V100")
    with pytest.raises(LaunchError, match="Tesla V100 has no arithmetic in bfloat16"):
        load(tiny, device="cuda", dtype="bfloat16")
    with pytest.raises(LaunchError, match="flash_attention_2 does not work in float32"):
        load(tiny, device="cuda", dtype="float32", attention="flash_attention_2")


def test_attentions_that_are_not_there(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LaunchError, match='attn_implementation="ring"'):
        load(tiny, attention="ring")
    with pytest.raises(LaunchError, match="flash_attention_2 does not work on a CPU"):
        load(tiny, attention="flash_attention_2")
    monkeypatch.setattr(pretrained, "choose_device", lambda asked: asked)
    monkeypatch.setattr(pretrained, "available_bytes", lambda _: 1 << 40)
    with pytest.raises(LaunchError, match="package for FlashAttention2"):
        load(tiny, device="cuda", dtype="float16", attention="flash_attention_2")
