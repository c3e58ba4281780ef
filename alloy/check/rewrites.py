"""Ways out of what is not supported, by the function of ATen that a model calls, or the operator of its ONNX file."""

__all__ = ["PARTLY", "REWRITES", "rewrite"]

_ATTENTION = ("use convolutions instead of attention: the engine multiplies by weights, or a map by one number for "
              "each of its channels")
_NORM = "use BatchNorm2d, which is folded into the convolution before it, and train further"
_SPACE = "use 2-D layers: fold the third dimension into channels or into the batch"
_HOST = "leave it to the host: return the tensor before it"
_TIME = "use convolutions over time instead of recurrence"
_SMOOTH = ("interpolate bilinearly by a whole factor with align_corners=False, or use nearest-neighbour upsampling "
           "followed by a convolution, and train further")
_PRODUCT = ("the engine multiplies by weights, or a map by one number for each of its channels: write what is "
            "multiplied value by value as a convolution or as an addition")
_PARTS = "put the parts side by side with torch.cat instead of writing into a part of a tensor"

# Functions that are read in some forms only: with constants, or at the very end.
PARTLY = {
    **dict.fromkeys(("matmul", "bmm", "einsum"), _ATTENTION),
    **dict.fromkeys(("softmax", "log_softmax", "argmax"), _HOST),
    **dict.fromkeys(("mul", "div"), _PRODUCT),
    "batch_norm": _NORM, "upsample_bilinear2d": _SMOOTH,
}
REWRITES = {
    **PARTLY,
    **dict.fromkeys(("layer_norm", "group_norm", "instance_norm", "rms_norm", "linalg_vector_norm",
                     "native_group_norm", "native_layer_norm", "_native_batch_norm_legit", "LRN", "LayerNormalization",
                     "InstanceNormalization", "GroupNormalization", "RMSNormalization", "SkipLayerNormalization",
                     "MeanVarianceNormalization", "LpNormalization"), _NORM),
    **dict.fromkeys(("scaled_dot_product_attention", "_scaled_dot_product_flash_attention_for_cpu", "Attention",
                     "MultiHeadAttention", "Einsum", "RotaryEmbedding"), _ATTENTION),
    **dict.fromkeys(("glu", "bilinear"), _PRODUCT),
    **dict.fromkeys(("slice_scatter", "select_scatter", "scatter", "masked_scatter", "index_put", "index_copy", "copy",
                     "ScatterND", "ScatterElements"), _PARTS),
    **dict.fromkeys(("conv3d", "max_pool3d", "avg_pool3d", "conv_transpose3d", "adaptive_avg_pool3d"), _SPACE),
    **dict.fromkeys(("topk", "sort", "argsort", "argmin", "nms", "cumsum", "cumprod", "logcumsumexp", "one_hot", "norm",
                     "nonzero", "grid_sampler", "grid_sampler_2d", "roi_align", "TopK", "ArgMin", "ArgMax", "NonZero",
                     "NonMaxSuppression", "CumSum", "OneHot", "GridSample", "RoiAlign", "Unique"), _HOST),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu", "embedding", "LSTM", "GRU", "RNN"), _TIME),
    **dict.fromkeys(("upsample_bicubic2d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"), _SMOOTH),
}


def rewrite(function: str | None) -> str:
    """The way out for a function, or for a refusal that names none."""
    if function in REWRITES:
        return REWRITES[function]
    return (f"replace {function} by layers that are supported, or leave it to the host"
            if function else "keep to what is supported")
