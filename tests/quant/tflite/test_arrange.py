"""Where the elements of a value stand in another: borders, selections, repeated pixels, against random ones."""

import numpy as np
import pytest

from quant.tflite.arrange import apart, border, chosen, is_whole, repeated


def places(*shape):
    return np.arange(np.prod(shape)).reshape(shape)


@pytest.mark.parametrize("seed", range(40))
def test_borders(seed):
    """Of any size on any side, around maps of one pixel, too."""
    rng = np.random.default_rng(seed)
    shape, pads = tuple(rng.integers(1, 4, 3).tolist()), rng.integers(0, 3, (2, 2)).tolist()
    wanted = np.pad(places(*shape), ((0, 0), *pads), constant_values=-1)
    (top, left), (bottom, right) = border(wanted, shape)
    assert [[top, bottom], [left, right]] == pads
    assert is_whole(wanted, shape) == (not np.any(pads))
    wanted[:, pads[0][0], pads[1][0]] = -1
    assert border(wanted, shape) is None


@pytest.mark.parametrize("seed", range(40))
def test_selections(seed):
    """Channels in any order, rows and columns from any one on, every second or third."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(3, 8, 3).tolist())
    starts, steps = rng.integers(0, 3, 2), rng.integers(1, 4, 2)
    wanted = places(*shape)[rng.permutation(shape[0])[:rng.integers(1, 4)], starts[0]::steps[0], starts[1]::steps[1]]
    found = chosen(wanted, shape)
    assert found is not None and found.channel.tolist() == (wanted[:, 0, 0] // (shape[1] * shape[2])).tolist()
    if min(wanted.shape[1:]) > 1 and wanted.size > 4:
        assert chosen(wanted[:, ::-1], shape) is None and chosen(wanted.transpose(0, 2, 1), shape) is None


@pytest.mark.parametrize("up", [(1, 2), (2, 1), (2, 2)])
def test_several_pixels_of_one(up):
    inner = places(8, 3, 5)[::-1]
    assert repeated(inner) is None
    found, got = repeated(inner.repeat(up[0], 1).repeat(up[1], 2))
    assert found == up and np.array_equal(got, inner)
    wanted = np.empty((8 // (up[0] * up[1]), 3 * up[0], 5 * up[1]), int)
    for part, (y, x) in zip(np.split(inner, up[0] * up[1]), np.ndindex(*up), strict=True):
        wanted[:, y::up[0], x::up[1]] = part
    found, got = apart(wanted, (8, 3, 5))
    assert found == up and np.array_equal(got, inner)
