"""Kernels' names of many libraries, each with the category and the number format it tells.

The names are those that profilers showed, in public reports and in the shared ones; some are cut
where their template arguments go on for pages. What is expected was read off the names by the
libraries' own conventions: cuBLAS and CUTLASS write the accumulator's letter before ``gemm`` and
the operands' format behind it, xmma the two operands first, nvjet a letter each for operands, sum
and result, Tensile the type letters of operand, result and sum.
"""

import time

import pytest

from analysis.knowledge.categories import category
from analysis.knowledge.kernel_names import parts
from analysis.knowledge.number_formats import of_kernel

AT = "void at::native::"
CUTE = "cute::tuple<cute::C<128>, cute::C<128>, cute::C<64> >"

CUBLAS = [
    ("gemm", "fp32", "ampere_sgemm_128x64_tn"),
    ("gemm", "fp32", "ampere_sgemm_32x32_sliced1x4_tn"),
    ("gemm", "fp32", "volta_sgemm_128x64_nt"),
    ("gemm", "fp32", "sgemm_32x32x32_NN_vec"),
    ("gemm", "fp64", "volta_dgemm_128x64_nn"),
    ("gemm", "fp32", "volta_cgemm_32x32_tn"),
    ("gemm", "fp64", "volta_zgemm_32x32_nn"),
    ("gemm", "fp16", "volta_h884gemm_64x64_ldg8_nn"),
    ("gemm", "fp16", "volta_fp16_s884gemm_fp16_128x128_ldg8_f2f_tn"),
    ("gemm", "fp16", "volta_s884gemm_fp16_128x128_ldg8_f2f_nt"),
    ("gemm", "fp16", "turing_fp16_s1688gemm_fp16_256x128_ldg8_f2f_tn"),
    ("gemm", "fp16", "ampere_fp16_s1688gemm_fp16_128x128_ldg8_f2f_stages_32x1_nn"),
    ("gemm", "fp16", "ampere_fp16_s16816gemm_fp16_128x64_ldg8_f2f_stages_64x4_tn"),
    ("gemm", "fp16", "ampere_h16816gemm_256x128_ldg8_stages_32x3_nn"),
    ("gemm", "bf16", "ampere_bf16_s16816gemm_bf16_256x128_ldg8_f2f_stages_32x3_tn"),
    ("gemm", "int8", "ampere_int8_i16832gemm_int8_256x128_ldg16_relu_mods_stages_64x3_nt"),
    ("gemm", "int8", "ampere_int32_i16832gemm_int8_256x128_ldg16_mods_stages_64x3_nt"),
    ("gemm", "fp16", "maxwell_fp16_sgemm_fp16_128x32_nn"),
    ("gemm", "bf16", "nvjet_tst_192x192_64x4_2x1_v_bz_coopB_bias_TNN"),
    ("gemm", "bf16", "nvjet_sm90_tss_64x8_64x16_4x1_v_bz_splitK_TNT"),
    ("gemm", "bf16", "nvjet_sm100_tst_256x128_64x5_2x2_2cta_h_bz_TNT"),
    ("gemm", "fp16", "nvjet_hsh_256x128_64x4_1x2_h_bz_coopA_NNT"),
    ("gemm", "fp16", "nvjet_hss_64x8_64x16_1x1_v_bz_splitK_NNT"),
    ("gemm", "fp8", "nvjet_qqtst_192x192_128x4_1x2_h_bz_coopB_TNN"),
    ("gemm", "fp8", "nvjet_rqsss_144x128_128x6_1x2_h_bz_coopA_algo2_TNN"),
    ("gemm", "tf32", "nvjet_sss_tf32_128x256_TNT"),
    ("gemm", "fp32", "sm80_xmma_gemm_f32f32_f32f32_f32_nn_n_tilesize32x32x8_stage3_ffma_aligna4"),
    ("gemm", "tf32", "sm80_xmma_gemm_f32f32_tf32f32_f32_tn_n_tilesize32x32x64_stage4"),
    (
        "gemm",
        "tf32",
        "sm90_xmma_gemm_f32f32_tf32f32_f32_tn_n_tilesize128x128x32_warpgroupsize1x1x1",
    ),
    (
        "gemm",
        "bf16",
        "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_execute_segment_k",
    ),
    ("gemm", "fp16", "sm90_xmma_gemm_f16f16_f16f32_f32_nt_n_tilesize128x128x64_hgmma64x128x16"),
    ("gemm", "fp16", "sm90_xmma_gemm_f16f16_f16f16_f16_nt_n_tilesize128x128x64_stage4_gmmastage2"),
    ("gemm", "fp8", "sm89_xmma_gemm_e4m3bf16_e4m3f32_f32_tn_n_tilesize128x64x64_stage3"),
    ("gemm", "int8", "sm80_xmma_gemm_i8i8_i8i32_f32_tn_n_tilesize128x128x64_stage3"),
    ("gemm", "fp64", "sm80_xmma_gemm_f64f64_f64f64_f64_nn_n_tilesize64x64x16_tensor8x8x4"),
    (
        "gemm",
        "fp32",
        "void gemmSN_TN_kernel<float, (int)128, (int)16, (int)2, (int)4, (int)4, (int)4, (bool)1, "
        "cublasGemvTensorStridedBatched<const float>>(cublasGemmSmallNParams<T9>)",
    ),
    (
        "gemm",
        "fp16",
        "void gemmSN_TN_kernel_half<__half, __half, __half, 128, 16, 2, 4, 8, 5, false, float>("
        "cublasGemmSmallNParams<float>)",
    ),
    (
        "gemm",
        "fp32",
        "void gemmk1_kernel<int, float, 256, 5, false, false, false, false, "
        "cublasGemvTensorStridedBatched<float const>, float, 0>(cublasGemmk1Params<float>)",
    ),
    (
        "gemm",
        "fp16",
        "void gemv2T_kernel_val<int, int, __half, __half, __half, float, 128, 16, 4, 4, false, "
        "false, cublasGemvParamsEx<int, cublasGemvTensorStridedBatched<__half const>, float> >("
        "cublasGemvParamsEx<int>, float, float)",
    ),
    (
        "gemm",
        "fp64",
        "void gemv2T_kernel_val<int, int, double, double, double, double, (int)128>(T13, T6, T6)",
    ),
    (
        "gemm",
        "bf16",
        "std::enable_if<!T7, void>::type internal::gemvx::kernel<int, int, __nv_bfloat16, "
        "__nv_bfloat16, __nv_bfloat16, float, false, true, true>(T13)",
    ),
    (
        "gemm",
        "bf16",
        "void cublasLt::splitKreduce_kernel<32, 16, int, float, __nv_bfloat16, float, false, "
        "__nv_bfloat16, __nv_bfloat16, __nv_bfloat16>(cublasLt::cublasSplitKParams<float>)",
    ),
    (
        "gemm",
        "fp32",
        "void cublasLt::epilogue::impl::globalKernel<8, 32, float, float, float, true, true, 1>("
        "int, int, long, float*, cublasLtEpilogue_t, int, float*)",
    ),
    (
        "gemm",
        "bf16",
        "void dot_kernel<float, 128, 0, cublasDotParams<cublasGemvTensorStridedBatched<"
        "__nv_bfloat16 const>, cublasGemvTensorStridedBatched<float> > >(cublasDotParams<float>)",
    ),
    (
        "gemm",
        "bf16",
        "void reduce_1Block_kernel<float, 128, 7, cublasGemvTensorStridedBatched<float>, "
        "cublasGemvTensorStridedBatched<__nv_bfloat16 const> >(float const*, float)",
    ),
]

