import sqlite3
from contextlib import closing

import pytest

from analysis import Report, kernels
from analysis.knowledge import categories
from analysis.knowledge.categories import (
    CATEGORIES,
    FUSED_KERNEL_PATTERNS,
    KERNEL_PATTERNS,
    OPERATOR_PATTERNS,
    category,
)
from analysis.source import tables
from tests.made.tools import shared

VECTOR = "void at::native::vectorized_elementwise_kernel<4, at::native::"
PLAIN = "void at::native::elementwise_kernel<(int)128, (int)2, void at::native::"
FOREACH = (
    "void at::native::<unnamed>::multi_tensor_apply_kernel<at::native::<unnamed>::"
    "TensorListMetadata<(int)2>, at::native::<unnamed>::"
)

GPU = {
    "collective": [
        "ncclDevKernel_AllGather_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
        "ncclDevKernel_ReduceScatter_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
        "ncclDevKernel_SendRecv(ncclDevKernelArgsStorage<(unsigned long)4096>)",
        "ncclKernel_AllReduce_RING_LL_Sum_float(ncclWorkElem)",
        "void vllm::cross_device_reduce_1stage<__nv_bfloat16, 2>(vllm::RankData*)",
    ],
    "attention": [
        "void flash::flash_fwd_kernel<Flash_fwd_kernel_traits<(int)128, (int)128>>(Flash_params)",
        "void flash::prepare_varlen_num_blocks_kernel<8, false>(int, int, int, int const*)",
        "void cutlass::device_kernel<flash::enable_sm90_or_later<flash::FlashAttnFwdSm90<4>>>()",
        "void cutlass::device_kernel<flash::FlashAttnBwdPostprocessConvertdQ<cute::tuple<>>>()",
        "fmha_cutlassF_f32_aligned_64x64_rf_sm80(PyTorchMemEffAttention::AttentionKernel)",
        "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x128_4x1x1",
        "triton_tem_fused_flex_attention_0",
    ],
    "convolution": [
        "void cudnn::cnn::conv2d_grouped_direct_kernel<false, true>(cudnn::cnn::Params)",
        "sm80_xmma_fprop_implicit_gemm_tf32f32_tf32f32_f32_nhwckrsc_nchw_tilesize128x128x16",
        "void implicit_convolve_sgemm<float, float, 1024, 5, 5, 3, 3, 3, 1>(int)",
        "void at::native::im2col_kernel<float>(long, float const*)",
        "triton_tem_fused_convolution_2",
    ],
    "optimizer": [
        FOREACH + "BinaryOpScalarFunctor<float, (int)2, (int)1, (int)1>, std::plus<float>>(T1)",
        "void at::native::(anonymous namespace)::multi_tensor_apply_kernel<at::native::(anonymous "
        "namespace)::FusedOptimizerTensorListMetadata<4>, at::native::(anonymous namespace)::"
        "FusedAdamMathFunctor<float, 4, (at::native::ADAM_MODE)1, false>>(float const*)",
        "triton_for_fused_addcdiv_addcmul_foreach_lerp_0",
    ],
    "softmax": [
        "void <unnamed>::softmax_warp_forward<float, float, float, (int)6, (bool)0, (bool)0>(T2 *)",
        "void at::native::(anonymous namespace)::cunn_SoftMaxForward<8, float, float>(float*)",
        "void at::native::(anonymous namespace)::softmax_warp_backward<float, float, 10, true>()",
    ],
    "normalization": [
        "void at::native::<unnamed>::vectorized_layer_norm_kernel<float, float, (bool)0>(int)",
        "void at::native::(anonymous namespace)::GammaBetaBackwardCUDAKernel<float, float>(long)",
        "void at::native::batch_norm_collect_statistics_kernel<at::native::InvStd, float>()",
        "_rms_norm_fwd_fused",
    ],
    "embedding": [
        PLAIN + "index_elementwise_kernel<(int)128, (int)4, void at::native::gpu_index_kernel<>",
        "void at::native::vectorized_gather_kernel<(int)16, long>(char *, char *, T2 *, int)",
        "void <unnamed>::indexing_backward_kernel<float, (int)4>(const long *, const long *)",
        "void at::native::(anonymous namespace)::indexSelectLargeIndex<float, long>(float)",
        "void at::native::(anonymous namespace)::embedding_backward_feature_kernel<float>()",
    ],
    "gemm": [
        "ampere_sgemm_128x64_tn",
        "nvjet_tst_192x192_64x4_2x1_v_bz_coopB_bias_TNN",
        "sm80_xmma_gemm_f32f32_f32f32_f32_nn_n_tilesize32x32x8_stage3_execute_kernel__5x_cublas",
        "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_bf16_128x64_64x3_nn_align2>()",
        "void cublasLt::splitKreduce_kernel<(int)32, (int)16, int, double, double>(Params<T6>)",
        "void gemv2T_kernel_val<int, int, double, double, double, double, (int)128>(T13, T6, T6)",
        "void dot_kernel<float, 128, 0, cublasDotParams<cublasGemvTensorStridedBatched<float>>>()",
        "std::enable_if<true, void>::type internal::gemvx::kernel<int, int, __nv_bfloat16>()",
        "XXT_kernel",
        "ba_plus_cAA_kernel",
        "triton_tem_fused_mm_3",
        "triton_mm",
    ],
    "reduction": [
        "void at::native::reduce_kernel<(int)512, (int)1, at::native::ReduceOp<float, MaxOps>>(T3)",
        "void cub::CUB_200600_NS::DeviceReduceSingleTileKernel<Policy600, double *>(T2, T3, T4)",
        "void at::native::(anonymous namespace)::nll_loss_forward_reduce_cuda_kernel_2d<float>()",
    ],
    "copy": [
        VECTOR + "bfloat16_copy_kernel_cuda(at::TensorIteratorBase &)::[lambda(float)]>()",
        PLAIN + "gpu_kernel_impl_nocast<at::native::direct_copy_kernel_cuda(TensorIteratorBase &)>",
        VECTOR + "FillFunctor<float>, std::array<char *, 1ul>>(int, T2, T3)",
        "void at::native::<unnamed>::CatArrayBatchedCopy<OpaqueType<(unsigned int)4>>(T1 *)",
        FOREACH + "UnaryOpFunctor<long, (int)2, (int)1, (int)1>, at::native::Copy<long, long>>()",
        "cupy_copy__float64_float64",
        "[CUDA memcpy Host-to-Device]",
        "[CUDA memset]",
    ],
    "elementwise": [
        VECTOR + "CUDAFunctor_add<float>, std::array<char *, (unsigned long)3>>(int, T2, T3)",
        PLAIN + "gpu_kernel_impl_nocast<at::native::<unnamed>::masked_fill_kernel(TensorIterator)>",
        VECTOR + "GeluCUDAKernelImpl(at::TensorIteratorBase &, at::native::GeluType)::[lambda()]>",
        "void at::native::_scatter_gather_elementwise_kernel<128, 8, _cuda_scatter_gather_internal"
        "_kernel<(bool)1, float, long>::operator ()<at::native::ReduceAdd>(at::TensorIterator)>()",
        "cupy_true_divide__float64_float64_float64",
        "saxpy(double *, double *, double *, double, int)",
    ],
    "other": [
        "void build_GPU2<128, 4>(int*, int*, int*, int, int, int, int*, int*, int, int*, int)",
        "at_cuda_detail::cub::detail::radix_sort::DeviceRadixSortSingleTileKernel<long>()",
        "",
    ],
}

