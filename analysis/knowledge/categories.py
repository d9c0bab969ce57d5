"""What kind of work a kernel or an operator does, by its name.

Kernels, Inductor's fused kernels and operators have a table of patterns each, since their names
have little in common. In each the order is that of the categories and the first match counts;
``other`` is what is left. Matching ignores case.

What a kernel does its function says, so that is asked first, then its namespaces, then its template
arguments; its parameters' types (``cudnn::reduced_divisor``) say nothing about it. Only where a
function runs whatever it is given (`WRAPPERS`) do the template arguments come before it.
"""

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Final

from analysis.knowledge.kernel_names import parts

CATEGORIES: Final = (
    "collective",
    "attention",
    "convolution",
    "optimizer",
    "softmax",
    "normalization",
    "embedding",
    "gemm",
    "reduction",
    "copy",
    "elementwise",
    "other",
)
"""All there are, in the order in which they are tried."""


def operator_pattern(*words: str) -> str:
    """Return a pattern for ATen operators, with their in-place, private and backward variants.

    >>> operator_pattern("mm silu")
    '^aten::_?(?:mm|silu)(?:_backward)?_?$'
    """
    return rf"^aten::_?(?:{'|'.join(' '.join(words).split())})(?:_backward)?_?$"


KERNEL_PATTERNS: Final = {
    "collective": (
        r"nccl|nvshmem|gloo|\bc10d::|multimem|cross_device_reduce|mscclkernel|userbuffers"
        r"|(?<![a-z])(?:all_?reduce|all_?gather|reduce_?scatter|all_?to_?all)"
    ),
    # FlashAttention's own preparations (`prepare_varlen_num_blocks`) are in its namespace; all that
    # FlashInfer does is in its own. vLLM's `reshape_and_cache_flash` writes to the cache.
    "attention": (
        r"(?<!cache_)flash(?!infer)|fmha|(?<![a-z])mha_|sdpa|scaled_dot_product|attention|attn"
        r"|kvcachekernel|mergestates"
    ),
    # Not `convert`. `fprop`, `dgrad` and `wgrad` are cuDNN's forward and two backward passes. Its
    # kernels for tensor cores are called like cuBLAS's, with `cudnn` for `gemm`; those by Fourier
    # transform `fft2d` and `DSE::…_fft`, with `gcgemm` between. `gtc` is MIOpen's implicit GEMM.
    "convolution": (
        r"(?<![a-z])conv(?!ert)|miopen\w{0,40}conv|implicit_gemm|fprop|dgrad|wgrad|winograd|im2col|col2im"
        r"|(?<![a-z])[hsdi]\d*cudnn(?![a-z])|gcgemm|(?<![a-z])fft2d_|(?<![a-z])dse::|flip_filter"
        r"|(?<![a-z])compute\w{0,40}offsets?kernel|cudnn::cnn::|igemm_(?:fwd|bwd|wrw)_gtc"
    ),
    "optimizer": (
        r"adam|adagrad|rmsprop|(?<![a-z])sgd|sgdfunctor|(?<![a-z])lamb_|multi_tensor_apply|foreach"
    ),
    "softmax": r"soft_?max",
    # `GammaBeta` and `RowwiseMoments` are PyTorch's layer norm, backward and forward.
    "normalization": (
        r"(?:layer|rms|batch|group|instance|weight)_?norm|gammabeta|rowwisemoments"
        r"|(?<![a-z])(?:bn|ln)_(?:fw|bw)|welford|cucomputegradinput"
    ),
    # `weight[ids]` is an `index_elementwise_kernel` or a `vectorized_gather_kernel`.
    "embedding": (
        r"(?<!rotary)(?<!rotary_)embedding|index_?select|indexing_backward|index_elementwise"
        r"|index_put|indexfunc|vectorized_gather"
    ),
    # nvjet is cuBLAS on Hopper, Cijk rocBLAS and hipBLASLt; XXT and ba_plus_cAA are Muon's matrix
    # products, in Triton. cuBLAS's dot product is a `dot_kernel` and a `reduce_1Block_kernel`.
    "gemm": (
        r"gemm|gemv|nvjet|(?<![a-z])cijk_|cublas|cutlass|split_?k|matmul|(?<![a-z])b?mm(?![a-z])"
        r"|tensorop|xmma|fused_moe_kernel|(?<![a-z])dot_kernel|reduce_1block"
        r"|^xxt_kernel|^ba_plus_caa_kernel"
    ),
    # `ReduceAdd` is what PyTorch's scatter does, `reduced_divisor` a parameter of cuDNN's.
    "reduction": (
        r"reduc(?:e(?!d_)|tion)(?!add)|(?<![a-z])scan(?:_|kernel|\b)|devicescan|cumsum|cumprod|argmax"
        r"|argmin|nll_?loss|cross_?entropy"
    ),
    # A fill is a memset; `masked_fill` reads a mask and is elementwise.
    "copy": (
        r"copy(?!sign)|memcpy|memset|(?<!masked_)fill|nchwto|nhwcto|transpose|cast_kernel"
        r"|reshape_and_cache|concat_and_cache"
    ),
    "elementwise": (
        r"elementwise|pointwise|vectorized_|unrolled_|cupy_|axpy|triu|tril|arange|dropout|gelu|silu"
        r"|swiglu|rotary|rope|distribution|random|curand|bernoulli|act_and_mul|scalepackedtensor"
    ),
}
"""GPU kernels, by the parts of their names."""