CUTLASS = [
    (
        "gemm",
        "tf32",
        "void cutlass::Kernel<cutlass_80_tensorop_s1688gemm_128x128_16x5_tn_align4>("
        "cutlass_80_tensorop_s1688gemm_128x128_16x5_tn_align4::Params)",
    ),
    (
        "gemm",
        "tf32",
        "_ZN7cutlass7Kernel2I52cutlass_80_tensorop_s1688gemm_128x128_16x5_nn_align4EEvT_",
    ),
    (
        "gemm",
        "tf32",
        "void cutlass::Kernel2<cutlass_80_tensorop_s1688tf32gemm_256x128_16x3_nn>(T1)",
    ),
    ("gemm", "fp16", "void cutlass::Kernel2<cutlass_75_tensorop_s1688gemm_f16_128x128_nn>(T1)"),
    ("gemm", "bf16", "void cutlass::Kernel2<cutlass_75_tensorop_bf16_s1688gemm_bf16_64x64_nn>(T1)"),
    (
        "gemm",
        "bf16",
        "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_256x128_32x3"
        "_tn_align8>"
        "(cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_256x128_32x3_tn_align8::Params)",
    ),
    (
        "gemm",
        "fp16",
        "void cutlass::Kernel2<cutlass_80_tensorop_s16816gemm_f16_256x128_32x3_nn>(T1)",
    ),
    ("gemm", "fp16", "void cutlass::Kernel2<cutlass_80_tensorop_h16816gemm_128x128_64x3_nn>(T1)"),
    (
        "gemm",
        "fp16",
        "void cutlass::Kernel2<cutlass_75_wmma_tensorop_f16_s161616gemm_f16_16x16_128x2_tn_align8>("
        "cutlass_75_wmma_tensorop_f16_s161616gemm_f16_16x16_128x2_tn_align8::Params)",
    ),
    (
        "gemm",
        "fp64",
        "void cutlass::Kernel2<cutlass_80_tensorop_d884gemm_64x64_16x4_nt>(T1::Params)",
    ),
    (
        "gemm",
        "int8",
        "void cutlass::Kernel2<cutlass_80_tensorop_i16832gemm_s8_128x64_128x3_tn>(T1)",
    ),
    (
        "gemm",
        "int8",
        "void cutlass::Kernel2<cutlass_80_wmma_tensorop_i161616gemm_s8_forwardCompat>()",
    ),
    (
        "gemm",
        "fp32",
        "void cutlass::Kernel2<cutlass_80_simt_sgemm_64x64_8x5_nt_align1>(T1::Params)",
    ),
    (
        "gemm",
        "bf16",
        "cutlass3x_sm90_tensorop_s64x128x16gemm_bf16_bf16_f32_void_bf16_128x128x64_1x1x1_"
        "0_tnn_align8"
        "_warpspecialized_pingpong_epi_tma",
    ),
    (
        "gemm",
        "fp16",
        "cutlass3x_sm90_tensorop_s64x256x16gemm_f16_f16_f32_void_f16_128x256x64_2x1x1_0_tnn_align8",
    ),
    ("gemm", "fp8", "cutlass3x_sm90_tensorop_gemm_e4m3_e4m3_f32_f16_f16_128x128x128_2x1x1_0_tnn"),
    (
        "gemm",
        "int8",
        "cutlass3x_sm90_tensorop_gemm_s8_s8_s32_s8_s8_128x128x128_2x1x1_0_tnn_align16",
    ),
    (
        "gemm",
        "fp32",
        "cutlass3x_sm100_simt_sgemm_f32_f32_f32_f32_f32_128x64x16_1x1x1_3_tnn_align1_bias_f32_relu",
    ),
    (
        "gemm",
        "bf16",
        "void cutlass::device_kernel<cutlass::gemm::kernel::GemmUniversal<cute::tuple<int"
        ",int,int>, "
        "cutlass::gemm::collective::CollectiveMma<cutlass::gemm::MainloopSm90TmaGmmaWarpS"
        "pecialized<"
        f"9, {CUTE}>, {CUTE}, cutlass::bfloat16_t, cute::TiledMMA<cute::MMA_Atom<cute::SM90::GMMA::"
        "MMA_64x64x16_F32BF16BF16_SS> > >, float> >(T1::Params)",
    ),
    (
        "gemm",
        "fp16",
        f"void cutlass::device_kernel<cutlass::gemm::kernel::GemmUniversal<{CUTE}, cutlass::gemm::"
        f"collective::CollectiveMma<{CUTE}, cutlass::half_t, cutlass::half_t, float>, float, "
        "cutlass::epilogue::fusion::LinearCombination<cutlass::half_t, float> > >(T1::Params)",
    ),
    (
        "gemm",
        "tf32",
        f"void cutlass::device_kernel<cutlass::gemm::kernel::GemmUniversal<{CUTE}, cutlass::gemm::"
        f"collective::CollectiveMma<{CUTE}, cutlass::tfloat32_t, cutlass::tfloat32_t, float> > >()",
    ),
    (
        "gemm",
        "fp16",
        "void cutlass::Kernel<cutlass::gemm::kernel::Gemm<cutlass::gemm::threadblock::Mma"
        "Multistage<"
        "cutlass::gemm::GemmShape<128, 128, 32>, cutlass::half_t, cutlass::layout::RowMaj"
        "or, float>, "
        "cutlass::epilogue::threadblock::Epilogue<float> > >(cutlass::gemm::kernel::Gemm::Params)",
    ),
    (
        "gemm",
        "fp8",
        "void cutlass::device_kernel<vllm::cutlass_3x_gemm_sm90_fp8<cutlass::float_e4m3_t, "
        "cutlass::bfloat16_t, vllm::c3x::ScaledEpilogue> >(T1::Params)",
    ),
]

