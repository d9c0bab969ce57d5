"""Spans for a model that cannot be edited, by the hooks of its modules and optimizers."""

import re
import threading
from collections.abc import Iterator
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import optimizer as optimizers
from torch.utils import _pytree as pytree

from profiling import names
from profiling.forward import Mark, span
from profiling.stack import stack

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
    if not getattr(module, _annotated, False):
        _hook(module, names.FORWARD)
        for path, submodule in module.named_modules():
            if path and (name := _range_name(path, submodule)):
                _hook(submodule, name)
        setattr(module, _annotated, True)
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
    def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if torch.compiler.is_compiling():
            return
        flops, backward_flops = _flops(module, inputs)
        _enter(module, name, flops, backward_flops)

    def after(module: nn.Module, _inputs: tuple[Any, ...], output: object) -> None:
        if not torch.compiler.is_compiling():
            _exit(module, output)

    module.register_forward_pre_hook(before)
    module.register_forward_hook(after, always_call=True)


def _flops(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[int | None, int | None]:
    """Return forward and backward FLOPs where the module says what it computes."""
    if isinstance(module, nn.Linear) and inputs and isinstance(inputs[0], Tensor):
        forward = 2 * inputs[0].numel() * module.out_features
        return forward, forward * (inputs[0].requires_grad + module.weight.requires_grad)
    if isinstance(module, nn.Embedding):
        return 0, None
    return None, None


def _enter(owner: object, name: str, flops: int | None, backward_flops: int | None) -> None:
    mark = None
    if name not in names.PHASES or all(entry.name != name for entry in stack()):
        mark = span(name, flops, backward_flops=backward_flops)
        mark.__enter__()
    try:
        _open.marks.append((owner, mark))
    except AttributeError:
        _open.marks = [(owner, mark)]


def _exit(owner: object, output: object) -> None:
    """Close the owner's span; and first those inside whose own hook never came."""
    marks: list[tuple[object, Mark | None]] = getattr(_open, "marks", [])
    if all(entry is not owner for entry, _ in marks):
        return
    while True:
        entry, mark = marks.pop()
        if mark is not None:
            if entry is owner:
                for tensor in _tensors(output):
                    mark.output(tensor)
            mark.__exit__(None, None, None)
        if entry is owner:
            return


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