WRAPPERS: Final = re.compile(
    r"(?:^|::)(?:"
    r"(?!index_|_scatter)\w*elementwise(?:_grid_stride)?_kernel(?:_manual_unroll|_with_index)?"
    r"|multi_tensor_apply_kernel"
    r"|(?:cutlass\w*|ck_tile)::(?:kernel2?|device_kernel|kentry)"
    r"|xmma_cudnn::gemm::kernel|_kernel_agent|static_kernel"
    r")$",
    re.IGNORECASE,
)
"""Functions that run what their template arguments say: PyTorch's loops, the entries of CUTLASS,
Composable Kernel and Thrust."""

FUSED_KERNEL_PATTERNS: Final = {
    "optimizer": r"addcdiv|foreach|adam",
    "softmax": r"softmax",
    "normalization": r"(?:layer|rms|batch|group|instance|weight)_norm|mean(?:_\w+)?_rsqrt",
    "embedding": r"embedding|index_select",
    "reduction": r"^triton_(?:red|per)_|cpp_fused_(?:\w+_)?(?:sum|mean|amax|amin|var|prod)_",
    "copy": (
        r"^(?:triton_poi|(?:graph_\d+_)?cpp)_fused_(?:(?:_to_copy|copy_?|clone|cat|stack|fill|full|full_like|zeros|"
        r"zeros_like|ones|lift_fresh|view|_unsafe_view|t|permute|transpose|expand|slice|select|"
        r"split|unsqueeze|squeeze|slice_backward|select_backward)_)+\d+$"
    ),
    "elementwise": r"^triton_poi_|cpp_fused_",
}
"""Inductor's fused kernels: ``triton_{poi,red,per}_fused_<operators>_<number>``, on a CPU
``graph_<number>_cpp_fused_…``.

Their names list the operators of the graph they came from, products and attention among them whose
result they only read: so nothing here is ``gemm`` or ``attention``. Inductor's own products and
attention are called ``triton_tem_…`` (template) and are in the table above.
"""