CUDNN = [
    ("convolution", "fp32", "maxwell_scudnn_128x128_stridedB_splitK_medium_nn_v0"),
    ("convolution", "fp32", "volta_scudnn_128x64_relu_small_nn_v1"),
    ("convolution", "fp32", "volta_scudnn_winograd_128x128_ldg1_ldg4_relu_tile148t_nt_v1"),
    ("convolution", "fp32", "trt_maxwell_scudnn_128x32_relu_interior_nn_v1"),
    (
        "convolution",
        "fp16",
        "volta_fp16_s884cudnn_fp16_256x128_ldg8_relu_f2f_exp_small_nhwc2nchw_tn",
    ),
    (
        "convolution",
        "int8",
        "turing_fp16_i8816cudnn_int8_256x64_ldg16_relu_singleBuffer_small_nt_v1",
    ),
    ("convolution", "fp32", "volta_gcgemm_32x32_nt"),
    (
        "convolution",
        "fp32",
        "void fft2d_c2r_32x32<float, false, true, 0u, false, false>(float*, float2 const*"
        ", int, int, "
        "int, float, float, cudnn::reduced_divisor, bool, float*, float*, int2, int, int)",
    ),
    (
        "convolution",
        "fp32",
        "void fft2d_r2c_32x32<float, false, 1u, false>(float2*, float const*, int, int, "
        "cudnn::reduced_divisor, bool, int2, int, int)",
    ),
    (
        "convolution",
        "fp32",
        "void DSE::regular_fft_pad<0, 1, 256, 16, 16, 1, float, float, float2>()",
    ),
    (
        "convolution",
        "fp32",
        "void DSE::vector_fft<0, 1, 128, 8, 8, 1, float, float, float2>(float2*)",
    ),
    (
        "convolution",
        "fp32",
        "void flip_filter<float, float>(float*, float const*, int, int, int, int)",
    ),
    ("convolution", "", "void cask_cudnn::computeOffsetsKernel<false, false>(cask_cudnn::Params)"),
    ("convolution", "", "_ZN5cudnn3cnn23kern_precompute_indicesILb0EEEvPiiiiiii"),
    (
        "convolution",
        "",
        "_ZN5cudnn3cnn17wgrad_alg0_engineIfLi512ELi6ELi5ELi3ELi3ELi3ELb0ELi512EEEviiiPKT_iPS2_S4_",
    ),
    (
        "convolution",
        "fp32",
        "void cudnn::detail::dgrad_engine<float, 128, 6, 8, 3, 3, 5, true>(int, int, int, float*)",
    ),
    (
        "convolution",
        "fp32",
        "void cudnn::winograd_nonfused::winogradForwardData4x4<float, float>("
        "cudnn::winograd_nonfused::WinogradDataParams<float, float>)",
    ),
    (
        "convolution",
        "tf32",
        "sm80_xmma_fprop_implicit_gemm_tf32f32_tf32f32_f32_nhwckrsc_nchw_tilesize128x128x16_stage4",
    ),
    (
        "convolution",
        "tf32",
        "void cutlass__5x_cudnn::Kernel<cutlass_tensorop_s1688fprop_optimized_tf32_128x64_16x6_nhwc"
        "_align4>(T1::Params)",
    ),
    (
        "convolution",
        "fp16",
        "void cutlass_cudnn::Kernel<cutlass_tensorop_f16_s16816dgrad_optimized_f16_128x256_32x3>()",
    ),
    (
        "convolution",
        "fp16",
        "void xmma_cudnn::gemm::kernel<xmma_cudnn::implicit_gemm::dgrad::Kernel_traits<"
        "xmma_cudnn::Ampere_hmma_fp32_traits, xmma_cudnn::Cta_tile<xmma_cudnn::Ampere, 256> > >()",
    ),
    (
        "normalization",
        "fp16",
        "void cudnn::bn_fw_tr_1C11_kernel_NCHW<__half, float, 512, true, 1>(cudnnTensorStruct, "
        "__half const*, cudnnTensorStruct, __half*, float const*, float const*, float)",
    ),
    (
        "normalization",
        "fp32",
        "void cudnn::detail::bn_bw_1C11_kernel_new<float, float, float2, 512, true, 1>(fl"
        "oat, float)",
    ),
    (
        "other",
        "fp16",
        "void cudnn::ops::pooling_bw_kernel_max<__half, float, cudnn::maxpooling_func<float, "
        "(cudnnNanPropagation_t)0>, false>(cudnnTensorStruct, cudnn::reduced_divisor)",
    ),
    (
        "elementwise",
        "",
        "_Z19LSTM_elementWise_fpIfffL18cudnnRNNBiasMode_t2EEviiiiPKT_S3_S3_S3_N5cudnn15reduced_"
        "divisorEPS1_PT0_S6_S3_S6_bi18cudnnRNNClipMode_t21cudnnNanPropagation_tff",
    ),
    (
        "copy",
        "fp16",
        "void cudnn::ops::nchwToNhwcKernel<__half, __half, float, true, false>(float)",
    ),
    (
        "copy",
        "",
        "void transpose_readWrite_alignment_kernel<float2, float2, 1, false, 6, 4, 4>("
        "cublasTransposeParams<float2>, float2 const*, float2*, float2 const*)",
    ),
    (
        "attention",
        "fp16",
        "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x128_4x1x1",
    ),
]

