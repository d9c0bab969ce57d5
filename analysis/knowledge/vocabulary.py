"""The names of ranges: our own, and the spellings that other projects use for them."""

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final

from profiling import names

ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    names.WARMUP: ("Warm-up", "warm-up", "warm_up", "Warmup", "WARMUP", "warm up"),
    names.STEP: (
        "Step",
        "train_step",
        "training_step",
        "training step",
        "iteration",
        "ProfilerStep",
    ),
    names.FORWARD: ("Forward", "forward pass", "Forward pass", "forward_pass", "fwd"),
    names.BACKWARD: ("Backward", "backward pass", "Backward pass", "backward_pass", "bwd"),
    names.OPTIMIZER: (
        "Optimizer",
        "optimizer step",
        "Optimizer step",
        "optimizer_step",
        "optimizer.step",
    ),
    names.ATTENTION: ("scaled dot product attention", "scaled_dot_product_attention"),
    # Our own model scales and masks inside the scores, so masking counts with them.
    names.ATTENTION_SCORES: ("computing attention scores", "attention scores", "masking"),
    names.SOFTMAX: ("computing softmax",),
    names.FINAL_MATMUL: ("final matmul",),
    names.FUSED_ATTENTION: ("fused attention", "flash attention", "flash_attention"),
    names.LOSS: ("Loss", "computing loss", "loss computation"),
}
"""Canonical name to the other spellings of CS336 answers and public training codes."""

_CANONICAL: Final = {
    alias + suffix: canonical + suffix
    for canonical, aliases in ALIASES.items()
    for alias in aliases
    for suffix in ("", names.BACKWARD_SUFFIX)
}


_NUMBERED: Final = re.compile(r", (?:op_id|seq|sizes|input_op_ids) = .*")
"""What ``torch.autograd.profiler.emit_nvtx`` adds to an operator's name; different every time."""

_PROFILER_STEP: Final = re.compile(r"(ProfilerStep)#\d+")
"""What ``torch.profiler.profile.step`` calls the range around each step."""

EVALUATE: Final = "autograd::engine::evaluate_function: "
"""What autograd's engine puts before the name of a node while it runs it."""

ENGINE_THREAD: Final = re.compile(r"pt_autograd_\d+")
"""What autograd's engine calls its threads, one a device."""

_OPTIMIZER_CALL: Final = re.compile(r"Optimizer\.(step|zero_grad)#")
"""What ``torch.optim.Optimizer`` calls the ranges around ``step`` and ``zero_grad``."""

_OF_PYTORCH: Final = re.compile(
    r"aten::|autograd::|c10d?::|nccl:|ProfilerStep#|Optimizer\.|enumerate\(DataLoader\)"
    r"|Torch-Compiled Region|TorchDynamo|## Call CompiledFxGraph|PyTorch Profiler"
    r"|DistributedDataParallel\.|FullyShardedDataParallel\.|FSDP::"
)
"""How names begin of ranges that PyTorch opens by itself, whoever wrote the script."""


def clean(name: str) -> str:
    """Return the name of a range without the number that differs from call to call.

    >>> clean("aten::mul, op_id = 314339"), clean("AddmmBackward0, seq = 7, op_id = 9")
    ('aten::mul', 'AddmmBackward0')
    >>> clean("ProfilerStep#12"), clean("ProfilerStep#12a")
    ('ProfilerStep', 'ProfilerStep#12a')
    """
    if step := _PROFILER_STEP.fullmatch(name):
        return step[1]
    return _NUMBERED.sub("", name) if ", " in name else name


def is_profiler_step(name: str) -> bool:
    """Return whether a range is a step of PyTorch's profiler."""
    return _PROFILER_STEP.fullmatch(name) is not None


def optimizer_call(name: str) -> str:
    """Return which method of an optimizer PyTorch opened a range around, or "".

    >>> optimizer_call("Optimizer.step#AdamW.step"), optimizer_call("optimizer step")
    ('step', '')
    """
    found = _OPTIMIZER_CALL.match(name)
    return found[1] if found else ""


def is_of_pytorch(name: str) -> bool:
    """Return whether PyTorch opens a range of this name by itself."""
    return _OF_PYTORCH.match(name) is not None


@lru_cache(maxsize=1 << 17)  # asked of every name of a report, several times
def canonical(name: str) -> str:
    """Return our name for a range, or else the range's own name, cleaned.

    >>> canonical("computing softmax"), canonical("my_range")
    ('softmax', 'my_range')
    """
    name = clean(name)
    return _CANONICAL.get(name, name)


def matching(known: Iterable[str], wanted: str) -> set[str]:
    """Return the names that a user means: those equal, else other spellings, else by glob.

    >>> matching(["softmax", "computing softmax"], "softmax")
    {'softmax'}
    >>> matching(["computing softmax"], "softmax")
    {'computing softmax'}
    >>> sorted(matching(["aten::mm, seq = 1", "aten::mul, seq = 2"], "aten::m*"))
    ['aten::mm, seq = 1', 'aten::mul, seq = 2']
    """
    there = set(known)
    tests = (
        lambda name: name == wanted,
        lambda name: canonical(name) == canonical(wanted),
        lambda name: fnmatchcase(name, wanted) or fnmatchcase(canonical(name), wanted),
    )
    for test in tests:
        if found := {name for name in there if test(name)}:
            return found
    return set()
