"""The kernels compiled for an H100, which needs no GPU: do they fit, do tensor cores run freely?"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from model.flash.tiles import (
    HALF,
    IEEE,
    TF32,
    Pass,
    Tiling,
    candidates,
    kernel_constants,
    masked_tiles,
)

triton = pytest.importorskip("triton")

H100_SHARED_BYTES = 232_448
"""What a program may have of a multiprocessor's 228 KiB: CUDA C++ Programming Guide, table of
technical specifications per compute capability."""

NEAR_NOTHING_BYTES = 64
"""Spilled outside of the loop it costs nothing; a sum that is spilled takes hundreds."""


class Built(NamedTuple):
    """What ptxas says of a kernel."""

    said: str
    shared_bytes: int
    ptx: str


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))


def kernel(which: Pass) -> Any:
    from model.flash import triton_backward, triton_forward

    return {
        "forward": triton_forward.flash_forward_kernel,
        "dq": triton_backward.flash_backward_dq_kernel,
        "dkdv": triton_backward.flash_backward_dkdv_kernel,
        "one_pass": triton_backward.flash_backward_dkdv_kernel,
    }[which]


def build(which: Pass, chosen: Tiling, width: int, dtype: str, length: int, folder: Path) -> Built:
    """Compile a kernel for compute capability 9.0 as a launch on causal (1, 1, length) would."""
    import torch
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    q = torch.empty(1, 1, length, width, dtype=torch.float32 if dtype == "fp32" else torch.bfloat16)
    fixed = kernel_constants(q, length, True, chosen)
    options = {name: fixed.pop(name) for name in ("num_warps", "num_stages")}
    options |= {name: fixed.pop(name) for name in ("maxnreg",) if name in fixed}
    if which in ("forward", "dq"):
        fixed["MASKED_TILES"] = masked_tiles(chosen, True)
    if which == "dkdv":
        fixed["SUMS"] = None
    signature, attributes = {}, {}
    for place, name in enumerate(kernel(which).arg_names):
        signature[name] = type_of(name, fixed, dtype)
        ragged = name in ("queries", "keys") and length % 16
        if signature[name] not in ("constexpr", "fp32") and not ragged:
            attributes[place,] = [["tt.divisibility", 16]]
    made = triton.compile(
        ASTSource(kernel(which), signature, fixed, attributes),
        target=GPUTarget("cuda", 90, 32),
        options=options,
    )
    source = folder / "kernel.ptx"
    source.write_text(made.asm["ptx"])
    ptxas = Path(triton.__file__).parent / "backends/nvidia/bin/ptxas"
    done = subprocess.run(
        [ptxas, "-v", "-arch=sm_90a", source, "-o", folder / "kernel.cubin"],
        capture_output=True,
        text=True,
        check=True,
    )
    return Built(done.stderr, made.metadata.shared, made.asm["ptx"])


def type_of(name: str, fixed: dict[str, object], dtype: str) -> str:
    if name in fixed:
        return "constexpr"
    if name in ("LSE", "STATISTICS", "SUMS"):
        return "*fp32"
    if name.isupper() and name != "HEADS":
        return f"*{dtype}"
    return "fp32" if name.startswith("scale") else "i32"


def spilled(said: str) -> int:
    found = re.search(r"(\d+) bytes spill stores", said)
    assert found, said
    return int(found[1])


EVERY_CANDIDATE: Final = 64


def all_half() -> Iterator[Any]:
    for (which, width), of_kind in HALF.items():
        # Of one width every candidate, of the others the first: each takes seconds to compile.
        for place, chosen in enumerate(of_kind if width == EVERY_CANDIDATE else of_kind[:1]):
            name = (
                f"{which}-{width}-{'x'.join(str(part) for part in (chosen.queries, chosen.keys))}"
            )
            marks = () if place == 0 else pytest.mark.slow
            yield pytest.param(which, chosen, width, 1024, marks=marks, id=f"{name}-{place}")
            if place == 0 and width == EVERY_CANDIDATE:
                yield pytest.param(
                    which, chosen, width, 1000, marks=pytest.mark.slow, id=f"{name}-ragged"
                )


@pytest.mark.parametrize(("which", "chosen", "width", "length"), list(all_half()))
def test_half_precision_runs_on_tensor_cores_that_do_not_wait_for_each_other(
    which: Pass, chosen: Tiling, width: int, length: int, tmp_path: Path
) -> None:
    built = build(which, chosen, width, "bf16", length, tmp_path)
    assert "wgmma.mma_async" in built.ptx
    assert "serialized" not in built.said
    assert spilled(built.said) <= NEAR_NOTHING_BYTES
    assert built.shared_bytes <= H100_SHARED_BYTES
    # What is added up in memory goes there four numbers at a time, and nothing else does.
    added = re.findall(r"\b(?:red|atom)\.\S+", built.ptx)
    assert bool(added) == (which == "one_pass")
    assert all(".global." in one and one.endswith(".v4.f32") for one in added), added


@pytest.mark.slow
@pytest.mark.parametrize("width", [80])
@pytest.mark.parametrize("which", ["forward", "dq", "dkdv"])
def test_float32_compiles_in_seconds(which: Pass, width: int, tmp_path: Path) -> None:
    import torch

    before = torch.get_float32_matmul_precision()
    for allowed, of_kind in (("highest", IEEE[which]), ("high", TF32[which])):
        torch.set_float32_matmul_precision(allowed)
        try:
            built = [build(which, chosen, width, "fp32", 1000, tmp_path) for chosen in of_kind]
        finally:
            torch.set_float32_matmul_precision(before)
        assert all(one.shared_bytes <= H100_SHARED_BYTES for one in built)
        assert all((".tf32" in one.ptx) == (allowed == "high") for one in built)


@pytest.mark.slow
@pytest.mark.parametrize("width", [16, 32, 80])
def test_other_widths_compile(width: int, tmp_path: Path) -> None:
    for which in ("forward", "dq", "dkdv", "one_pass"):
        first = candidates(which, width, 2, "tf32")[0]
        assert "serialized" not in build(which, first, width, "bf16", 1000, tmp_path).said