CUFFT = [
    ("other", "fp32", "void vector_fft<1024u, 2u, 4u, float, float2>(kernel_arguments_t<int>)")
]

AMD = [
    ("gemm", "fp16", "Cijk_Ailk_Bljk_HHS_BH_MT128x128x32_MI16x16x16x1_SN_1LDSB1"),
    ("gemm", "fp16", "Cijk_Ailk_Bljk_HSS_BH_MT64x32x8_SE_APM1"),
    ("gemm", "fp16", "Cijk_Ailk_Bljk_HB_MT128x64x16_SE"),
    ("gemm", "bf16", "Cijk_Alik_Bljk_BBS_BH_Bias_HA_S_SAV_UserArgs_MT256x256x64_MI16x16x1"),
    ("gemm", "bf16", "Cijk_Alik_Bljk_BBH_MT256x256x16_MI250"),
    ("gemm", "fp32", "Cijk_Alik_Bljk_SB_MT64x64x8_SE_K1"),
    ("gemm", "fp32", "Cijk_Alik_Bljk_S_B_Bias_HA_S_SAV_UserArgs_MT208x256x32"),
    ("gemm", "tf32", "Cijk_Alik_Bljk_S_MX_B_UserArgs_MT128x160x64_MI16x16x1"),
    ("gemm", "fp64", "Cijk_Ailk_Bjlk_DB_MT64x64x8_SE"),
    ("gemm", "fp8", "Custom_Cijk_Alik_Bljk_F8B8BS_BH_MT256x256x128_shortname1_gfx950"),
    ("gemm", "fp8", "Cijk_Ailk_Bljk_F8F8S_BH_Bias_SHB_HA_S_SAB_SCD_SAV_UserArgs_MT64x64x64"),
    ("gemm", "fp16", "Custom_Cijk_Ailk_Bljk_F8H_HHS_BH_MT32x64x256_MI16x16x1_gfx942"),
    ("gemm", "int8", "Cijk_Ailk_Bljk_I8II_BH_MT64x64x64_MI32x32x1"),
    ("gemm", "int8", "Cijk_Ailk_Bljk_4xi8BH_MT64x64x64"),
    ("gemm", "", "Cijk_SB_GG_BiasS_HAS_ScaleAlphaVec_PostGSU8_VW2"),
    (
        "gemm",
        "fp8",
        "void ck::kernel_gemm_xdl_cshuffle_v3<ck::GridwiseGemmMultiD_ABScale_xdl_cshuffle_v3<"
        "ck::tensor_layout::gemm::RowMajor, ck::tensor_layout::gemm::ColumnMajor, ck::Tuple<>, "
        "ck::f8_fnuz_t, ck::f8_fnuz_t, float> >(T1::Argument)",
    ),
    (
        "gemm",
        "bf16",
        "void ck::kernel_gemm_xdl_cshuffle_v3<ck::GridwiseGemm_xdl_cshuffle_v3<unsigned short, "
        "unsigned short, float, unsigned short> >(T1::Argument)",
    ),
    ("gemm", "fp16", "void wvSplitK_hf_sml_<__half, 64, 4, 16, 8, 1, 4>(int, int, __half const*)"),
    ("gemm", "bf16", "hgemm_bf16_16x64x128x5_SPK8_W1x2x1_BLDS1_TN_AS1_0"),
    ("gemm", "fp8", "aiter::fp8gemm_bf16_blockscale_BpreShuffle_32x128"),
    ("attention", "bf16", "aiter::fmha_fwd_hd128_bf16_causal_rtne_group"),
    ("attention", "bf16", "_Z39paged_attention_ll4mi_QKV_mfma16_kernelI14__hip_bfloat16EvPKT_"),
    ("convolution", "fp16", "igemm_fwd_gtcx3_nhwc_fp16_bx0_ex0_bt128x128x32_wt32x32x8_ws1x1_wr2x2"),
    ("convolution", "fp32", "miopenSp3AsmConv_v30_3_1_gfx9_fp32_f2x3_stride1"),
    ("convolution", "", "gridwise_convolution_implicit_gemm_v4r1_nchw_kcyx_nkhw_lds_double_buffer"),
    ("normalization", "", "MIOpenBatchNormFwdTrainSpatial"),
    (
        "collective",
        "fp16",
        "mscclKernel_Sum_half_Simple_false(ncclDevComm*, mscclAlgo*, mscclWork*)",
    ),
    ("copy", "", "__amd_rocclr_fillBufferAligned.kd"),
    ("copy", "", "__amd_rocclr_copyBuffer"),
    (
        "copy",
        "bf16",
        f"{AT}elementwise_kernel_manual_unroll<128, 8, at::native::gpu_kernel_impl_nocast<"
        f"at::native"
        "::direct_copy_kernel_cuda(at::TensorIteratorBase&)::{lambda(c10::BFloat16)#1}> >(int)",
    ),
]