INDUCTOR = {
    "softmax": [
        "triton_red_fused__log_softmax_div_mul_prepare_softmax_online_sigmoid_view_40",
        "triton_per_fused__softmax_mul_3",
        "triton_red_fused__log_softmax__log_softmax_backward_data_arange_mm_backward_view_where_0",
    ],
    "normalization": [
        "triton_per_fused__fused_rms_norm__unsafe_view_add_13",
        "triton_poi_fused_native_layer_norm_1",
    ],
    "embedding": ["triton_poi_fused_embedding_0", "triton_poi_fused_embedding_dense_backward_21"],
    "optimizer": ["triton_poi_fused_add_addcdiv_addcmul_lerp_sqrt_0"],
    "reduction": [
        "triton_per_fused__flash_attn_backward__unsafe_view_mul_sigmoid_sum_view_10",
        "triton_red_fused__to_copy_linalg_vector_norm_0",
    ],
    "copy": [
        "triton_poi_fused__to_copy_6",
        "triton_poi_fused__to_copy_permute_t_4",
        "triton_poi_fused_select_backward_12",
    ],
    "elementwise": [
        "triton_poi_fused__scaled_mm__to_copy_clone_div_lift_fresh_permute_0",
        "triton_poi_fused_add_mul_4",
        "triton_poi_fused__unsafe_view_pow_relu_view_9",
    ],
}