OPERATOR_PATTERNS: Final = {
    "collective": r"c10d|nccl|gloo",
    "attention": r"scaled_dot_product|flash_attention|efficient_attention|multi_head_attention",
    "convolution": r"conv(?!ert)",
    "optimizer": r"_foreach_(?!copy)|_fused_(?:adam|adamw|sgd|adagrad)_?$|_amp_",
    "softmax": r"softmax",
    "normalization": r"(?:layer|rms|batch|group|instance|weight)_norm",
    "embedding": r"embedding|index_select|^aten::_?(?:unsafe_)?index(?:_put_?|_put_impl_|_add_?)?$",
    "gemm": operator_pattern(
        "mm bmm addmm baddbmm addbmm addmv mv dot vdot inner outer ger addr linear bilinear",
        "matmul einsum tensordot scaled_mm int_mm grouped_mm mkl_linear mkldnn_linear chain_matmul",
    ),
    "reduction": operator_pattern(
        "sum mean amax amin max min argmax argmin norm linalg_vector_norm linalg_norm std var",
        "var_mean std_mean prod cumsum cumprod logsumexp all any count_nonzero nansum",
        "nll_loss nll_loss_forward nll_loss_nd cross_entropy_loss mse_loss",
    ),
    "copy": operator_pattern(
        "copy to_copy to clone contiguous fill zero zeros zeros_like new_zeros ones ones_like",
        "new_ones full full_like new_full cat stack repeat foreach_copy",
    ),
    "elementwise": operator_pattern(
        "add sub rsub mul div true_divide floor_divide remainder fmod pow sqrt rsqrt square exp",
        "exp2 expm1 log log2 log10 log1p neg abs sign reciprocal sin cos tan tanh atan2 erf erfc",
        "sigmoid log_sigmoid silu gelu relu leaky_relu elu softplus hardtanh threshold mish glu",
        "where masked_fill masked_scatter clamp clamp_min clamp_max lerp addcmul addcdiv maximum",
        "minimum eq ne lt le gt ge logical_and logical_or logical_not logical_xor bitwise_and",
        "bitwise_or bitwise_not bitwise_xor isnan isinf isfinite floor ceil round trunc dropout",
        "native_dropout bernoulli normal uniform random randn rand randint arange triu tril gather",
        "scatter scatter_add complex polar view_as_complex_copy nan_to_num one_hot",
    ),
}
"""ATen's operators on a CPU. What only makes a view or allocates stays ``other``."""

OTHER: Final = CATEGORIES[-1]
FUSED_KERNEL: Final = re.compile(r"triton_(?:poi|red|per)_fused_|(?:graph_\d+_)?cpp_fused_")


@cache
def compiled_patterns(kind: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Return the compiled patterns for a kind of name, in the order in which they are tried."""
    table = {
        "kernel": KERNEL_PATTERNS,
        "fused": FUSED_KERNEL_PATTERNS,
        "operator": OPERATOR_PATTERNS,
    }[kind]
    return tuple((name, re.compile(pattern, re.IGNORECASE)) for name, pattern in table.items())


@lru_cache(maxsize=1 << 16)
def category(name: str) -> str:
    """Return the category of a GPU kernel, a fused kernel of Inductor's, or an ATen operator.

    The first pattern that matches counts, in the order of `CATEGORIES`; of a kernel the first part
    of its name that matches any.

    Returns:
        One of `CATEGORIES`; ``other`` if nothing matches.

    >>> category("ampere_sgemm_128x64_nn"), category("triton_per_fused__softmax_mul_3")
    ('gemm', 'softmax')
    >>> category("aten::embedding_dense_backward"), category("aten::view")
    ('embedding', 'other')
    """
    if name.startswith("aten::"):
        return first_match("operator", name)
    if FUSED_KERNEL.match(name):
        return first_match("fused", name)
    kernel = parts(name)
    texts = [kernel.base, kernel.function, kernel.arguments]
    if WRAPPERS.search(kernel.function):
        texts.insert(0, kernel.arguments)
    return next((label for text in texts if (label := first_match("kernel", text)) != OTHER), OTHER)


def first_match(kind: str, text: str) -> str:
    """Return the category whose pattern is the first to match a name or a part of one."""
    matches = (label for label, pattern in compiled_patterns(kind) if pattern.search(text))
    return next(matches, OTHER)


def categories(names: Iterable[str]) -> list[str]:
    """Return the category of each name; a name that comes again is looked up only once."""
    return [category(name) for name in names]