ATTENTION = [
    (
        "attention",
        "bf16",
        "void flash::flash_fwd_kernel<Flash_fwd_kernel_traits<(int)128, (int)128, (int)64, (int)4, "
        "(bool)0, (bool)0, cutlass::bfloat16_t>, (bool)0>(flash::Flash_fwd_params)",
    ),
    (
        "attention",
        "fp16",
        "void flash::flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<Flash_bwd_kernel_traits<64, 128, "
        "cutlass::half_t>, false, true>(flash::Flash_bwd_params)",
    ),
    (
        "attention",
        "fp16",
        "void cutlass::device_kernel<flash::enable_sm90_or_later<flash::FlashAttnFwdSm90<flash::"
        f"CollectiveMainloopFwdSm90<2, {CUTE}, 128, cutlass::half_t, float> > > >(T1::Params)",
    ),
    (
        "attention",
        "bf16",
        "void cutlass::device_kernel<flash::FlashAttnBwdPostprocessConvertdQ<cute::tuple<>, "
        "cutlass::bfloat16_t, float, cutlass::arch::Sm90, 256> >(T1::Params)",
    ),
    (
        "attention",
        "",
        "void flash::prepare_varlen_num_blocks_kernel<8, false>(int, int, int const*)",
    ),
    (
        "attention",
        "fp32",
        "fmha_cutlassF_f32_aligned_64x64_rf_sm80(PyTorchMemEffAttention::Kernel)",
    ),
    ("attention", "fp16", "fmha_v2_flash_attention_fp16_64_128_S_128_sm80_kernel"),
    (
        "attention",
        "bf16",
        "void vllm::paged_attention_v2_kernel<__nv_bfloat16, __nv_bfloat16, 128, 16, 128>(float*)",
    ),
    (
        "attention",
        "fp16",
        "void flashinfer::BatchDecodeWithPagedKVCacheKernel<(flashinfer::PosEncodingMode)"
        "0, 2u, 4u, "
        "8u, __half>(T1)",
    ),
    (
        "attention",
        "fp32",
        "void flashinfer::PersistentVariableLengthMergeStatesKernel<8u, 16u>(float*)",
    ),
    ("attention", "", "triton_tem_fused_flex_attention_0"),
    (
        "attention",
        "",
        "kernel_cutlass_kernel_flash_attncuteflash_fwd_sm100FlashAttentionForwardSm100",
    ),
]