CPU = {
    "attention": [
        "aten::scaled_dot_product_attention",
        "aten::_scaled_dot_product_flash_attention_for_cpu",
        "aten::_scaled_dot_product_flash_attention_for_cpu_backward",
    ],
    "convolution": ["aten::conv2d", "aten::_convolution", "aten::convolution_backward"],
    "optimizer": ["aten::_fused_adamw_", "aten::_foreach_addcdiv_", "aten::_foreach_mul_"],
    "softmax": [
        "aten::softmax",
        "aten::_softmax",
        "aten::_log_softmax",
        "aten::_softmax_backward_data",
    ],
    "normalization": [
        "aten::native_layer_norm",
        "aten::native_layer_norm_backward",
        "aten::rms_norm",
        "aten::_fused_rms_norm",
    ],
    "embedding": [
        "aten::embedding",
        "aten::embedding_dense_backward",
        "aten::index_select",
        "aten::index",
        "aten::_index_put_impl_",
    ],
    "gemm": [
        "aten::mm",
        "aten::bmm",
        "aten::addmm",
        "aten::linear",
        "aten::matmul",
        "aten::baddbmm",
        "aten::addmv_",
        "aten::linear_backward",
    ],
    "reduction": ["aten::sum", "aten::mean", "aten::amax", "aten::linalg_vector_norm"],
    "copy": [
        "aten::copy_",
        "aten::_to_copy",
        "aten::clone",
        "aten::contiguous",
        "aten::zero_",
        "aten::fill_",
        "aten::cat",
        "aten::_foreach_copy_",
    ],
    "elementwise": [
        "aten::mul",
        "aten::add_",
        "aten::masked_fill",
        "aten::masked_fill_",
        "aten::silu_backward",
        "aten::sigmoid_backward",
        "aten::where",
        "aten::rsqrt",
    ],
    "other": ["aten::view", "aten::transpose", "aten::empty_strided", "aten::detach", "aten::t"],
}


@pytest.mark.parametrize(
    ("label", "name"),
    [(label, name) for kind in (GPU, INDUCTOR, CPU) for label in kind for name in kind[label]],
)
def test_a_name_is_of_the_category(label: str, name: str) -> None:
    assert category(name) == label


@pytest.mark.parametrize("table", [KERNEL_PATTERNS, FUSED_KERNEL_PATTERNS, OPERATOR_PATTERNS])
def test_each_table_of_patterns_is_tried_in_the_order_of_the_categories(
    table: dict[str, str],
) -> None:
    assert list(table) == [label for label in CATEGORIES if label in table]


def test_many_names_are_looked_up_at_once() -> None:
    assert categories.categories(["XXT_kernel", "what", "XXT_kernel"]) == ["gemm", "other", "gemm"]


def test_the_share_of_gemm_in_a_whole_training_step() -> None:
    with Report(shared.report("train-step-small-a100")) as report:
        rows = kernels.ranking(report, by="category").rows()
    (share,) = (row["share"] for row in rows if row["name"] == "gemm")
    assert round(float(share), 3) == 0.670


def test_the_share_of_gemm_in_the_forward_pass() -> None:
    path = shared.report("train-step-small-a100")
    launched_in = """
        SELECT k.demangledName, k."end" - k.start FROM CUPTI_ACTIVITY_KIND_KERNEL k
        JOIN CUPTI_ACTIVITY_KIND_RUNTIME r ON r.correlationId = k.correlationId
        JOIN NVTX_EVENTS n ON n.globalTid = r.globalTid
            AND n.start <= r.start AND n."end" >= r."end"
        LEFT JOIN StringIds s ON s.id = n.textId
        WHERE coalesce(s.value, n.text) = 'forward pass'
    """
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        launched = connection.execute(launched_in).fetchall()
    with Report(path) as report:
        text = tables.strings(report, [name for name, _ in launched])
    products = [ns for name, ns in launched if category(text[name]) == "gemm"]
    assert len(products) == 85 + 24
    assert round(sum(products) / sum(ns for _, ns in launched), 3) == 0.760


@pytest.mark.parametrize("name", shared.WITH_KERNELS)
def test_little_of_a_real_report_is_other(name: str) -> None:
    with Report(shared.report(name)) as report:
        rows = kernels.ranking(report).rows()
    unknown = [row["name"] for row in rows if row["category"] == "other"]
    known_unknown = ("[CUDA graph replay]", "void build_GPU2", "void probe_GPU2", "void at_cuda")
    assert all(str(each).startswith(known_unknown) for each in unknown)
