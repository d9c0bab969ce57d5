"""Watch what happens inside an attention that one cannot edit: the rotation, and attention proper.

Both are plain functions there, so no module hook sees them. The rotation is looked up by name in
the module the attention was written in. Attention proper is looked up in transformers' registry of
attention implementations; ours stands there under the name of the one that was chosen, and calls
it: masks and everything else that depends on the name stay as they are.
"""

import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Final

from torch import nn

from profiling import names
from profiling.spans import span

Around = Callable[[str], AbstractContextManager[object]]
"""Gives what is to be entered around a piece, by its name of `profiling.names`."""

_ROTATION: Final = "apply_rotary_pos_emb"
_EAGER: Final = "eager_attention_forward"


def spans_only(name: str) -> AbstractContextManager[object]:
    """Put a piece into a span, and nothing else."""
    return span(name)


@contextmanager
def watching_attention(attentions: Iterable[nn.Module], around: Around) -> Iterator[None]:
    """Enter ``around(name)`` whenever one of these modules rotates or attends.

    Args:
        attentions: the attention modules of one model; calls on behalf of others pass untouched.
        around: `spans_only`, or a timer that opens spans too.
    """
    modules = list(attentions)
    with ExitStack() as inside:
        for home in {type(module).__module__ for module in modules}:
            inside.enter_context(_rotation(home, around))
        for implementation in {_implementation(module) for module in modules} - {""}:
            inside.enter_context(_registered(implementation, modules, around))
        yield


def _implementation(attention: nn.Module) -> str:
    return str(getattr(getattr(attention, "config", None), "_attn_implementation", None) or "")


@contextmanager
def _rotation(home: str, around: Around) -> Iterator[None]:
    module = sys.modules[home]
    real = getattr(module, _ROTATION, None)
    if real is None:
        yield
        return

    @functools.wraps(real)
    def rotate(*args: Any, **kwargs: Any) -> Any:
        with around(names.ROPE):
            return real(*args, **kwargs)

    setattr(module, _ROTATION, rotate)
    try:
        yield
    finally:
        setattr(module, _ROTATION, real)


@contextmanager
def _registered(implementation: str, attentions: list[nn.Module], around: Around) -> Iterator[None]:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS as REGISTRY

    before = REGISTRY.get(implementation)
    known = {id(module) for module in attentions}
    # Eager attention is in no registry: each family of models has its own.
    own = {home: getattr(sys.modules[home], _EAGER, None) for home in _homes(attentions)}
    if before is None and None in own.values():
        yield
        return

    def attend(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        real = before or getattr(sys.modules[type(module).__module__], _EAGER)
        if id(module) not in known:
            return real(module, *args, **kwargs)
        with around(names.ATTENTION_CORE):
            return real(module, *args, **kwargs)

    REGISTRY[implementation] = attend
    try:
        yield
    finally:
        REGISTRY.pop(implementation)
        if REGISTRY.get(implementation) is not before:  # somebody else's stood there too
            REGISTRY[implementation] = before


def _homes(modules: Iterable[nn.Module]) -> set[str]:
    return {type(module).__module__ for module in modules}
