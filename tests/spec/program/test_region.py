"""Tensors in DRAM, byte by byte, and the folding of images."""

from dataclasses import replace

import numpy as np
import pytest

from spec.errors import AlloyError
from spec.program import HOLE, Fold, Region

REGION = Region(offset=0, channels=5, height=2, width=3, groups=2, group_bytes=8, ic=3, order=(4, 0, 3, 1, 2))


def test_bytes():
    """Rows of pixels of groups of channels in their order; what holds no channel is 0."""
    codes = np.random.default_rng(1).integers(1, 256, (5, 2, 3))
    data = REGION.pack(codes)
    assert len(data) == REGION.size == 2 * REGION.stride == 2 * 3 * 2 * 8
    for at, value in enumerate(data):
        pixel, byte = divmod(at, 16)
        group, lane = divmod(byte, 8)
        position = group * 3 + lane
        held = lane < 3 and position < 5
        assert value == (codes[REGION.order[position], pixel // 3, pixel % 3] if held else 0)
    assert (REGION.unpack(data) == codes).all()


@pytest.mark.parametrize("values, words", [
    (dict(channels=7, order=tuple(range(7))), "region of 7x2x3 does not fit 2 groups of 3 channels in 8 bytes"),
    (dict(ic=9), "does not fit 2 groups of 9 channels in 8 bytes"), (dict(ic=0), "does not fit"),
    (dict(width=0), "region of 5x2x0 does not fit"),
    (dict(order=(0, 1, 2, 3)), "region of 5 channels has an order that is not one of them"),
    (dict(order=(0, 1, 2, 3, 3)), "region of 5 channels has an order that is not one of them"),
    (dict(height=2.0), "region height is 2.0: it must be an integer")])
def test_refusals(values, words):
    with pytest.raises(AlloyError, match=words):
        replace(REGION, **values)


@pytest.mark.parametrize("seed", range(12))
def test_fold(seed):
    """Each kernel position is a channel; what lies outside the image is the zero point."""
    rng = np.random.default_rng(seed)
    kernel, stride, padding = (tuple(int(n) for n in rng.integers(low, 4, 2)) for low in (1, 1, 0))
    fold, codes = Fold(kernel, stride, padding, zero=9), rng.integers(0, 256, (2, 5, 6))
    folded = fold(codes)
    assert folded.shape == (2 * kernel[0] * kernel[1], *fold.size((5, 6)))
    for c, ky, kx, y, x in np.ndindex(2, *kernel, *folded.shape[1:]):
        row, col = y * stride[0] + ky - padding[0], x * stride[1] + kx - padding[1]
        inside = 0 <= row < 5 and 0 <= col < 6
        assert folded[(c * kernel[0] + ky) * kernel[1] + kx, y, x] == (codes[c, row, col] if inside else 9)


def test_positions_without_a_channel_say_nothing():
    """Holes in the groups: they are 0 in what is packed, and whatever they hold when it is unpacked."""
    region = replace(REGION, groups=3, order=(4, 0, HOLE, 3, 1, HOLE, 2))
    codes = np.random.default_rng(1).integers(0, 256, (5, 2, 3))
    data = np.frombuffer(region.pack(codes), np.uint8).reshape(2, 3, 3, 8).copy()
    assert not data[:, :, :2, 2].any() and (data[..., 1, 1] == codes[1]).all() and (data[..., 2, 0] == codes[2]).all()
    data[:, :, :2, 2] = 77
    assert (region.unpack(data.tobytes()) == codes).all()
    with pytest.raises(AlloyError, match="does not fit"):
        replace(region, groups=2)