SERVING = [
    (
        "normalization",
        "fp16",
        "void flashinfer::norm::RMSNormKernel<(unsigned int)8, __half>(T2 *, T2 *, T2 *, float)",
    ),
    (
        "normalization",
        "",
        "kernel_cutlass_kernel_flashinfernormkernelsfused_add_rmsnormFusedAddRMSNormKerne"
        "l_object_at_",
    ),
    (
        "other",
        "fp32",
        "void flashinfer::sampling::TopPSamplingFromProbKernel<1024u, float>(float*)",
    ),
    (
        "elementwise",
        "fp16",
        "void flashinfer::BatchQKApplyRotaryPosIdsCosSinCacheHeadParallelismKernel<(bool)"
        "0, __half>()",
    ),
    (
        "collective",
        "bf16",
        "void flashinfer::trtllm_allreduce_fusion::allreduce_fusion_kernel_oneshot_lamport<"
        "(flashinfer::trtllm_allreduce_fusion::AllReduceFusionPattern)1, __nv_bfloat16, 8>(T1)",
    ),
    (
        "collective",
        "bf16",
        "void vllm::cross_device_reduce_1stage<__nv_bfloat16, 2>(vllm::RankData*)",
    ),
    (
        "elementwise",
        "bf16",
        "void vllm::act_and_mul_kernel<c10::BFloat16, &vllm::silu_kernel<c10::BFloat16>, "
        "(bool)1>()",
    ),
    ("elementwise", "bf16", "void vllm::rotary_embedding_kernel<c10::BFloat16, true>(long const*)"),
    (
        "normalization",
        "fp16",
        "void vllm::rms_norm_kernel<c10::Half, 8, 2>(c10::Half*, float, int)",
    ),
    ("copy", "", "void vllm::reshape_and_cache_flash_kernel<unsigned short, unsigned short>(int)"),
    ("softmax", "fp32", "void vllm::moe::topkGatingSoftmax<4, 128, 4, 16, 32, int, float>(float*)"),
    ("gemm", "", "fused_moe_kernel"),
    ("gemm", "fp8", "void deep_gemm::sm90_fp8_gemm_1d2d_impl<0u, 2112u, 7168u, 1u>(float*)"),
    ("gemm", "tf32", "void deep_gemm::sm90_tf32_hc_prenorm_gemm_impl<24u, 16384u>(float*)"),
    ("gemm", "fp4", "bmm_Bfloat16_E2m1E2m1_Fp32_bA16_bB16_bC16_t128x8x512_s4_et128x8_m128x8x64"),
    ("gemm", "fp8", "bmm_e4m3_e4m3e4m3_fp32_t128x64x128u2_s6_et64x64"),
]

