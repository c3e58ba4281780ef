"""Tensors in DRAM, and images, byte by byte."""

from dataclasses import replace

import numpy as np
import pytest

from spec.errors import AlloyError
from spec.program import HOLE, Image, Region

REGION = Region(offset=0, channels=5, height=2, width=3, groups=2, group_bytes=8, ic=3, order=(4, 0, 3, 1, 2))


def packed(region, codes):
    """The bytes of a region byte by byte; what holds no channel is anything."""
    rng = np.random.default_rng(2)
    data = bytearray(rng.integers(0, 256, region.size, np.uint8).tobytes())
    for y, x, position in np.ndindex(region.height, region.width, len(region.order)):
        if region.order[position] != HOLE:
            group, lane = divmod(position, region.ic)
            at = y * region.stride + x * region.pixel + group * region.group_bytes + lane
            data[at] = codes[region.order[position], y, x]
    return bytes(data)


def test_bytes():
    """Rows of pixels of groups of channels in their order."""
    codes = np.random.default_rng(1).integers(1, 256, (5, 2, 3))
    assert REGION.size == 2 * REGION.stride == 2 * 3 * REGION.pixel == 2 * 3 * 2 * 8
    assert (REGION.unpack(packed(REGION, codes)) == codes).all()


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
    """Holes in the groups, whatever they hold."""
    region = replace(REGION, groups=3, order=(4, 0, HOLE, 3, 1, HOLE, 2))
    codes = np.random.default_rng(1).integers(0, 256, (5, 2, 3))
    assert (region.unpack(packed(region, codes)) == codes).all()
    with pytest.raises(AlloyError, match="does not fit"):
        replace(region, groups=2)
