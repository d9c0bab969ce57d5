"""The number format of a matrix product, by the name of its kernel.

What counts is the format of the numbers that are multiplied. Names also tell those of the sum and
of the result, which are often wider, seldom narrower: where a name has a place for the operands'
format that place decides, else the narrowest format in it.
"""

from __future__ import annotations

import re
from typing import Final

from analysis.knowledge.kernel_names import parts

OF_DTYPE: Final = {
    "float64": "fp64",
    "float32": "fp32",
    "bfloat16": "bf16",
    "float16": "fp16",
    "float8_e4m3fn": "fp8",
    "float8_e5m2": "fp8",
}
"""What `analysis.knowledge.peaks` calls PyTorch's types."""

WORDS: Final = {
    "fp4": r"e2m1|(?:nv|mx|(?<![a-z]))fp4(?!\d)",
    "fp8": r"e4m3|e5m2|fp8|float8|(?<![a-z\d])b?f8(?!\d)",
    # Composable Kernel's bhalf_t is an unsigned short; DF16b is how compilers mangle the type.
    "bf16": r"bf16|bfloat16|bhalf|xdl.{0,400}unsigned short|df16b",
    "fp16": r"(?<!b)(?:f|fp|float)16|(?<![a-z])half|hmma|hgemm",
    "tf32": r"tf32|tfloat32",
    "int8": r"int8|(?<![a-z0-9])[isu]8(?!\d)|signed char|imma(?![a-z])",
    "fp64": r"(?<!t)(?:f|fp|float)64|(?<![a-z])double(?![\da-z_])|dgemm",
    "fp32": r"(?<!t)(?:f|fp|float)32|(?<![a-z])float(?![\da-z])|sgemm|simt|ffma",
}
"""How formats are called in kernels' names, the narrowest first; bf16 and fp16 are as narrow."""

_WORDS: Final = {name: re.compile(word, re.IGNORECASE) for name, word in WORDS.items()}
HALVES: Final = ("bf16", "fp16")

TYPE: Final = r"(tf32|bf16|f?p?16|f?p?32|f?p?64|e2m1|e4m3|e5m2|int8|[isu]8)"

# sm80_xmma_gemm_f32f32_tf32f32_f32_…: both operands; what is multiplied, and the sum; the result.
XMMA: Final = re.compile(rf"xmma_(?:\w{{1,80}}_)?gemm_{TYPE}\w{{0,20}}?_{TYPE}", re.IGNORECASE)

# The accumulator's letter, the tensor cores' shape and, where operands are converted, to what:
# ampere_fp16_s16816gemm_fp16, cutlass_80_tensorop_s1688tf32gemm, cutlass_80_simt_sgemm. Then the
# operands' format, where the letter does not tell. cuDNN's have its name in the place of gemm.
LETTERED: Final = re.compile(
    rf"(?<![a-z])g?([hsdiczb])(\d[\dx]*)?(?:fast)?{TYPE}?(?:gemm|cudnn)(?![a-z])(?:_(?:[a-z]+_)*?{TYPE}(?![a-z\d]))?"
)
OF_LETTER: Final = {"h": "fp16", "d": "fp64", "i": "int8", "z": "fp64", "s": "fp32", "c": "fp32"}
ON_TENSOR_CORES: Final = {"fp32": "tf32"}
"""What tensor cores make of a format that they do not have."""

# The instruction of CUTLASS 3: MMA_64x128x16_F32BF16BF16_SS, the sum's format before the operands'.
ATOM: Final = re.compile(
    r"_(?:F32|F16|S32|F64)(F16|BF16|TF32|E2M1|E4M3|E5M2|S8|U8|F64)(?=[FBTESU])"
)

# cuBLAS since 12: nvjet_[sm90_]tst_…: the operands, once if they are alike, the sum, the result.
NVJET: Final = re.compile(r"nvjet_(?:sm\d+_)?([a-z])")
OF_NVJET: Final = {
    "q": "fp8",
    "r": "fp8",
    "t": "bf16",
    "h": "fp16",
    "s": "tf32",  # of tensor cores, all of them
    "d": "fp64",
}

# rocBLAS and hipBLASLt: the operands' type, its result's and its sum's; where operands are
# converted, both before and after. MX is the mode in which float32 is multiplied as xf32.
TENSILE: Final = re.compile(
    r"Cijk_A[a-z]+_B[a-z]+_(?:[A-Z0-9]+_(?=[HBSD][HBS]S_))?([A-Za-z0-9]+)(_MX)?"
)
OF_TENSILE: Final = (
    (r"F4", "fp4"),
    (r"[FB]8", "fp8"),
    (r"I8|4xi8", "int8"),
    (r"H", "fp16"),
    (r"B", "bf16"),
    (r"[SC]", "fp32"),
    (r"[DZ]", "fp64"),
)


def of_kernel(name: str) -> str:
    """Return the number format of a matrix product by its kernel's name, "" where it says nothing.

    >>> of_kernel("ampere_sgemm_128x64_tn"), of_kernel("nvjet_tst_192x192_64x4")
    ('fp32', 'bf16')
    >>> of_kernel("sm80_xmma_gemm_f32f32_tf32f32_f32_nn_n_tilesize128x128x16_stage4")
    'tf32'
    >>> of_kernel("void gemv2T_kernel_val<int, int, __half, __half, float>(float, float)")
    'fp16'
    >>> of_kernel("Cijk_Alik_Bljk_BBS_BH_Bias_HA_S_SAV_UserArgs_MT256x256x64_MI16x16x1")
    'bf16'
    """
    if jet := NVJET.search(name):
        return OF_NVJET.get(jet[1], "")
    if product := TENSILE.search(name):
        if product[2]:
            return "tf32"
        return next((text for word, text in OF_TENSILE if re.match(word, product[1])), "")
    return next(filter(None, map(in_text, parts(name))), "")


def in_text(text: str) -> str:
    """Return the number format that a part of a kernel's name tells, "" where it tells none."""
    if xmma := XMMA.search(text):
        operand, multiplied = (in_words(each) for each in xmma.groups())
        return "tf32" if (operand, multiplied) == ("fp32", "tf32") else operand
    if lettered := LETTERED.search(text):
        letter, shape, converted, operand = lettered.groups()
        if told := converted or operand:
            found = in_words(told)
        elif halves := [label for label in HALVES if _WORDS[label].search(text)]:
            return halves[0]
        else:
            found = OF_LETTER.get(letter, "")
        if letter == "s" and shape == "884":
            return "fp16"  # Volta's tensor cores have no other
        return ON_TENSOR_CORES.get(found, found) if shape else found
    if atom := ATOM.search(text):
        return in_words(atom[1])
    return in_words(text)


def in_words(text: str) -> str:
    """Return the narrowest of the number formats that are named in a text, "" if none is."""
    first = {label: hit.start() for label, word in _WORDS.items() if (hit := word.search(text))}
    narrow = next(iter(first), "")
    return (
        min(HALVES, key=lambda label: first.get(label, len(text))) if narrow in HALVES else narrow
    )
