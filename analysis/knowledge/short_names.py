"""Short names of kernels, for people: what a PyTorch kernel computes, without its wrappers."""

import re
from collections.abc import Callable, Sequence
from typing import Final

_BASE: Final = re.compile(r"^(?:void )?(?:[\w<>]+::)*(\w+)<")
_COMPUTES: Final = re.compile(
    r"\b(\w*(?:Functor(?:OnSelf)?\w*|Ops|_functor|_kernel_cuda|_kernel_impl|_cuda_out|"
    r"CUDAKernelImpl|TensorAssign|ReduceAdd))\b"
)
_WRAPPERS: Final = frozenset(
    ["BinaryFunctor", "AUnaryFunctor", "BUnaryFunctor", "UnaryFunctor", "gpu_kernel_impl"]
)
_NOISE: Final = re.compile(r"(?<![\w>])(?:at::native::|at::cuda::|c10::|<unnamed>::)+")


def short_name(name: str) -> str:
    """Return a short name of a PyTorch kernel, by what it computes; any other name as it is.

    PyTorch's elementwise and reduction kernels are templates, and only an argument deep inside
    says what they compute.

    >>> mul = "at::native::BinaryFunctor<float, float, at::native::binary_internal::MulFunctor<T>>"
    >>> short_name(f"void at::native::vectorized_elementwise_kernel<(int)4, {mul}, T>(int, T2, T3)")
    'vectorized_elementwise_kernel<MulFunctor>'
    >>> short_name("ampere_sgemm_128x64_tn"), short_name("aten::mm")
    ('ampere_sgemm_128x64_tn', 'aten::mm')
    """
    base = _BASE.match(name)
    if base is None or "at::native" not in name:
        return name.removeprefix("void ")
    computes = [word for word in _COMPUTES.findall(name) if word not in _WRAPPERS]
    if computes and computes[0] != base[1]:
        return f"{base[1]}<{computes[0]}>"
    return _NOISE.sub("", name.removeprefix("void "))


_CASTS: Final = re.compile(r"\((?:unsigned )?\w+\)(?=\d)")
_TYPE: Final = re.compile(
    r"\b(float|double|BFloat16|Half|Float8_\w+|complex|long|int|short|bool|char(?! ?\*))\b"
)
_OPERANDS: Final = re.compile(r"\b(AUnary|BUnary|Unary|Binary)Functor\b")
_SIZE: Final = re.compile(r"<(\d+)\b")

_DISTINGUISHING: Final[tuple[Callable[[str], re.Match[str] | None], ...]] = (
    _TYPE.search,
    _OPERANDS.search,
    _SIZE.search,
)
"""What tells instances of one template apart, the most telling first: number format, which operands
are tensors, and how many elements or threads each instance takes."""


def distinct_short_names(names: Sequence[str]) -> list[str]:
    """Return short names of kernels, of which two are equal only where the full names are.

    Where several would become the same, each gets what tells it apart: the number format and so
    on, or, where that does not, a number.

    >>> at = "void at::native::reduce_kernel<(int)4, at::native::"
    >>> distinct_short_names([f"{at}FillFunctor<{kind}>>(int, T2)" for kind in ("float", "long")])
    ['reduce_kernel<FillFunctor, float>', 'reduce_kernel<FillFunctor, long>']
    >>> distinct_short_names(["void f", "f", "f", "g"])
    ['f #1', 'f #2', 'f #2', 'g']
    """
    known = {name: short_name(name) for name in names}
    for alike in _equal(known):
        known |= _distinguished({name: known[name] for name in alike})
    return numbered([known[name] for name in names], names)


def numbered(short: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return short names with a number where different names share one.

    Args:
        short: ``N`` of them.
        names: ``N`` names that they stand for.

    >>> numbered(["a", "a", "b"], ["ax", "ay", "b"])
    ['a #1', 'a #2', 'b']
    """
    known = dict(zip(names, short, strict=True))
    for alike in _equal(known):
        known |= {name: f"{known[name]} #{place}" for place, name in enumerate(alike, 1)}
    return [known[name] for name in names]


def _equal(known: dict[str, str]) -> list[list[str]]:
    """Return the names that share a short one, in their order; those that share none left out."""
    groups: dict[str, list[str]] = {}
    for name, short in known.items():
        groups.setdefault(short, []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _distinguished(known: dict[str, str]) -> dict[str, str]:
    """Return longer short names for some that are all the same: no more than it takes."""
    words: dict[str, tuple[str, ...]] = dict.fromkeys(known, ())
    for search in _DISTINGUISHING:
        hits = {name: search(_CASTS.sub("", name)) for name in known}
        more = {name: (*words[name], hit[1]) if hit else words[name] for name, hit in hits.items()}
        if len(set(more.values())) > len(set(words.values())):
            words = more
    return {name: _with_details(short, words[name]) for name, short in known.items()}


def _with_details(short: str, words: tuple[str, ...]) -> str:
    if not words:
        return short
    inside = short.endswith(">")
    return f"{short[:-1]}, {', '.join(words)}>" if inside else f"{short} ({', '.join(words)})"
