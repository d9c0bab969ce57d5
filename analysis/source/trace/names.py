"""Names as a trace holds them: what Kineto lets through, and the short name of a kernel."""

from typing import Final

OPENING: Final = "<({["
CLOSING: Final = ">)}]"
UNNAMED: Final = "(anonymous namespace)"


def short_name(name: str) -> str:
    """Return the base name of a demangled kernel, as nsys gives it in ``shortName``.

    A name without arguments in parentheses is no C++ signature (Triton's, cuBLAS's) and stays; so
    does one whose brackets do not match.

    >>> short_name("void at::native::(anonymous namespace)::cat<float, 4>(char*, int)")
    'cat'
    >>> short_name("triton_poi_fused_add_0")
    'triton_poi_fused_add_0'
    """
    begin, end, depth, at = 0, -1, 0, 0
    while at < len(name):
        letter = name[at]
        if depth == 0 and letter == "(":
            if not name.startswith(UNNAMED, at):
                return name[begin : at if end < 0 else end] or name
            at += len(UNNAMED)
            continue
        if letter in OPENING:
            if depth == 0:
                end = at
            depth += 1
        elif letter in CLOSING:
            depth -= 1
            if depth < 0:
                return name
        elif depth == 0 and letter in ": ":
            begin, end = at + 1, -1
        at += 1
    return name
