"""The golden model: an integer network on NumPy."""

from functools import reduce

import numpy as np

from spec.network import check_codes
from spec.numerics import requantize, round_shift

__all__ = ["run", "answers", "outputs", "accumulate", "windows"]

BATCH = 100_000         # values of the images of a batch: its tensors stay near the processor
CHUNK = 1 << 20         # values of one block of columns: bounds the memory, whatever the number of images, and stays near the processor


def windows(codes, kernel, stride, padding, fill):
    """Kernel windows of (N, C, H, W) as a view (N, C, rows, cols, kernel_h, kernel_w); padding reads ``fill``."""
    padded = np.pad(codes, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2), constant_values=fill)
    view = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(2, 3))
    return view[:, :, ::stride[0], ::stride[1]]


def accumulate(node, codes, zero):
    """Exact sums of ``weight * (code - zero)``: int64 (N, F, rows, cols).

    Products of matrices in floating point: every partial sum is an integer no larger than the bound of the whole sum, so float32 is
    exact below 2**24 and float64 below 2**53.

    Parameters
    ----------
    node : spec.network.Conv
    codes : int array (N, C, H, W), codes of the input tensor; ``zero`` is their zero point.
    """
    codes, groups = np.asarray(codes, np.int64) - zero, codes.shape[1] // node.weight.shape[1]
    bound = int(np.abs(node.weight.astype(np.int64)).sum((1, 2, 3)).max()) * int(np.abs(codes).max(initial=0))
    assert bound < 1 << 53
    exact = np.float32 if bound < 1 << 24 else np.float64
    if groups > 1:
        return _grouped(node, codes.astype(exact), groups).astype(np.int64)
    # Channels innermost: a row of a window is one piece of memory.
    weights = node.weight.transpose(0, 2, 3, 1).reshape(len(node.weight), -1).astype(exact)
    last = np.ascontiguousarray(codes.transpose(0, 2, 3, 1), exact).transpose(0, 3, 1, 2)
    shifted = windows(last, node.weight.shape[2:], node.stride, node.padding, 0)
    count, _, rows, cols = shifted.shape[:4]
    step = max(1, CHUNK // (rows * cols * weights.shape[1]))
    sums = np.empty((count, len(weights), rows, cols), np.int64)
    for at in range(0, count, step):
        block = shifted[at:at + step].transpose(0, 2, 3, 4, 5, 1).reshape(-1, weights.shape[1])
        sums[at:at + step] = (weights @ block.T).reshape(len(weights), -1, rows, cols).transpose(1, 0, 2, 3)
    return sums


def _grouped(node, codes, count):
    """The same for ``count`` groups of channels, one position of the kernel after the other."""
    filters, share = len(node.weight) // count, node.weight.shape[1]
    view = windows(codes, node.weight.shape[2:], node.stride, node.padding, 0)
    n, _, rows, cols, height, width = view.shape
    view, weight = view.reshape(n, count, share, rows, cols, height, width), node.weight.astype(codes.dtype)
    sums = np.zeros((n, count, filters, rows, cols), codes.dtype)
    for c, y, x in np.ndindex(share, height, width):
        sums += view[:, :, None, c, :, :, y, x] * weight[:, c, y, x].reshape(count, filters, 1, 1)
    return sums.reshape(n, -1, rows, cols)


def run(network, images):
    """Every tensor of ``network`` for images of input codes.

    Parameters
    ----------
    network : spec.network.Network
    images : int array (N, C, H, W), codes of the input tensor.

    Returns
    -------
    dict from tensor name to int64 array (N, C, H, W). Raises :class:`spec.errors.AlloyError` for what are no codes.
    """
    tensors = {network.input: check_codes(images, network.tensors[network.input])}
    for node in network.nodes:
        source, out = network.tensors[node.input], network.tensors[node.output]
        codes = tensors[node.input]
        if node.kind == "conv":
            acc = accumulate(node, codes, source.zero)
            res = tensors[node.residual] - network.tensors[node.residual].zero if node.residual else 0
            column = (slice(None), None, None)
            tensors[node.output] = requantize(acc, node.mult.astype(np.int64)[column], node.bias.astype(np.int64)[column], node.shift,
                                              lo=node.lo, hi=node.hi, out_zero=out.zero, res=res, res_mult=node.res_mult, table=node.table)
        elif node.op == "max":
            view = windows(codes, node.kernel, node.stride, node.padding, 0)
            tensors[node.output] = reduce(np.maximum, (view[..., y, x] for y, x in np.ndindex(*node.kernel)))
        else:
            total = windows(codes - source.zero, node.kernel, node.stride, node.padding, 0).sum((4, 5))
            tensors[node.output] = np.clip(round_shift(total * node.mult, node.shift) + out.zero, node.lo, node.hi)
    return tensors


def outputs(function, images):
    """Outputs of each image, (N, features). ``function`` gives those of a batch of images (N, C, H, W), which has few enough of them for its
    tensors to fit into memory."""
    count, found = max(1, BATCH // images[0].size), []
    for at in range(0, len(images), count):
        batch = images[at:at + count]
        found.append(np.asarray(function(batch)).reshape(len(batch), -1))
    return np.concatenate(found)


def answers(function, images):
    """Class of each image, int64 (N,): the largest of its :func:`outputs`."""
    return outputs(function, images).argmax(1)
