"""Short names for people: what a PyTorch kernel computes, without what it is wrapped in."""

import re
from typing import Final

_BASE: Final = re.compile(r"^(?:void )?(?:[\w<>]+::)*(\w+)<")
_COMPUTES: Final = re.compile(
    r"\b(\w*(?:Functor(?:OnSelf)?\w*|Ops|_functor|_kernel_cuda|_kernel_impl|_cuda_out|"
    r"CUDAKernelImpl|TensorAssign|ReduceAdd))\b"
)
_WRAPPERS: Final = frozenset(["BinaryFunctor", "AUnaryFunctor", "BUnaryFunctor", "UnaryFunctor"])
_NOISE: Final = re.compile(r"(?<![\w>])(?:at::native::|at::cuda::|c10::|<unnamed>::)+")


def brief(name: str) -> str:
    """Return a kernel's name as short as it can be told by; any other name as it is.

    PyTorch's elementwise and reduction kernels are templates, and only an argument deep inside
    says what they compute.

    >>> mul = "at::native::BinaryFunctor<float, float, at::native::binary_internal::MulFunctor<T>>"
    >>> brief(f"void at::native::vectorized_elementwise_kernel<(int)4, {mul}, T>(int, T2, T3)")
    'vectorized_elementwise_kernel<MulFunctor>'
    >>> brief("ampere_sgemm_128x64_tn"), brief("aten::mm")
    ('ampere_sgemm_128x64_tn', 'aten::mm')
    """
    base = _BASE.match(name)
    if base is None or "at::native" not in name:
        return name.removeprefix("void ")
    computes = [word for word in _COMPUTES.findall(name) if word not in _WRAPPERS]
    if computes and computes[0] != base[1]:
        return f"{base[1]}<{computes[0]}>"
    return _NOISE.sub("", name.removeprefix("void "))
