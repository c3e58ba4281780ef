"""Ways out of what is not supported, by the function of ATen that a model calls."""

__all__ = ["REWRITES", "rewrite"]

_ATTENTION = "use convolutions instead of attention: the engine multiplies by weights, not by other values"
_BOUND = "use ReLU or ReLU6, and train further"
_NORM = "use BatchNorm2d, which is folded into the convolution before it, and train further"
_SPACE = "use 2-D layers: fold the third dimension into channels or into the batch"
_HOST = "leave it to the host: return the tensor before it"

REWRITES = {
    **dict.fromkeys(("gelu", "elu", "selu", "celu", "softplus", "mish", "silu", "leaky_relu", "prelu",
                     "hardswish", "hardsigmoid", "sigmoid", "tanh", "rrelu", "relu_"), _BOUND),
    **dict.fromkeys(("layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm",
                     "linalg_vector_norm", "batch_norm", "native_group_norm", "native_layer_norm",
                     "_native_batch_norm_legit"), _NORM),
    **dict.fromkeys(("bmm", "baddbmm", "scaled_dot_product_attention", "_scaled_dot_product_flash_attention_for_cpu",
                     "einsum"), _ATTENTION),
    **dict.fromkeys(("conv3d", "max_pool3d", "avg_pool3d", "conv_transpose3d", "adaptive_avg_pool3d"), _SPACE),
    **dict.fromkeys(("softmax", "_softmax", "log_softmax", "_log_softmax", "argmax", "topk", "sort", "nms", "max",
                     "min", "where", "exp", "log", "sqrt", "rsqrt", "pow", "sum", "abs", "cumsum", "one_hot",
                     "grid_sampler",
                     "norm"), _HOST),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu", "embedding"),
                    "use convolutions over time instead of recurrence"),
    **dict.fromkeys(("upsample_bilinear2d", "upsample_bicubic2d", "_upsample_bilinear2d_aa"),
                    "use nearest-neighbour upsampling followed by a convolution, and train further"),
    "matmul": _ATTENTION,
    "mul": "multiply by constants only, or use a convolution",
    "div": "divide by constants only",
    "adaptive_max_pool2d": "use MaxPool2d whose kernel covers the map",
    "conv_transpose2d": "use upsampling followed by a convolution, and train further",
}


def rewrite(function: str | None, reason: str) -> str:
    """The way out for a function, or for the ``reason`` of a refusal that names none."""
    if function in REWRITES:
        return REWRITES[function]
    return (f"replace {function} by layers that are supported, or leave it to the host"
            if function else "keep to what is supported")
