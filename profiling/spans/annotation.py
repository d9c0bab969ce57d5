"""Spans for a model that cannot be edited, by the hooks of its modules and optimizers."""

import re
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import optimizer as optimizers
from torch.utils import _pytree as pytree

from profiling import names
from profiling.spans.backward import open_range_stack
from profiling.spans.forward import Mark, span

M = TypeVar("M", bound=nn.Module)

VOCABULARY: Final = {
    name: word
    for word, spellings in {
        names.EMBEDDING: "embedding embed_tokens wte tok_embeddings word_embeddings",
        names.NORM: (
            "norm1 norm2 ln_1 ln_2 input_layernorm post_attention_layernorm q_norm k_norm "
            "attention_norm ffn_norm attn_norm mlp_norm"
        ),
        names.ATTENTION: "attention attn self_attn self_attention",
        names.QKV_PROJECTION: "q_proj k_proj v_proj qkv_proj qkv c_attn query key value wq wk wv",
        names.ROPE: "rope rotary rotary_emb",
        names.OUTPUT_PROJECTION: "o_proj out_proj wo",
        names.FFN: "ffn mlp feed_forward",
        names.FINAL_NORM: "norm final_norm ln_f final_layernorm",
        names.LM_HEAD: "lm_head",
    }.items()
    for name in spellings.split()
}
"""What the usual model codes call a module, to the name of its range here."""

_BLOCK_LISTS: Final = frozenset(["layers", "layer", "blocks", "h"])
_open = threading.local()
_annotated: Final = "_spanlight_annotated"
_optimizers_hooked = False


def annotate(module: M) -> M:
    """Put a model's forward, backward and optimizer steps, and its submodules, into spans.

    The model itself becomes ``forward`` and ``backward``, each submodule that has parameters the
    word our own model uses for such a part (``self_attn`` is ``attention``, an entry of ``layers``
    ``block``) or else its own name, each optimizer's step ``optimizer``. Where a range of such a
    phase is open already, no second one is opened. Linear layers know their FLOPs.

    Returns:
        The same module. Annotating it again changes nothing.
    """
    _hook(module, names.FORWARD)
    for path, submodule in module.named_modules():
        if path and (name := _range_name(path, submodule)):
            _hook(submodule, name)
    _hook_optimizers()
    return module


def _range_name(path: str, module: nn.Module) -> str | None:
    *parents, own = path.split(".")
    if own in VOCABULARY:
        return VOCABULARY[own]
    if next(module.parameters(), None) is None:
        return None  # an activation, a dropout: its parent's range says enough
    if not own.isdigit():
        return re.sub(r"_?\d+", "", own) or type(module).__name__
    if parents and parents[-1] in _BLOCK_LISTS:
        return names.BLOCK
    return re.sub(r"\d+", "", type(module).__name__)


def _hook(module: nn.Module, name: str) -> None:
    if getattr(module, _annotated, False):
        return
    # Functions of this module, so that an annotated model can still be pickled.
    module.register_forward_pre_hook(partial(_before, name=name))
    module.register_forward_hook(_after, always_call=True)
    setattr(module, _annotated, True)


def _before(module: nn.Module, inputs: tuple[Any, ...], *, name: str) -> None:
    if not torch.compiler.is_compiling():
        _enter(module, name, *_flops(module, inputs))


def _after(module: nn.Module, _inputs: tuple[Any, ...], output: object) -> None:
    if not torch.compiler.is_compiling():
        _exit(module, output)


def _flops(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[int | None, int | None]:
    """Return forward and backward FLOPs where the module says what it computes."""
    if inputs and isinstance(inputs[0], Tensor) and (outputs := _outputs(module)):
        weight = module.get_parameter("weight")
        forward = 2 * inputs[0].numel() * outputs
        return forward, forward * (inputs[0].requires_grad + weight.requires_grad)
    if isinstance(module, nn.Embedding):
        return 0, None
    return None, None


def _outputs(module: nn.Module) -> int:
    """Return how many numbers a matrix gives for each vector; 0 if the module is no matrix."""
    if isinstance(module, nn.Linear):
        return module.out_features
    outputs = getattr(module, "nf", 0) if type(module).__name__ == "Conv1D" else 0
    return outputs if isinstance(outputs, int) else 0  # transformers' GPT-2


def _enter(owner: object, name: str, flops: int | None, backward_flops: int | None) -> None:
    mark = None
    if name not in names.PHASES or all(entry.name != name for entry in open_range_stack()):
        mark = span(name, flops, backward_flops=backward_flops)
        mark.__enter__()
    try:
        _open.marks.append((owner, mark))
    except AttributeError:
        _open.marks = [(owner, mark)]


def _exit(owner: object, output: object) -> None:
    """Close the owner's last span, if it is open; and forget those that went with it."""
    marks: list[tuple[object, Mark | None]] = getattr(_open, "marks", [])
    place = next((i for i in reversed(range(len(marks))) if marks[i][0] is owner), None)
    if place is None:
        return
    mark = marks.pop(place)[1]
    if mark is None:
        return
    for tensor in _tensors(output):
        mark.output(tensor)
    mark.__exit__(None, None, None)
    # Spans inside it whose own hook never came are closed now.
    still = {id(entry) for entry in open_range_stack()}
    marks[place:] = [entry for entry in marks[place:] if entry[1] is None or id(entry[1]) in still]


def _tensors(output: object) -> Iterator[Tensor]:
    for leaf in pytree.tree_leaves(output):
        if isinstance(leaf, Tensor):
            yield leaf


def _hook_optimizers() -> None:
    global _optimizers_hooked
    if _optimizers_hooked:
        return
    _optimizers_hooked = True

    def before(optimizer: torch.optim.Optimizer, *_: object) -> None:
        _exit(optimizer, None)  # a step that raised has left its range open
        _enter(optimizer, names.OPTIMIZER, None, None)

    def after(optimizer: torch.optim.Optimizer, *_: object) -> None:
        _exit(optimizer, None)

    optimizers.register_optimizer_step_pre_hook(before)
    optimizers.register_optimizer_step_post_hook(after)
