"""The parts of a kernel's name: the function, its template arguments and its parameters."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

_NO_NAMESPACE: Final = re.compile(r"(?:\(anonymous namespace\)|<unnamed>)(?:::)?")
_RETURNED: Final = re.compile(r"(?:^|::|(?<= ))(?:void|bool|int|float|double|type)$")
_MANGLED: Final = re.compile(r"_ZN?K?(?=\d)")
_IDENTIFIER: Final = re.compile(r"\d{1,4}")
_MARKS: Final = re.compile(r"[<>()\[\]{} ]")

LONGEST: Final = 1 << 14
"""How much of a name is read: what a kernel does stands in front, and CUTLASS's have a few kB."""


class KernelName(NamedTuple):
    """A kernel's name in parts.

    Attributes:
        function: with its namespaces, without what it returns.
        arguments: those of the templates; of a name that is still mangled, all after the function.
        parameters: their types.
    """

    function: str
    arguments: str
    parameters: str

    @property
    def base(self) -> str:
        """The function without its namespaces."""
        return self.function.rpartition("::")[2]


@lru_cache(maxsize=1 << 12)
def parts(name: str) -> KernelName:
    """Return the parts of a kernel's name, demangled or not; of one that is no C++, all of it.

    >>> tuple(parts("void cudnn::bn_fw<float, 512>(cudnn::reduced_divisor)"))
    ('cudnn::bn_fw', 'float, 512', 'cudnn::reduced_divisor')
    >>> parts("_ZN5cudnn3cnn17wgrad_alg0_engineIfLi512EEEviii").function
    'cudnn::cnn::wgrad_alg0_engine'
    >>> parts("ampere_sgemm_128x64_tn").base, parts("[CUDA memset]").base
    ('ampere_sgemm_128x64_tn', '[CUDA memset]')
    """
    name = name[:LONGEST]
    if start := _MANGLED.match(name):
        return _of_mangled(name, start.end())
    name = _NO_NAMESPACE.sub("", name)
    function: list[str] = []
    arguments: list[str] = []
    begin = depth = 0
    for mark in _MARKS.finditer(name):
        place, letter = mark.start(), mark[0]
        if letter in "<([{":
            if depth == 0:
                function.append(name[begin:place])
                begin = place + 1
                if letter == "(" and place and name[place - 1] != " ":
                    return KernelName("".join(function), ", ".join(arguments), name[begin:-1])
            depth += 1
        elif letter in ">)]}" and depth:
            depth -= 1
            if depth == 0:
                arguments.append(name[begin:place])
                begin = place + 1
        elif letter == " " and depth == 0 and _RETURNED.search(name, max(place - 9, 0), place):
            function.clear()
            arguments.clear()
            begin = place + 1
    if depth:  # cut short
        arguments.append(name[begin:])
    else:
        function.append(name[begin:])
    found = "".join(function)
    return KernelName(found, ", ".join(arguments), "") if found else KernelName(name, "", "")


def _of_mangled(name: str, begin: int) -> KernelName:
    """Return the parts of a mangled name whose identifiers begin at a place."""
    function = []
    while number := _IDENTIFIER.match(name, begin):
        begin = number.end() + int(number[0])
        function.append(name[number.end() : begin])
    return KernelName("::".join(function), name[begin:], "")
