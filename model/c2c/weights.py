"""Trained projectors on disk, in the layout that the C2C authors publish theirs in.

A folder holds ``projector_0.pt``, ``projector_1.pt``, …, the weights of one projector each, and
``projector_config.json``, which says what sharer layer and what projector each receiver layer has:
``{receiver model: {sharer model: {receiver layer: [[sharer layer, projector], …]}}}``.
"""

import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from model.c2c.fuser import Fuser
from model.c2c.projector import CacheShape, ProjectorShape

CONFIG_NAME: Final = "projector_config.json"

THEIRS: Final = {
    "input": "in",
    "mlp": "mlp1.blocks.0",
    "scalar_mlp": "scalar_mlp2.blocks.0",
    "feature_mlps": "proj_mlp2.blocks",
    "feature_out": "proj_out",
    "up": "w1",
    "down": "w2",
}
"""What is called otherwise in the files, of the parts of a weight's name."""

_NOT_WEIGHTS: Final = ("gate_temperature",)
"""What training leaves in the file besides weights."""


def load_fuser(folder: Path, source: CacheShape, target: CacheShape) -> Fuser:
    """Return the trained projectors of a folder, for models that cache such shapes.

    Raises:
        ValueError: the folder has no such projectors, or they are of other models.
        OSError: it cannot be read.
    """
    files = sorted(folder.glob("projector_*.pt"), key=_number)
    if not files:
        raise ValueError("no projector_0.pt in it; give the folder that holds the projectors")
    mapping, chosen = _assigned(folder / CONFIG_NAME, len(files), target.layers)
    weights = [_read(file) for file in files]
    shape = _shape(weights[0])
    fuser = Fuser(source, target, shape, mapping)
    for layer, number in enumerate(chosen):
        if number >= len(weights):
            raise ValueError(f"{CONFIG_NAME} names projector {number}, and {len(files)} are there")
        _fill(fuser.projectors[layer], weights[number], files[number].name)
    return fuser


def save_fuser(fuser: Fuser, folder: Path) -> None:
    """Write projectors to a folder, for `load_fuser` and for the authors' own code."""
    folder.mkdir(parents=True, exist_ok=True)
    layers = {}
    for layer, projector in enumerate(fuser.projectors):
        state = {_published(name): value for name, value in projector.state_dict().items()}
        torch.save(state, folder / f"projector_{layer}.pt")
        layers[str(layer)] = [[fuser.mapping[layer], layer]]
    (folder / CONFIG_NAME).write_text(json.dumps({"0": {"1": layers}}))


def _number(file: Path) -> int:
    found = re.fullmatch(r"projector_([0-9]+)", file.stem)
    return int(found[1]) if found else -1


def _assigned(config: Path, projectors: int, layers: int) -> tuple[list[int] | None, list[int]]:
    """Return each receiver layer's sharer layer (None: the default) and projector."""
    if not config.exists():
        if projectors != layers:
            raise ValueError(f"{projectors} projectors in it, and the receiver has {layers} layers")
        return None, list(range(layers))
    wrong = f"{CONFIG_NAME} does not assign one sharer layer and projector to each receiver layer"
    try:
        ((_, sharers),) = json.loads(config.read_text(encoding="utf-8")).items()
        ((_, assigned),) = sharers.items()
        pairs = [assigned[str(layer)][0] for layer in range(layers)]
        found = [(int(source), int(projector)) for source, projector in pairs]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise ValueError(wrong) from None
    if len(assigned) != layers or any(len(each) != 1 for each in assigned.values()):
        raise ValueError(f"{wrong}; the receiver has {layers}")
    return [source for source, _ in found], [projector for _, projector in found]


def _read(file: Path) -> dict[str, Tensor]:
    try:
        state: Any = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{file.name} holds no weights ({said[:80]})") from None
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{file.name} holds no weights by name")
    return {name: value for name, value in state.items() if name not in _NOT_WEIGHTS}


def _published(name: str) -> str:
    """Return what a weight of ours is called in the files.

    >>> _published("key.feature_mlps.0.up.weight")
    'key_proj_mlp2.blocks.0.w1.weight'
    """
    branch, *parts = name.split(".")
    return f"{branch}_{'.'.join(THEIRS.get(part, part) for part in parts)}"


def _shape(weights: dict[str, Tensor]) -> ProjectorShape:
    """Return the hyperparameters that weights of such shapes have."""
    known = _published("key.mlp.up.weight")
    try:
        intermediate, hidden = weights[known].shape
    except (KeyError, ValueError):
        raise ValueError(f"projector_0.pt has no {known}") from None
    blocks = _published("key.feature_mlps.")
    count = len({name.split(".")[2] for name in weights if name.startswith(blocks)})
    return ProjectorShape(hidden=hidden, intermediate=intermediate, depth=2 + max(count, 1))


def _fill(projector: nn.Module, weights: dict[str, Tensor], file: str) -> None:
    own = {_published(name): (name, value.shape) for name, value in projector.state_dict().items()}
    for name in sorted(weights.keys() - own.keys()):
        raise ValueError(f"{file} has a weight {name!r}, which no C2C projector has of this depth")
    for name in sorted(own.keys() - weights.keys()):
        raise ValueError(f"{file} lacks {name}")
    state = {}
    for name, (ours, shape) in own.items():
        # A gate may be saved as a number or as a list of one.
        value = state[ours] = weights[name] if shape else weights[name].reshape(())
        if value.shape != shape:
            raise ValueError(
                f"{file}: {name} is {tuple(value.shape)}, and these two models want "
                f"{tuple(shape)}; it was trained for other models"
            )
    projector.load_state_dict(state)
