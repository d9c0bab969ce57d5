"""Load the two models of C2C, their projectors, and what aligns their tokens."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from analysis.show.errors import reason
from model.c2c import Fuser, cache_shape, layer_mapping
from model.c2c.alignment import TokenAligner
from model.c2c.choices import PICKS
from model.c2c.projector import CacheShape, ProjectorShape
from model.c2c.weights import load_fuser
from profiling.common.cli import is_out_of_memory
from profiling.common.errors import LaunchError
from profiling.common.options import chosen
from profiling.generation.pipeline import ModelPair
from profiling.generation.selection import ALONE, REFUSE, ModelSelection
from profiling.models import pretrained
from profiling.models.pretrained import LoadedModel
from profiling.models.request import ModelRequest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class ReadyModels:
    """Models that can generate, with what turns text into tokens and back.

    Attributes:
        pair: the models.
        tokenizer: the base's.
        notes: what there is to say about them.
    """

    pair: ModelPair
    tokenizer: "PreTrainedTokenizerBase"
    notes: tuple[str, ...] = ()


def load_models(models: ModelSelection) -> ReadyModels:
    """Load both models, their tokenizers and the projectors between them.

    Raises:
        UsageError: something asked for does not exist.
        LaunchError: a model cannot be had, or the two cannot work together.
    """
    base = _load(models, models.base, models.random_init, models.seed)
    stop = stop_tokens(base)
    if not models.has_teacher:
        return ReadyModels(ModelPair(base.model, stop, models.device), base.tokenizer)
    # Another seed: with one shape for both, the two would be one model.
    teacher = _load(models, models.teacher, models.teacher_random_init, models.seed + 1)
    aligner = _aligner(models, base, teacher)
    fuser = _fuser(models, base, teacher)
    pair = ModelPair(base.model, stop, models.device, teacher.model, fuser, aligner)
    return ReadyModels(pair, base.tokenizer, _notes(models, fuser, aligner))


def _load(models: ModelSelection, name: str, random_init: str | None, seed: int) -> LoadedModel:
    return pretrained.load(
        chosen(ModelRequest, models, name=name, random_init=random_init, seed=seed)
    )


def stop_tokens(base: LoadedModel) -> frozenset[int]:
    """Return where generation ends: as transformers has it, else at the tokenizer's own end."""
    stop: Any = getattr(base.model.generation_config, "eos_token_id", None)
    if stop is None:
        stop = base.tokenizer.eos_token_id
    if stop is None:
        return frozenset()
    return frozenset(stop if isinstance(stop, list) else [int(stop)])


def _aligner(models: ModelSelection, base: LoadedModel, teacher: LoadedModel) -> TokenAligner:
    pick = PICKS[0] if models.alignment == REFUSE else models.alignment
    aligner = TokenAligner(base.tokenizer, teacher.tokenizer, pick)
    if not aligner.same and models.alignment == REFUSE:
        raise LaunchError(
            f"{base.name} and {teacher.name} have different tokenizers; "
            f"use --alignment {' or '.join(PICKS)}, or models of one family"
        )
    _check_vocabulary(teacher)
    return aligner


def _check_vocabulary(loaded: LoadedModel) -> None:
    """Refuse a tokenizer with tokens that its model has no vector for."""
    table: Any = loaded.model.get_input_embeddings()
    rows = len(table.weight)
    highest = max(loaded.tokenizer.get_vocab().values(), default=-1)
    if highest >= rows:
        raise LaunchError(
            f"{loaded.name}: its tokenizer goes to token {highest} and its model to {rows - 1}; "
            "give a model with its own tokenizer"
        )


def _fuser(models: ModelSelection, base: LoadedModel, teacher: LoadedModel) -> Fuser:
    source, target = _shape(teacher), _shape(base)
    if models.projector:
        fuser = _trained(Path(models.projector).expanduser(), source, target)
    else:
        shape = ProjectorShape(models.projector_hidden, models.projector_hidden)
        mapping = layer_mapping(source.layers, target.layers, models.layer_mapping)
        # On the CPU, so that a seed means the same weights on every device.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(models.seed)
            fuser = Fuser(source, target, shape, mapping)
    if models.open_gates:
        fuser.open_gates()
    fuser.eval().requires_grad_(False)
    try:
        return fuser.to(device=models.device, dtype=getattr(torch, models.dtype))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise LaunchError(
            f"out of memory with the projectors on {models.device}; use a smaller "
            "--projector-hidden, smaller models, or another --device"
        ) from None


def _shape(loaded: LoadedModel) -> CacheShape:
    try:
        return cache_shape(loaded.model)
    except ValueError as error:
        raise LaunchError(
            f"{loaded.name}: {error}, which C2C works on; use a decoder such as Qwen3, or "
            f"--teacher-model {ALONE}"
        ) from None


def _trained(folder: Path, source: CacheShape, target: CacheShape) -> Fuser:
    if not folder.is_dir():
        raise LaunchError(f"{folder}: no such folder; give the one that holds projector_0.pt")
    try:
        return load_fuser(folder, source, target)
    except ValueError as error:
        raise LaunchError(f"{folder}: {error}") from None
    except OSError as error:
        where = error.filename or folder
        raise LaunchError(f"{where}: cannot be read ({reason(error)})") from None


def _notes(models: ModelSelection, fuser: Fuser, aligner: TokenAligner) -> tuple[str, ...]:
    notes = []
    if not fuser.open_layers:
        notes.append(
            "every projector's gate is closed: they take their time and change nothing"
            + ("" if models.projector else "; --projector loads trained ones")
        )
    if not aligner.same:
        notes.append(
            f"the tokenizers differ: the teacher reads the base's tokens one by one, "
            f"the {models.alignment} of its own for each"
        )
    return tuple(notes)
