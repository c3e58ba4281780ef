"""Tensors in DRAM, and images, byte by byte."""

from dataclasses import replace

import numpy as np
import pytest

from spec.errors import AlloyError
from spec.program import HOLE, Image, Region

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


@pytest.mark.parametrize("pixel, stride", [(2, 12), (4, 24), (3, 31)])
def test_image(pixel, stride):
    """Codes of a pixel side by side, gaps behind them and behind each row; nothing behind the last pixel."""
    image, codes = Image(0, 2, 5, 6, pixel, stride), np.random.default_rng(2).integers(1, 256, (2, 5, 6))
    data = image.pack(codes)
    assert len(data) == image.size == 4 * stride + 6 * pixel
    for at, value in enumerate(data):
        row, (column, byte) = at // stride, divmod(at % stride, pixel)
        assert value == (codes[byte, row, column] if column < 6 and byte < 2 else 0)


@pytest.mark.parametrize("values, words", [
    (dict(channels=0), "the image is 0x5x6: give 1 or more of each"), (dict(width=0), "2x5x0: give 1 or more"),
    (dict(pixel=1), "a pixel of the image has 1 bytes and 2 channels: give 2 or more"),
    (dict(stride=11), "a row of the image has 11 bytes and 6 pixels of 2: give 12 or more"),
    (dict(stride=12.0), "image stride is 12.0: it must be an integer")])
def test_images_that_are_none(values, words):
    with pytest.raises(AlloyError, match=words):
        replace(Image(0, 2, 5, 6, 2, 12), **values)


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