TRITON = [
    ("gemm", "", "triton_tem_fused_mm_3"),
    ("gemm", "", "mm_kernel_general_host_tma"),
    ("convolution", "", "triton_tem_fused_convolution_2"),
    ("elementwise", "", "triton_poi_fused__to_copy_mul_select_slice_t_view_11"),
    ("copy", "", "triton_poi_fused__to_copy_permute_t_4"),
    ("softmax", "", "triton_red_fused__log_softmax_mul_nll_loss_forward_sub_view_41"),
    ("normalization", "", "triton_per_fused__fused_rms_norm__unsafe_view_add_13"),
    ("optimizer", "", "triton_for_fused_addcdiv_addcmul_foreach_lerp_0"),
    ("normalization", "", "_layer_norm_fwd_1pass_kernel"),
    ("reduction", "", "liger_cross_entropy_kernel"),
]

COLLECTIVES = [
    ("collective", "fp32", "ncclKernel_AllReduce_RING_LL_Sum_float(ncclWorkElem)"),
    (
        "collective",
        "bf16",
        "ncclDevKernel_ReduceScatter_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4>)",
    ),
    ("collective", "fp32", "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4>)"),
    ("collective", "", "ncclDevKernel_Generic_1(ncclDevKernelArgsStorage<4096ul>)"),
    ("collective", "", "ncclDevKernel_SendRecv(ncclDevKernelArgsStorage<(unsigned long)4096>)"),
    ("collective", "bf16", "mscclKernel_Sum_hip_bfloat16_Simple"),
    ("collective", "fp16", "userbuffers_fp16_sum_inplace_gpu_rr_rs_oop<8>(int, int, int, void**)"),
]

