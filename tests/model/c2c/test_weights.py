"""Trained projectors on disk, in the layout of their authors."""

import json
from pathlib import Path

import pytest
import torch

from model.c2c import Fuser
from model.c2c.projector import CacheShape, ProjectorShape
from model.c2c.weights import load_fuser, save_fuser

SHARER, RECEIVER = CacheShape(3, 1, 16), CacheShape(4, 2, 16)
SMALL = ProjectorShape(hidden=24, intermediate=40)


def saved(folder: Path) -> Fuser:
    torch.manual_seed(3)
    fuser = Fuser(SHARER, RECEIVER, ProjectorShape(24, 40, depth=4), mapping=(0, 1, 1, 2)).eval()
    with torch.no_grad():
        for weight in fuser.parameters():
            weight.add_(torch.randn_like(weight))
    save_fuser(fuser, folder)
    return fuser


def test_trained_projectors_come_back_as_they_were_saved(tmp_path: Path) -> None:
    fuser = saved(tmp_path)
    found = load_fuser(tmp_path, SHARER, RECEIVER)
    assert found.mapping == (0, 1, 1, 2)
    assert found.shape == fuser.shape
    assert all(
        torch.equal(one, other)
        for one, other in zip(found.state_dict().values(), fuser.state_dict().values(), strict=True)
    )


def test_the_files_have_the_names_that_the_authors_use(tmp_path: Path) -> None:
    saved(tmp_path)
    state = torch.load(tmp_path / "projector_3.pt", weights_only=True)
    block = {"norm.weight", "w1.weight", "w2.weight"}
    expected = {
        *("in.weight", "in.bias", "scalar_head.weight", "scalar_head.bias"),
        *("proj_out.weight", "proj_out.bias", "gate_logit"),
        *(f"mlp1.blocks.0.{part}" for part in block),
        *(f"scalar_mlp2.blocks.0.{part}" for part in block),
        *(f"proj_mlp2.blocks.{number}.{part}" for number in (0, 1) for part in block),
    }
    assert set(state) == {f"{side}_{name}" for side in ("key", "value") for name in expected}
    assert json.loads((tmp_path / "projector_config.json").read_text())["0"]["1"]["3"] == [[2, 3]]


def test_what_training_leaves_beside_the_weights_is_passed_over(tmp_path: Path) -> None:
    saved(tmp_path)
    path = tmp_path / "projector_0.pt"
    state = torch.load(path, weights_only=True)
    gate = state["key_gate_logit"].reshape(1)
    torch.save({**state, "gate_temperature": torch.ones(()), "key_gate_logit": gate}, path)
    assert load_fuser(tmp_path, SHARER, RECEIVER).mapping == (0, 1, 1, 2)


def damage(folder: Path, what: str) -> None:
    path = folder / "projector_0.pt"
    state = torch.load(path, weights_only=True)
    if what == "missing":
        for file in folder.glob("*.pt"):
            file.unlink()
    elif what == "fewer":
        (folder / "projector_config.json").unlink()
        path.unlink()
    elif what == "no weights":
        path.write_bytes(b"not a checkpoint")
    elif what == "a list":
        torch.save([1], path)
    elif what == "lacks":
        state.pop("key_in.bias")
        torch.save(state, path)
    elif what == "unknown":
        torch.save({**state, "key_other.weight": state["key_in.bias"]}, path)
    elif what == "config":
        (folder / "projector_config.json").write_text('{"0": {"1": {"0": [[0, 0]]}}}')


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("missing", "no projector_0.pt in it"),
        ("fewer", "3 projectors in it, and the receiver has 4 layers"),
        ("no weights", "projector_0.pt holds no weights"),
        ("a list", "projector_0.pt holds no weights by name"),
        ("lacks", "projector_0.pt lacks key_in.bias"),
        ("unknown", "has a weight 'key_other.weight', which no C2C projector has"),
        ("config", "does not assign one sharer layer and projector to each receiver layer"),
    ],
)
def test_a_damaged_folder_says_what_is_wrong(tmp_path: Path, what: str, said: str) -> None:
    saved(tmp_path)
    damage(tmp_path, what)
    with pytest.raises(ValueError, match=said):
        load_fuser(tmp_path, SHARER, RECEIVER)


def test_projectors_of_other_models_are_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    with pytest.raises(ValueError, match="it was trained for other models"):
        load_fuser(tmp_path, CacheShape(3, 2, 16), RECEIVER)
