"""A TFLite file beside LiteRT: the arithmetic that findings are measured with is that of its reference kernels bit for
bit, and the network differs from them as the findings say."""

import numpy as np

from quant.tflite import load, reader
from spec.operators.convolution import accumulate

from .build import reference

__all__ = ["codes_of", "compared", "images_of", "in_file"]


def images_of(builder, seed=0, count=4):
    """Random images (N, ...) of a builder's input, each with all codes alike likely, the extremes among them."""
    tensor = builder.tensors[builder.inputs[0]]
    dtype = np.int8 if tensor.type == 9 else np.uint8
    info, draw = np.iinfo(dtype), np.random.default_rng(seed)
    images = draw.integers(info.min, info.max + 1, (count, *tensor.shape[1:]))
    images[1] = info.max
    images[2] = np.where(draw.random(images[2].shape) < 0.5, info.min, info.max)
    return images.astype(dtype)


def codes_of(images, network):
    """The codes (N, C, H, W) of a network for images in the file's order (N, H, W, C) or (N, features)."""
    low = np.iinfo(images.dtype).min
    codes = images.astype(np.int64) - low
    if codes.ndim == 4:
        return codes.transpose(0, 3, 1, 2)
    return codes.reshape(len(codes), *network.tensors[network.input].shape)


def compared(monkeypatch, path, images, allowed=2e-3):
    """(model, differences in codes) of a file and LiteRT; raises where the findings are not right."""
    sums = {}

    def kept(made, grid, name):
        sums[name] = made, grid
        return real(made, grid, name)
    real = reader.convolution
    monkeypatch.setattr(reader, "convolution", kept)
    model = load(path)
    network, expected = model.network, reference(path, images)
    codes = network.codes(codes_of(images, network))
    right = codes[network.output]
    last = network.nodes[-1]
    if last.name in sums:       # the last sum with the arithmetic of the file
        made, grid = sums[last.name]
        total = accumulate(last, codes[last.input], network.tensors[last.input].zero)
        flat = total.transpose(1, 0, 2, 3).reshape(len(last.weight), -1)
        res = np.zeros(1, np.int64)
        if last.residual:
            res = (codes[last.residual] - network.tensors[last.residual].zero).transpose(1, 0, 2, 3).reshape(flat.shape)
        exact = np.clip(made.exact(flat, res, slice(None)) - grid.low, last.lo, last.hi)
        exact = exact.reshape(len(last.weight), len(images), *right.shape[2:]).transpose(1, 0, 2, 3)
        assert np.array_equal(in_file(exact, expected), expected), "the arithmetic is not that of the file"
    off = np.abs(in_file(right, expected).astype(int) - expected.astype(int))
    assert off.max() <= max(one.most for one in model.findings), (off.max(), model.findings)
    assert all(one.share < allowed for one in model.findings), model.findings
    return model, off


def in_file(codes, like):
    """Codes (N, C, H, W) in the order and type of an output of the file."""
    low = np.iinfo(like.dtype).min
    return (codes.transpose(0, 2, 3, 1) + low).reshape(like.shape).astype(like.dtype)