LOOPS = [
    (
        "copy",
        "bf16",
        f"{AT}vectorized_elementwise_kernel<8, at::native::FillFunctor<c10::BFloat16>, "
        "std::array<char*, 1ul> >(int, at::native::FillFunctor<c10::BFloat16>)",
    ),
    (
        "elementwise",
        "bf16",
        f"{AT}elementwise_kernel<(int)128, (int)4, void at::native::gpu_kernel_impl_nocast"
        f"<at::native"
        "::BinaryFunctor<c10::BFloat16, c10::BFloat16, c10::BFloat16, at::native::binary_internal::"
        "MulFunctor<float>>>(at::TensorIteratorBase &, const T1 &)::[lambda(int)]>(int, T3)",
    ),
    ("reduction", "fp32", f"{AT}reduce_kernel<(int)512, (int)1, at::native::ReduceOp<float>>(T3)"),
    (
        "elementwise",
        "fp32",
        f"{AT}_scatter_gather_elementwise_kernel<128, 8, _cuda_scatter_gather_internal_ker"
        f"nel<(bool)1,"
        " float, long>::operator ()<at::native::ReduceAdd>(at::TensorIterator &)>(int)",
    ),
    (
        "copy",
        "",
        f"{AT}<unnamed>::multi_tensor_apply_kernel<at::native::<unnamed>::TensorListMetada"
        f"ta<(int)2>,"
        " at::native::<unnamed>::UnaryOpFunctor<long, (int)2>, at::native::Copy<long, long>>(T1)",
    ),
    (
        "optimizer",
        "fp32",
        f"{AT}(anonymous namespace)::multi_tensor_apply_kernel<at::native::(anonymous namespace)::"
        "FusedOptimizerTensorListMetadata<4>, at::native::(anonymous namespace)::"
        "FusedAdamMathFunctor<float, 4, (at::native::ADAM_MODE)1, false> >(float const*)",
    ),
    (
        "optimizer",
        "fp32",
        "void multi_tensor_apply_kernel<TensorListMetadata<4>, AdamFunctor<float>>()",
    ),
    (
        "normalization",
        "fp32",
        "void cuApplyLayerNorm<float, float, float>(T3 *, T2 *, const T1 *, int)",
    ),
    (
        "normalization",
        "fp16",
        "void cuComputePartGradGammaBeta<c10::Half, float>(c10::Half const*)",
    ),
    (
        "softmax",
        "fp16",
        "void scaled_upper_triang_masked_softmax_warp_forward<c10::Half, float, 9>()",
    ),
    (
        "copy",
        "fp32",
        "void thrust::cuda_cub::core::_kernel_agent<thrust::cuda_cub::__parallel_for::"
        "ParallelForAgent<thrust::cuda_cub::__uninitialized_fill::functor<float>, unsigne"
        "d long> >()",
    ),
    (
        "reduction",
        "",
        "void thrust::cuda_cub::core::_kernel_agent<thrust::cuda_cub::__scan::ScanAgent<i"
        "nt*, int*> >()",
    ),
    (
        "reduction",
        "fp64",
        "void cub::CUB_200600_NS::DeviceReduceKernel<cub::Policy600, double *>(T2)",
    ),
    ("reduction", "", "void cub::DeviceScanKernel<cub::DeviceScanPolicy<int>, int*>(int*, int)"),
    (
        "other",
        "",
        "void at_cuda_detail::cub::DeviceRadixSortOnesweepKernel<at_cuda_detail::cub::Pol"
        "icy<long> >()",
    ),
]

FAMILIES = {
    "cuBLAS": CUBLAS,
    "CUTLASS": CUTLASS,
    "cuDNN": CUDNN,
    "cuFFT": CUFFT,
    "AMD": AMD,
    "attention": ATTENTION,
    "serving": SERVING,
    "Triton": TRITON,
    "collectives": COLLECTIVES,
    "loops": LOOPS,
}
NAMES = [(*row, family) for family, rows in FAMILIES.items() for row in rows]


@pytest.mark.parametrize(("label", "number_format", "name", "family"), NAMES)
def test_a_kernel_is_of_the_category_and_the_format_that_its_name_tells(
    label: str, number_format: str, name: str, family: str
) -> None:
    assert (category(name), of_kernel(name)) == (label, number_format), family


def test_enough_names_are_known_of_enough_libraries() -> None:
    assert len({name for _, _, name, _ in NAMES}) >= 120


def test_a_function_is_told_from_its_arguments_and_from_what_it_returns() -> None:
    name = (
        "std::enable_if<!T7, void>::type internal::gemvx::kernel<int, __half>(cublasParams<float>)"
    )
    kernel = parts(name)
    assert kernel == ("internal::gemvx::kernel", "int, __half", "cublasParams<float>")
    assert kernel.base == "kernel"


def test_a_name_that_was_cut_is_read_as_far_as_it_goes() -> None:
    assert parts("void f<g<float, (int)4").arguments == "g<float, (int)4"
    assert parts("void (anonymous namespace)::softmax_warp_forward<flo...").base == (
        "softmax_warp_forward"
    )


@pytest.mark.parametrize("name", ["", "(", "<", ">", ")", "_Z", "_ZN", "_ZN99a", "f<", "<unnamed>"])
def test_no_name_is_too_odd_to_be_read(name: str) -> None:
    assert category(name) == "other"
    assert of_kernel(name) == ""


@pytest.mark.parametrize(
    "piece",
    ["a ", "void ", "xmma_", "compute_", "miopen", "xmma_gemm_f16", "<", "(", "gemm_", "_Z9", "9"],
)
def test_a_name_without_end_takes_no_time(piece: str) -> None:
    for name in (piece * 100_000, f"_Z{piece * 100_000}", f"void f<{piece * 100_000}>()"):
        began = time.perf_counter()
        category(name)
        of_kernel(name)
        assert time.perf_counter() - began < 2
